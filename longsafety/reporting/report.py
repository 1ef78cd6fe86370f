"""The HTML report: one self-contained page to read, print and send."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from longsafety.evaluation.scores.biases import BiasTables
from longsafety.evaluation.scores.statistics import equivalence
from longsafety.reporting import plots, style
from longsafety.reporting.comparison_view import COMPLIES, SAFE, Compared, ComparisonView, Paired, Share
from longsafety.reporting.differences import pairs_tested
from longsafety.reporting.facts import counts, item_notes, lengths_fact, reuse_notes, run_facts, uncounted
from longsafety.reporting.figure_files import write_figures
from longsafety.reporting.finding import Finding
from longsafety.reporting.fonts import numbers_note
from longsafety.reporting.gate_view import words_alone
from longsafety.reporting.headline import findings
from longsafety.reporting.names import arm_name, one_record_per_arm, trainings
from longsafety.reporting.needles import needle_figure
from longsafety.reporting.outcome_view import outcome_lines
from longsafety.reporting.page import write_page
from longsafety.reporting.pooled import pooled_tables
from longsafety.reporting.record import Example, RunRecord
from longsafety.reporting.redact import redact as redacted
from longsafety.reporting.sections import sections
from longsafety.reporting.tables import detectable_text, sizes_text
from longsafety.reporting.verdict_view import verdict_lines
from longsafety.stages import folder_name

MOST_IN_PAGE = 500_000
"""Characters of a figure that stands in the page; the panels of twenty arms have as many."""


def answer(view: ComparisonView, records: Sequence[RunRecord], biases: BiasTables | None) -> list[Finding]:
    """The headline's sentences, of all that the comparison and the runs' records tell."""
    gate = next((record.gate for record in records if record.gate), [])
    confidence = records[0].resolved().evaluation.confidence
    return findings(view, confidence=confidence, biases=biases, words=words_alone(gate), trainings=trainings(records))


def write_report(
    path: Path,
    *,
    name: str,
    comparison: Compared,
    records: Sequence[RunRecord],
    redact: bool,
    command: str,
    needles: pd.DataFrame | None = None,
    biases: BiasTables | None = None,
    figures: Path | None = None,
) -> None:
    """Writes the page to ``path``, whole or not at all; its figures as files, with their numbers, into ``figures``.

    ``records``: the runs that were compared, at least one. ``command``: what to type to get the same again.
    ``redact``: whether harmful text in the examples is replaced. ``needles`` comes from
    ``evaluation.scores.needle_map.needle_map``, ``biases`` from ``evaluation.scores.biases``. One arm without a
    baseline makes a page without differences.
    """
    runs = [record.resolved() for record in records]
    evaluation = runs[0].evaluation
    view = ComparisonView(comparison, evaluation.scorers)
    others = [ComparisonView(comparison, [scorer]) for scorer in view.scorers[1:]]
    drawn = plots.figures(view, records)
    if needles is not None:
        needles = needles[needles["scorer"] == view.scorer]
        if (figure := needle_figure(needles, view.scorer, view.arms)) is not None:
            drawn["benign_needles"] = figure
    varied, pooled = sections(view, records), pooled_tables(view, records)
    drawn |= {section.key: section.figure for section in varied if section.figure is not None}
    drawn |= {table.key: table.figure for table in pooled}
    texts = {stem: style.svg(figure, stem) for stem, figure in drawn.items()}
    if figures is not None:
        tables = {table.key: table.numbers for table in pooled}
        write_figures(
            figures, texts, view, records, tables if needles is None else {**tables, "benign_needles": needles}
        )
    gate: list[dict[str, Any]] = next((record.gate for record in records if record.gate), [])
    often = trainings(records)
    write_page(
        path,
        "report.html.j2",
        name=name,
        command=command,
        runs=runs,
        lengths=lengths_fact(runs),
        findings=answer(view, records, biases),
        gate=gate,
        facts=run_facts(runs, records),
        view=view,
        sections=varied,
        pooled=pooled,
        others=others,
        arms=one_record_per_arm(records),
        arm_name=arm_name,
        trainings=often,
        tested=pairs_tested(view),
        sizes=sizes_text(view),
        blind=_blind(view),
        spread=_of_scorer(comparison.trainings, view.scorer),
        colours={arm: style.page_colour(colour) for arm, (colour, _) in style.styles(view).items()},
        confidence=evaluation.confidence,
        scoring=runs[0].scoring,
        alpha=1 - evaluation.confidence,
        figures={stem: _shown(text, stem, figures) for stem, text in texts.items()},
        figure_names=numbers_note(plots.arm_names(view)),
        needles=[] if needles is None else needles.to_dict("records"),
        margin=evaluation.equivalence_margin,
        detectable=detectable_text(view),
        retention=_retention(view),
        capability=_capability(records, view.baseline, evaluation.equivalence_margin),
        biases=biases,
        letters=_letters(biases),
        bins=_bins(biases, view.scorer),
        several_bins=biases is not None and biases.bins["by"].nunique() > 1,
        confusion=_confusion(view),
        counts=counts(records),
        uncounted=uncounted([view, *others]),
        stages=list(dict.fromkeys(stage for record in records for stage in record.stages if stage in record.seconds)),
        records=records,
        examples=_examples(records, redact=redact),
        redact=redact,
        comparison_notes=list(comparison.notes),
        notes=[*reuse_notes(records), *item_notes(records), *outcome_lines(records)],
        verdicts=verdict_lines(records),
    )


def _shown(text: str, stem: str, folder: Path | None) -> Markup:
    """A figure (SVG), or where its file is: with hundreds of panels it would take a browser half a minute."""
    if folder is None or len(text) <= MOST_IN_PAGE:
        return Markup(style.inline(text, stem))
    file = f"{folder.name}/{folder_name(stem)}"
    return Markup(
        '<p class="note">With so many arms this figure is a file of its own: <a href="{0}.svg">{0}.svg</a>, '
        'its numbers <a href="{0}.csv">{0}.csv</a>.</p>'
    ).format(file)


def _capability(
    records: Sequence[RunRecord], baseline: str | None, margin: float
) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """(task, metric) → arm → its row, with ``p_equivalent`` (to the baseline, unpaired) where both errors are known."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for record in records:  # of an arm's lengths each may have tasks of its own
        for row in record.capability:
            found.setdefault((row["task"], row["metric"]), {}).setdefault(arm_name(record), dict(row))
    for rows in found.values():
        if baseline not in rows:
            continue
        own = rows[baseline]
        for label, row in rows.items():
            error = math.hypot(row["stderr"], own["stderr"])
            if label != baseline and error > 0:  # not nan
                row["p_equivalent"] = float(equivalence(row["value"] - own["value"], error, margin))
    return found


def _retention(view: ComparisonView) -> list[tuple[str, int, Share, Paired]]:
    """Arm, length, benign needles found, and their difference from the baseline."""
    metric = "compliance_benign_needle"
    return [
        (arm, length, share, paired)
        for arm, length in view.rows()
        if (share := view.share(arm, metric, length)) and (paired := view.paired(arm, metric, length))
        if paired.p_equivalent is not None
    ]


def _blind(view: ComparisonView) -> dict[tuple[str, str, int], dict[str, dict[str, Any]]]:
    """(Metric, arm, length) → control → its row."""
    found: dict[tuple[str, str, int], dict[str, dict[str, Any]]] = {}
    for row in view.controls():
        found.setdefault((row["metric"], row["arm"], row["max_tokens"]), {})[row["control"]] = row
    return found


def _of_scorer(table: pd.DataFrame, scorer: str) -> list[dict[str, Any]]:
    return _rows(table[table["scorer"] == scorer])


def _letters(biases: BiasTables | None) -> dict[tuple[str, str, int, int], list[dict[str, Any]]]:
    """(arm, scorer, length, options) → a row a letter."""
    found: dict[tuple[str, str, int, int], list[dict[str, Any]]] = {}
    for row in [] if biases is None else _rows(biases.letters):
        found.setdefault((row["arm"], row["scorer"], row["max_tokens"], row["options"]), []).append(row)
    return found


def _bins(biases: BiasTables | None, scorer: str) -> list[dict[str, Any]]:
    if biases is None:
        return []
    table = biases.bins
    return _rows(table[(table["scorer"] == scorer) & table["metric"].isin([SAFE, COMPLIES])])


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _confusion(view: ComparisonView) -> dict[str, tuple[list[str], dict[tuple[str, int], dict[str, int]]]]:
    """Kind → roles in order, and (arm, length) → role → count."""
    tables = {}
    for title, kinds in plots.KINDS.items():
        if table := view.confusion(kinds):
            tables[title] = (plots.ordered_roles(table), table)
    return tables


def _examples(records: Sequence[RunRecord], *, redact: bool) -> list[Example]:
    first = {example.task: example for record in reversed(records) for example in reversed(record.examples)}
    return [redacted(first[task]) if redact else first[task] for task in sorted(first)]
