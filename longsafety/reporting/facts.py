"""What the runs of a report were: settings, corpus, versions; and what was counted and left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from longsafety.reporting.comparison_view import ComparisonView
from longsafety.reporting.names import arm_name, short_names
from longsafety.reporting.numbers import decimals
from longsafety.reporting.outcome_view import cost_line
from longsafety.reporting.record import RunRecord
from longsafety.settings import Settings
from longsafety.vocabulary import NO_REPLY


def run_facts(runs: Sequence[Settings], records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """(What, value) of the runs. Where runs differ, all their values are listed."""
    trained = [run for run, record in zip(runs, records, strict=True) if record.training]
    building = [run for run in runs if run.evaluation.items.path is None or run in trained]
    sizes = {run.model.num_parameters for run in runs}
    size = f" ({_distinct(f'{n / 1e6:,.0f}M' for n in sizes if n)} parameters)" if any(sizes) else ""
    devices = [record.evaluation for record in records] + [record.training for record in records]
    facts = [
        ("answers", _distinct(run.evaluation.answers for run in runs)),
        ("scale", _distinct(run.scale for run in runs)),
        ("training seed", _distinct(run.seed for run in runs)),
        ("data seed", _distinct(run.scenario.seed for run in building)),
        ("shipped benchmark", _distinct(record.benchmark for record in records)),
        ("model", _distinct(f"{run.model.name}, {run.model.tune} tuning" for run in runs) + size),
        ("benchmark items", lengths_fact(runs)),
        ("scenario", _distinct(f"{run.scenario.name} ({', '.join(run.scenario.tasks)})" for run in building)),
        ("items", _distinct(run.evaluation.items.path for run in runs)),
        ("seed items", _distinct(run.scenario.seeds for run in runs)),
        ("corpus", _distinct(_corpus(record.corpus) for record in records if record.corpus)),
        ("system message", _distinct(run.evaluation.system for run in runs if run.evaluation.system != "none")),
        ("scorers", _distinct(", ".join(run.evaluation.scorers) for run in runs)),
        ("scoring", _distinct(run.scoring for run in runs)),
        ("chat template", _distinct(record.evaluation.get("chat_template") for record in records)),
        ("tokens of the server", _distinct(cost_line(record.evaluation) for record in records)),
        ("device, precision", _distinct(f"{at.get('device')}, {at.get('precision')}" for at in devices if at)),
    ]  # fmt: skip
    if trained:
        budget = _distinct(
            f"{run.data_mix.budget:,} {run.data_mix.budget_unit} of up to {run.length.training_tokens:,} tokens"
            for run in trained
        )
        recipe = _distinct(
            f"{run.training.epochs} epoch(s), batch {run.training.batch_size}, lr {run.training.lr_peak:g} "
            f"({run.training.schedule}), loss by {run.training.loss_reduction}" for run in trained
        )  # fmt: skip
        facts[4:4] = [("training", f"{budget}; {recipe}")]
    guessed = [key for run in runs for key in (*run.model.assumed, *(f"trainer.{key}" for key in run.trainer.assumed))]
    if assumed := _distinct(guessed):
        facts.append(("assumed, not from the paper", assumed))
    versions = [f"{key} {value}" for record in records for key, value in record.environment.items()]
    facts.append(("versions", _distinct(versions)))
    if all(run.rescores for run in runs):  # the other settings did not take part
        facts = [fact for fact in facts if fact[0] in ("answers", "items", "scoring", "versions")]
    return [(what, value) for what, value in facts if value]


def lengths_fact(runs: Sequence[Settings]) -> str:
    """The benchmark items' lengths: ``256, 512 tokens``; a list or a spread within a run is described in full."""
    return f"{_distinct(run.length.bench_lengths for run in runs)} tokens"


def counts(records: Sequence[RunRecord]) -> list[tuple[str, dict[str, int] | int]]:
    """Reason → one count where all runs have the same, else run → count."""
    names, reasons = short_names(records), dict.fromkeys(reason for record in records for reason in record.counts)
    found: list[tuple[str, dict[str, int] | int]] = []
    for reason in reasons:
        each = [record.counts.get(reason, 0) for record in records]
        same = len(set(each)) == 1
        found.append((reason, each[0] if same else {name: n for name, n in zip(names, each, strict=True) if n}))
    return found


def item_notes(records: Sequence[RunRecord]) -> list[str]:
    """The benchmark items that were left out or shortened, by run."""
    found: dict[str, dict[int, list[str]]] = {}
    for record, name in zip(records, short_names(records), strict=True):
        for reason, count in record.evaluation.get("counts", {}).items():
            found.setdefault(reason, {}).setdefault(count, []).append(name)
    return [
        f"{count:,} of the benchmark's items {reason} ({', '.join(names)})."
        for reason, counts in found.items()
        for count, names in counts.items()
    ]


def reuse_notes(records: Sequence[RunRecord]) -> list[str]:
    """The arms whose weights the user adopted instead of training them here."""
    found = {arm_name(record): record.training["reused"] for record in records if "reused" in record.training}
    return [
        f"{label}: its weights were adopted by hand (reuse.weights) from {folder}; other code may have trained them."
        for label, folder in found.items()
    ]


def uncounted(views: Sequence[ComparisonView]) -> list[tuple[str, str, str, int, float]]:
    """Scorer, metric, arm, length and share of the answers that the metrics could not take as they are."""
    return [
        (view.scorer, metric.replace("_", " "), arm, length, share.value)
        for view in views
        for metric in ("unparsed", "unscored", *NO_REPLY, "unmatched_twins")
        for arm, length in view.rows()
        if (share := view.share(arm, metric, length)) and share.value > 0
    ]


def uncounted_lines(views: Sequence[ComparisonView]) -> list[str]:
    """:func:`uncounted` as sentences, a line a scorer and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for scorer, metric, arm, length, value in uncounted(views):
        found.setdefault((scorer, metric), []).append(
            f"{decimals(value)} of {arm}{f' at {length:,}' if length else ''}"
        )
    return [f"Answers of the scorer {scorer} that are {what}: {', '.join(of)}." for (scorer, what), of in found.items()]


def _corpus(corpus: dict[str, Any]) -> str:
    return (
        f"{corpus.get('source', '?')}: {corpus.get('documents', 0):,} documents, {corpus.get('tokens', 0):,} tokens, "
        f"licence {corpus.get('licence') or 'unknown'}, fingerprint {str(corpus.get('fingerprint', '?'))[:12]}"
    )


def _distinct(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))
