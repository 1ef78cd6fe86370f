"""The HTML report: one page that needs nothing else, for reading, printing and sending."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from longsafety.files import write_text
from longsafety.reporting import plots, style
from longsafety.reporting.headline import findings
from longsafety.reporting.needles import needle_figure
from longsafety.reporting.record import Example, RunRecord
from longsafety.reporting.redact import redact as redacted
from longsafety.reporting.tables import TEST, detectable_text
from longsafety.reporting.verdict_view import verdict_lines
from longsafety.reporting.view import (
    AWARE,
    COMPLIES,
    REFUSES,
    SAFE,
    SAFE_SHORT,
    TITLES,
    TWINS,
    Compared,
    Paired,
    Share,
    View,
    decimals,
    interval,
    p_text,
    signed,
)
from longsafety.settings import Settings
from longsafety.vocabulary import BENIGN_TWINS

if TYPE_CHECKING:
    import pandas as pd

    from longsafety.evaluation.scores.biases import Controls

_STAGES = ("build", "train", "evaluate", "score", "report")
_KINDS = {"harmful": ("harmful",), "harmful, no context": ("short",), "benign": BENIGN_TWINS}


def write_report(
    path: Path,
    *,
    name: str,
    comparison: Compared,
    records: Sequence[RunRecord],
    redact: bool,
    command: str,
    needles: pd.DataFrame | None = None,
    controls: Controls | None = None,
    seeds: pd.DataFrame | None = None,
) -> None:
    """Writes the page at ``path``, whole or not at all.

    ``records`` are the runs that were compared, at least one; ``command`` is what to type to get the same again;
    ``redact`` replaces harmful text in the examples; ``needles`` is ``evaluation.retrieval.needle_map``; ``controls``
    and ``seeds`` are those of ``evaluation.controls``. One arm without a baseline makes a page without differences.
    """
    runs = [record.resolved() for record in records]
    view = View(comparison, runs[0].evaluation.scorers)
    others = [View(comparison, [scorer]) for scorer in view.scorers[1:]]
    confidence = runs[0].evaluation.confidence
    drawn = plots.figures(view, records)
    if needles is not None:
        needles = needles[needles["scorer"] == view.scorer]
        if (figure := needle_figure(needles, view.scorer)) is not None:
            drawn["benign_needles"] = figure
    page = _environment().get_template("report.html.j2").render(
        name=name,
        command=command,
        runs=runs,
        findings=findings(view, confidence=confidence, controls=controls),
        facts=_facts(runs, records),
        view=view,
        others=others,
        arms=_one_an_arm(records),
        colours={arm: style.page_colour(colour) for arm, (colour, _) in style.styles(view).items()},
        confidence=confidence,
        scoring=runs[0].scoring,
        alpha=1 - confidence,
        figures={stem: Markup(style.svg(figure, stem)) for stem, figure in drawn.items()},
        needles=[] if needles is None else needles.to_dict("records"),
        margin=runs[0].evaluation.equivalence_margin,
        detectable=detectable_text(view),
        num_sources=_num_sources(view),
        retention=_retention(view),
        capability=_capability(records, view.baseline, runs[0].evaluation.equivalence_margin),
        controls=controls,
        letters=_letters(controls),
        bins=_bins(controls, view.scorer),
        several_bins=controls is not None and controls.bins["by"].nunique() > 1,
        seeds=[] if seeds is None else seeds[seeds["scorer"] == view.scorer].to_dict("records"),
        confusion=_confusion(view),
        counts=_counts(records),
        uncounted=_uncounted(view, others),
        stages=[stage for stage in _STAGES if any(stage in record.seconds for record in records)],
        records=records,
        examples=_examples(records, redact=redact),
        redact=redact,
        notes=[*comparison.notes, *_item_notes(records)],
        verdicts=verdict_lines(records),
    )  # fmt: skip
    write_text(path, page)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("longsafety", "reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "decimals": decimals,
        "signed": signed,
        "p": p_text,
        "seconds": _seconds,
        "thousands": _thousands,
    }
    environment.globals |= {
        "interval": interval, "SAFE": SAFE, "COMPLIES": COMPLIES, "AWARE": AWARE, "TWINS": TWINS,
        "SAFE_SHORT": SAFE_SHORT, "REFUSES": REFUSES, "TITLES": TITLES, "TEST": TEST,
    }  # fmt: skip
    return environment


def _seconds(value: float) -> str:
    if value < 100:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"


def _thousands(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _one_an_arm(records: Sequence[RunRecord]) -> list[RunRecord]:
    """An arm at several lengths was trained once: its first record stands for it."""
    return list({record.label: record for record in reversed(records)}.values())[::-1]


def _distinct(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _facts(runs: Sequence[Settings], records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """What was run, as (what, value); runs that differ give all their values."""
    trained = [run for run, record in zip(runs, records, strict=True) if record.training]
    building = [run for run in runs if run.evaluation.items.path is None or run in trained]
    sizes = {run.model.num_parameters for run in runs}
    size = f" ({_distinct(f'{n / 1e6:,.0f}M' for n in sizes if n)} parameters)" if any(sizes) else ""
    devices = [record.evaluation for record in records] + [record.training for record in records]
    facts = [
        ("answers", _distinct(run.evaluation.answers for run in runs)),
        ("scale", _distinct(run.scale for run in runs)),
        ("seed", _distinct(run.seed for run in runs)),
        ("model", _distinct(f"{run.model.name}, {run.model.tune} tuning" for run in runs) + size),
        ("benchmark length", _distinct(f"{run.length.max_tokens:,}" for run in runs) + " tokens"),
        ("scenario", _distinct(f"{run.scenario.name} ({', '.join(run.scenario.tasks)})" for run in building)),
        ("items", _distinct(run.evaluation.items.path for run in runs)),
        ("seed items", _distinct(run.scenario.seeds for run in runs)),
        ("corpus", _distinct(_corpus(record.corpus) for record in records if record.corpus)),
        ("scorers", _distinct(", ".join(run.evaluation.scorers) for run in runs)),
        ("scoring", _distinct(run.scoring for run in runs)),
        ("chat template", _distinct(record.evaluation.get("chat_template") for record in records)),
        ("device, precision", _distinct(f"{at.get('device')}, {at.get('precision')}" for at in devices if at)),
    ]  # fmt: skip
    if trained:
        length = _distinct(f"{run.length.train_tokens or run.length.max_tokens:,}" for run in trained)
        budget = _distinct(f"{run.data_mix.budget:,} {run.data_mix.budget_unit}" for run in trained)
        recipe = _distinct(
            f"{run.training.epochs} epoch(s), batch {run.training.batch_size}, lr {run.training.lr_peak:g} "
            f"({run.training.schedule}), loss by {run.training.loss_reduction}" for run in trained
        )  # fmt: skip
        facts[4:4] = [("training", f"{budget} of up to {length} tokens; {recipe}")]
    guessed = [key for run in runs for key in (*run.model.assumed, *(f"trainer.{key}" for key in run.trainer.assumed))]
    if assumed := _distinct(guessed):
        facts.append(("assumed, not from the paper", assumed))
    versions = [f"{key} {value}" for record in records for key, value in record.environment.items()]
    facts.append(("versions", _distinct(versions)))
    if all(run.rescores for run in runs):  # the other settings had no part in it
        facts = [fact for fact in facts if fact[0] in ("answers", "items", "scoring", "versions")]
    return [(what, value) for what, value in facts if value]


def _capability(
    records: Sequence[RunRecord], baseline: str | None, margin: float
) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """(task, metric) → arm → its row, with ``p_equivalent`` (to the baseline, unpaired) where both errors are known."""
    from longsafety.evaluation.scores.statistics import equivalence

    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for record in _one_an_arm(records):
        for row in record.capability:
            found.setdefault((row["task"], row["metric"]), {})[record.label] = dict(row)
    for rows in found.values():
        if baseline not in rows:
            continue
        own = rows[baseline]
        for label, row in rows.items():
            error = math.hypot(row["stderr"], own["stderr"])
            if label != baseline and error > 0:  # not nan
                row["p_equivalent"] = float(equivalence(row["value"] - own["value"], error, margin))
    return found


def _retention(view: View) -> list[tuple[str, int, Share, Paired]]:
    """Arm, length, benign needles found, and their difference from the baseline."""
    metric = "compliance_benign_needle"
    return [
        (arm, length, share, paired)
        for arm, length in view.rows()
        if (share := view.share(arm, metric, length)) and (paired := view.paired(arm, metric, length))
        if paired.p_equivalent is not None
    ]


def _num_sources(view: View) -> int | None:
    found = [paired.sources for arm, n in view.rows() if (paired := view.paired(arm, SAFE, n)) and paired.sources]
    return int(min(found)) if found else None


def _letters(controls: Controls | None) -> dict[tuple[str, str, int, int], list[dict[str, Any]]]:
    """(arm, scorer, length, options) → a row a letter."""
    found: dict[tuple[str, str, int, int], list[dict[str, Any]]] = {}
    for row in [] if controls is None else _rows(controls.letters):
        found.setdefault((row["arm"], row["scorer"], row["max_tokens"], row["options"]), []).append(row)
    return found


def _bins(controls: Controls | None, scorer: str) -> list[dict[str, Any]]:
    if controls is None:
        return []
    table = controls.bins
    return _rows(table[(table["scorer"] == scorer) & table["metric"].isin([SAFE, COMPLIES])])


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _item_notes(records: Sequence[RunRecord]) -> list[str]:
    """What was left out or cut of the benchmark, by run."""
    told: dict[str, dict[int, list[str]]] = {}
    for record in records:
        for reason, count in record.evaluation.get("counts", {}).items():
            told.setdefault(reason, {}).setdefault(count, []).append(_run_name(record, records))
    return [
        f"{count:,} of the benchmark's items {reason} ({', '.join(names)})."
        for reason, counts in told.items()
        for count, names in counts.items()
    ]


def _corpus(corpus: dict[str, Any]) -> str:
    return (
        f"{corpus.get('source', '?')}: {corpus.get('documents', 0):,} documents, {corpus.get('tokens', 0):,} tokens, "
        f"licence {corpus.get('licence') or 'unknown'}, fingerprint {str(corpus.get('fingerprint', '?'))[:12]}"
    )


def _confusion(view: View) -> dict[str, tuple[list[str], dict[tuple[str, int], dict[str, int]]]]:
    """Kind → roles in order, and (arm, length) → role → count."""
    tables = {}
    for title, kinds in _KINDS.items():
        if table := view.confusion(kinds):
            tables[title] = (plots.ordered_roles(table), table)
    return tables


def _counts(records: Sequence[RunRecord]) -> list[tuple[str, dict[str, int] | int]]:
    """Reason → one count where all runs have the same, else run → count."""
    reasons = dict.fromkeys(reason for record in records for reason in record.counts)
    found: list[tuple[str, dict[str, int] | int]] = []
    for reason in reasons:
        each = [record.counts.get(reason, 0) for record in records]
        if len(set(each)) == 1:
            found.append((reason, each[0]))
        else:
            found.append((reason, {_run_name(r, records): c for r, c in zip(records, each, strict=True) if c}))
    return found


def _run_name(record: RunRecord, records: Sequence[RunRecord]) -> str:
    several = sum(other.label == record.label for other in records) > 1
    label = record.label or record.name
    return f"{label} at {record.resolved().length.max_tokens:,}" if several else label


def _uncounted(view: View, others: Sequence[View]) -> list[tuple[str, str, str, int, float]]:
    """Scorer, metric, arm, length and share of the answers that the metrics could not take as they are."""
    return [
        (one.scorer, metric.replace("_", " "), arm, length, share.value)
        for one in (view, *others)
        for metric in ("unparsed", "unmatched_twins")
        for arm, length in one.rows()
        if (share := one.share(arm, metric, length)) and share.value > 0
    ]


def _examples(records: Sequence[RunRecord], *, redact: bool) -> list[Example]:
    first = {example.task: example for record in reversed(records) for example in reversed(record.examples)}
    return [redacted(first[task]) if redact else first[task] for task in sorted(first)]
