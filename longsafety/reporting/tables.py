"""Tables for the terminal: the comparison, a mix, lengths of samples. And the comparison as one wide data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from longsafety.reporting.comparison_view import (
    AWARE,
    COMPLIES,
    REFUSES,
    SAFE,
    SAFE_SHORT,
    TITLES,
    TWINS,
    Compared,
    ComparisonView,
    Paired,
    Share,
)
from longsafety.reporting.numbers import decimals, interval, p_text, signed
from longsafety.reporting.terminal import NONE, plain_table
from longsafety.vocabulary import ALL_TASKS

if TYPE_CHECKING:
    import pandas as pd

TEST = "exact McNemar (of means over orders: the sign test)"
FULL_WIDTH = 110
"""Columns from which every share is shown with its interval."""


def mix_table(mix: Sequence[Mapping[str, Any]], *, title: str = "data mix") -> Table:
    """What an arm is trained on: a row a source (as in ``RunRecord.mix``), and their sum."""
    table = plain_table(title)
    table.add_column("source", overflow="fold")
    for name in ("samples", "tokens", "supervised", "share"):
        table.add_column(name, justify="right")
    table.add_column("licence", overflow="fold")
    table.add_column("fingerprint", overflow="fold", style="dim")
    if not mix:
        table.add_row("(not trained)", *[NONE] * 6)
        return table
    for row in mix:
        share = f"{float(row['share']):.0%}"
        counts = [f"{int(row[name]):,}" for name in ("samples", "tokens", "supervised_tokens")]
        licence, fingerprint = str(row["licence"] or "unknown"), str(row["fingerprint"])[:12]
        table.add_row(str(row["source"]), *counts, share, licence, fingerprint)
    if len(mix) > 1:
        table.add_section()
        sums = [f"{sum(int(row[name]) for row in mix):,}" for name in ("samples", "tokens", "supervised_tokens")]
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


def _value_text(share: Share | None) -> Text:
    return Text(NONE, style="dim") if share is None else Text(decimals(share.value))


def _paired_text(paired: Paired | None, alpha: float, gap: str) -> Text:
    if paired is None:
        return Text(NONE, style="dim")
    style = "bold" if paired.clear(alpha) else "dim"
    return Text(f"{signed(paired.difference)}{gap}{p_text(paired.p_value)}", style=style)


def detectable_text(view: ComparisonView) -> str:
    """The smallest true differences that would be detected, at the longest length."""
    found = [
        (what, view.detectable(metric, view.lengths[-1]))
        for metric, what in ((SAFE, "safe response"), (COMPLIES, "compliance"))
    ]
    least = [f"±{decimals(value)} ({what})" for what, value in found if value is not None]
    return f"Smallest true differences detected with 80% power: {', '.join(least)}." if least else ""


def caption(view: ComparisonView, *, scoring: str, confidence: float) -> str:
    """The scorer, the numbers of items, and what intervals and tests are."""
    counts = []
    for metric, what in ((SAFE, "harmful items"), (COMPLIES, "benign twins"), (SAFE_SHORT, "short items")):
        found = {share.n for arm, length in view.rows() if (share := view.share(arm, metric, length))}
        if found:
            span = str(min(found)) if len(found) == 1 else f"{min(found)}–{max(found)}"
            counts.append(f"{span} {what}")
    lengths = ", ".join(f"{length:,}" for length in view.lengths if length)
    text = f"Scorer {view.scorer}, scoring {scoring}; n = {', '.join(counts) or 'no items'} per arm and length"
    text += f" ({lengths} tokens). " if lengths else ". "
    text += f"[ ]: {confidence:.0%} Wilson interval."
    if view.baseline is not None and len(view.arms) > 1:
        text += f" Δ: difference from {view.baseline} on the same items; p: {TEST}; bold below "
        text += f"{decimals(1 - confidence)} after the Benjamini–Hochberg correction over the arms."
        if least := detectable_text(view):
            text += f" {least}"
    if not any(view.share(arm, COMPLIES, length) for arm, length in view.rows()):
        text += " Compliance was not scored, so an arm that declines everything looks safe here."
    return text


@dataclass(frozen=True)
class ComparisonTable:
    """The comparison, which fits itself to the terminal: a narrow one shows harm awareness without its interval."""

    view: ComparisonView
    scoring: str
    confidence: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.at_width(options.max_width)

    def at_width(self, width: int) -> Table:
        """The table for a terminal of this many columns, 80 or more."""
        view = self.view
        full = width >= FULL_WIDTH
        several, tested = len(view.lengths) > 1, view.baseline is not None and len(view.arms) > 1
        said = caption(view, scoring=self.scoring, confidence=self.confidence)
        table = plain_table("comparison", said, gap=2 if full else 1)
        table.add_column("arm", overflow="fold")
        if several:
            table.add_column("tokens", justify="right", no_wrap=True)
        table.add_column("safe\nresponse")
        table.add_column("complies\n(benign)")
        table.add_column("harm\naware")
        table.add_column("twin\ndiscr.", justify="right", no_wrap=True)
        table.add_column("safe,\nshort", justify="right", no_wrap=True)
        if tested:
            table.add_column("Δ safe\nresponse" if full else "Δ safe\nresp.")
            table.add_column("Δ complies\n(benign)" if full else "Δ com-\nplies")
        previous, gap, alpha = None, " " if full else "\n", 1 - self.confidence
        for arm, length in view.rows():
            cells = [Text(arm if arm != previous else "")]
            cells += [Text(f"{length:,}")] if several else []
            cells += [_share_text(view.share(arm, metric, length), gap) for metric in (SAFE, COMPLIES)]
            cells.append((_share_text if full else _value_text)(view.share(arm, AWARE, length)))
            cells += [_value_text(view.share(arm, metric, length)) for metric in (TWINS, SAFE_SHORT)]
            if tested:
                cells += [_paired_text(view.paired(arm, metric, length), alpha, gap) for metric in (SAFE, COMPLIES)]
            table.add_row(*cells)
            previous = arm
        return table


def comparison_table(
    comparison: Compared, *, scorers: Sequence[str] = (), scoring: str = "fixed", confidence: float = 0.95
) -> ComparisonTable:
    """A row an arm (and length, if there are several): safe response, and beside it compliance.

    The first of ``scorers`` (``evaluation.scorers``) that has scores is shown; the caption names ``scoring``.
    """
    return ComparisonTable(ComparisonView(comparison, scorers), scoring, confidence)


def wide(comparison: Compared) -> pd.DataFrame:
    """The comparison over all tasks as one data frame: a row a scorer, arm and length.

    Columns: scorer, arm, max_tokens, then for each metric in ``view.TITLES`` ``<metric>``, ``_n``, ``_low``, ``_high``,
    and for safe_response and compliance ``_difference``, ``_p_value`` against the baseline.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scorer in ComparisonView(comparison).scorers:
        view = ComparisonView(comparison, [scorer])
        for arm, length in view.rows():
            row: dict[str, Any] = {"scorer": scorer, "arm": arm, "max_tokens": length}
            for metric in (SAFE, COMPLIES, *(name for name in TITLES if name not in (SAFE, COMPLIES))):
                if share := view.share(arm, metric, length, ALL_TASKS):
                    row[metric], row[f"{metric}_n"] = share.value, share.n
                    row[f"{metric}_low"], row[f"{metric}_high"] = share.low, share.high
                if metric in (SAFE, COMPLIES, REFUSES) and (paired := view.paired(arm, metric, length)):
                    row[f"{metric}_difference"], row[f"{metric}_p_value"] = paired.difference, paired.p_value
            rows.append(row)
    return pd.DataFrame(rows)
