"""Tables for the terminal: the comparison, a mix, lengths of samples. And the comparison as one wide data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from longsafety.reporting.comparison_view import (
    ACCURACY,
    AWARE,
    COMPLIES,
    DIFFERENCE,
    SAFE,
    SWAP,
    TESTED,
    TITLES,
    Compared,
    ComparisonView,
    Paired,
    Share,
)
from longsafety.reporting.differences import pairs_tested
from longsafety.reporting.numbers import decimals, interval, p_text, signed, signed_interval
from longsafety.reporting.terminal import NONE, plain_table
from longsafety.vocabulary import ALL_TASKS

if TYPE_CHECKING:
    import pandas as pd

TEST = "sign-flip test over seed items"
_SHORT = {
    DIFFERENCE: "pairs right\n− reversed", SWAP: "swap\ncontrast", SAFE: "safe\nresponse",
    COMPLIES: "complies\n(benign)", ACCURACY: "right\nanswers", AWARE: "harm\naware",
}  # fmt: skip
_COLUMNS = [_SHORT[metric] for metric in (DIFFERENCE, SWAP, SAFE, COMPLIES, AWARE)]
FULL_WIDTH = 110
"""Columns of a terminal from which intervals stand beside their values, not below."""


def mix_table(mix: Sequence[Mapping[str, Any]], *, title: str = "data mix") -> Table:
    """What an arm is trained on: a row a source (as in ``RunRecord.mix``), and their sum."""
    table = plain_table(title, "seeds: seed items; distinct: samples that differ in question, answer or context")
    counted = {
        "samples": "samples", "tokens": "tokens", "supervised": "supervised_tokens", "seeds": "seeds",
        "distinct": "distinct",
    }  # fmt: skip
    table.add_column("source", overflow="fold")
    for name in (*counted, "share"):
        table.add_column(name, justify="right")
    table.add_column("licence", overflow="fold")
    table.add_column("fingerprint", overflow="fold", style="dim")
    if not mix:
        table.add_row("(not trained)", *[NONE] * 8)
        return table
    for row in mix:
        counts = [f"{int(row[key]):,}" for key in counted.values()]
        licence, fingerprint = str(row["licence"] or "unknown"), str(row["fingerprint"])[:12]
        table.add_row(str(row["source"]), *counts, f"{float(row['share']):.0%}", licence, fingerprint)
    if len(mix) > 1:
        table.add_section()
        # Sources may share seed items, which would be counted twice.
        sums = [NONE if key == "seeds" else f"{sum(int(row[key]) for row in mix):,}" for key in counted.values()]
        table.add_row("sum", *sums, f"{sum(float(row['share']) for row in mix):.0%}", "", "")
    return table


def lengths_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """How long the samples of each source are: rows of ``data.length_table.length_rows``.

    The columns of dropped and trimmed samples are shown only if there are any.
    """
    caption = (
        "min to max: tokens of a sample. distinct: share of the tokens that remain once shared prefixes are merged."
    )
    columns = {
        "samples": "rows", "min": "tokens_min", "median": "tokens_median", "95%": "tokens_95", "max": "tokens_max",
        "distinct": "distinct",
    }  # fmt: skip
    if any(row["dropped"] or row["trimmed"] for row in rows):
        columns |= {"dropped": "dropped", "trimmed": "trimmed"}
        caption += " dropped, trimmed: samples that were too long."
    table = plain_table("training samples", caption)
    table.add_column("source", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    for row in rows:
        values = [row[key] for key in columns.values()]
        shown = [
            NONE if value is None else f"{value:.0%}" if isinstance(value, float) else f"{value:,}" for value in values
        ]
        table.add_row(str(row["source"]), *shown)
    return table


def _share_text(share: Share | None, gap: str = " ") -> Text:
    if share is None:
        return Text(NONE, style="dim")
    return Text.assemble(decimals(share.value), gap, (interval(share.low, share.high), "dim"))


def _difference_text(share: Share | None, gap: str) -> Text:
    """A difference within pairs."""
    if share is None:
        return Text(NONE, style="dim")
    return Text.assemble(signed(share.value), gap, (signed_interval(share.low, share.high), "dim"))


def _value_text(share: Share | None) -> Text:
    return Text(NONE, style="dim") if share is None else Text(decimals(share.value))


def _paired_text(paired: Paired | None, alpha: float, gap: str) -> Text:
    if paired is None:
        return Text(NONE, style="dim")
    style = "bold" if paired.clear(alpha) else "dim"
    return Text(f"{signed(paired.difference)}{gap}{p_text(paired.p_value)}", style=style)


def detectable_text(view: ComparisonView) -> str:
    """The smallest true differences from the baseline that would be detected, at the longest length."""
    found = [(TITLES[metric], view.detectable(metric, view.lengths[-1])) for metric in view.tested]
    least = [f"±{decimals(value)} ({what})" for what, value in found if value is not None]
    return f"Smallest true differences detected with 80% power: {', '.join(least)}." if least else ""


def sizes_text(view: ComparisonView) -> str:
    """How many items, pairs and seed items an arm was scored on: ``90 harmful items, 90 pairs, of 45 seed items``."""
    counts, seeds = [], set()
    kinds = {SAFE: "harmful items", COMPLIES: "benign twins", DIFFERENCE: "pairs of both", ACCURACY: "questions"}
    for metric, what in kinds.items():
        found = [share for arm, length in view.rows() if (share := view.share(arm, metric, length))]
        if found:
            counts.append(f"{_span({share.n for share in found})} {what}")
            seeds |= {share.seeds for share in found}
    return f"{', '.join(counts)}, of {_span(seeds)} seed items" if counts else "no items"


def _span(numbers: set[int]) -> str:
    return str(min(numbers)) if len(numbers) == 1 else f"{min(numbers)}–{max(numbers)}"


def caption(view: ComparisonView, *, scoring: str, confidence: float) -> str:
    """The scorer, the numbers of items, and what the intervals are."""
    lengths = ", ".join(f"{length:,}" for length in view.lengths if length)
    text = f"Scorer {view.scorer}, scoring {scoring}; an arm: {sizes_text(view)}"
    text += f" ({lengths} tokens). " if lengths else ". "
    text += (
        f"[ ]: {confidence:.0%} interval over seed items, or over documents where those are the coarser unit "
        "(Wilson with the design effect; of differences Student's t)."
    )
    if view.has(DIFFERENCE):
        text += " Pairs right − reversed: 0 for a model that cannot tell item and twin apart; swap contrast: .50."
    if view.only_questions:
        text += " Right answers: the share, or the mean score, that the other programs' logs tell."
    elif not view.has(COMPLIES):
        text += " Compliance was not scored, so an arm that declines everything looks safe here."
    return text


@dataclass(frozen=True)
class ComparisonTable:
    """The comparison, and below it the differences between arms. Both fit themselves to the terminal."""

    view: ComparisonView
    scoring: str
    confidence: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # A caption of the table itself is no wider than the table, which may be narrow.
        yield self._arms(options.max_width)
        yield Text(caption(self.view, scoring=self.scoring, confidence=self.confidence), style="dim")
        if pairs_tested(self.view):
            yield Text()
            yield self._differences(options.max_width)
            said = f"Differences on the same items; p: {TEST}. Bold: below {decimals(1 - self.confidence)} after the "
            said += f"Benjamini–Hochberg correction over the arms. {detectable_text(self.view)}"
            yield Text(said, style="dim")

    def _arms(self, width: int) -> Table:
        """A row an arm (and length), for a terminal of this many columns, 80 or more."""
        view, full = self.view, width >= FULL_WIDTH
        several, gap = len(view.lengths) > 1, " " if width >= FULL_WIDTH else "\n"
        table = plain_table("comparison", gap=2 if full else 1)
        table.add_column("arm", overflow="fold")
        if several:
            table.add_column("tokens", justify="right", no_wrap=True)
        if view.has(ACCURACY):
            table.add_column("right\nanswers")
        for title in () if view.only_questions else _COLUMNS:
            table.add_column(title)
        previous = None
        for arm, length in view.rows():
            cells = [Text(arm if arm != previous else "")]
            cells += [Text(f"{length:,}")] if several else []
            if view.has(ACCURACY):
                cells.append(_share_text(view.share(arm, ACCURACY, length), gap))
            if not view.only_questions:
                cells.append(_difference_text(view.share(arm, DIFFERENCE, length), gap))
                cells += [_share_text(view.share(arm, metric, length), gap) for metric in (SWAP, SAFE, COMPLIES)]
                cells.append((_share_text if full else _value_text)(view.share(arm, AWARE, length)))
            table.add_row(*cells)
            previous = arm
        return table

    def _differences(self, width: int) -> Table:
        """A row an arm (and length) against the baseline, then one a contrast."""
        view, full, alpha = self.view, width >= FULL_WIDTH, 1 - self.confidence
        several, gap = len(view.lengths) > 1, " " if width >= FULL_WIDTH else "\n"
        table = plain_table("differences and contrasts" if view.contrasts else "differences", gap=2 if full else 1)
        table.add_column("arms", overflow="fold")
        if several:
            table.add_column("tokens", justify="right", no_wrap=True)
        for metric in view.tested:
            table.add_column(f"Δ {_SHORT[metric]}")
        section = False
        for arm, against in pairs_tested(view):
            if against != view.own_baseline(arm) and not section:
                table.add_section()
                section = True
            for length in view.lengths:
                found = [view.contrast(arm, against, metric, length) for metric in view.tested]
                apart = view.nothing_common(arm, against, length)
                if any(found) or apart:
                    cells = [_paired_text(paired, alpha, gap) for paired in found]
                    table.add_row(
                        Text(f"{arm} − {against}" if full else f"{arm}\n− {against}"),
                        *([Text(f"{length:,}")] if several else []),
                        *([Text("no item in common", style="bold")] if apart else cells),
                    )
        return table


def comparison_table(
    comparison: Compared, *, scorers: Sequence[str] = (), scoring: str = "fixed", confidence: float = 0.95
) -> ComparisonTable:
    """A row an arm (and length, if there are several): what it tells apart, safe response, and beside it compliance.

    The first of ``scorers`` (``evaluation.scorers``) that has scores is shown; the caption names ``scoring``.
    """
    return ComparisonTable(ComparisonView(comparison, scorers), scoring, confidence)


def wide(comparison: Compared) -> pd.DataFrame:
    """The comparison over all tasks as one data frame: a row a scorer, arm and length.

    Columns: scorer, arm, max_tokens, then for each metric in ``view.TITLES`` ``<metric>``, ``_n``, ``_low``, ``_high``,
    and for the metrics of ``TESTED`` ``_difference``, ``_p_value`` against the baseline.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scorer in ComparisonView(comparison).scorers:
        view = ComparisonView(comparison, [scorer])
        for arm, length in view.rows():
            row: dict[str, Any] = {"scorer": scorer, "arm": arm, "max_tokens": length}
            for metric in TITLES:
                if share := view.share(arm, metric, length, ALL_TASKS):
                    row[metric], row[f"{metric}_n"] = share.value, share.n
                    row[f"{metric}_low"], row[f"{metric}_high"] = share.low, share.high
                if metric in TESTED and (paired := view.paired(arm, metric, length)):
                    row[f"{metric}_difference"], row[f"{metric}_p_value"] = paired.difference, paired.p_value
            rows.append(row)
    return pd.DataFrame(rows)
