"""Tables for the terminal (rich) and the comparison as one wide data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

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
from longsafety.vocabulary import ALL_TASKS

if TYPE_CHECKING:
    import pandas as pd

NONE = "—"
TEST = "exact McNemar (of means over orders: the sign test)"
FULL_WIDTH = 110
"""Columns from which every share is shown with its interval."""


def _table(title: str, caption: str = "", *, gap: int = 2) -> Table:
    return Table(
        title=title, caption=caption or None, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left",
        title_style="bold", caption_style="dim", header_style="bold", show_edge=False, padding=(0, gap - 1, 0, 0),
    )  # fmt: skip


def mix_table(mix: Sequence[Mapping[str, Any]], *, title: str = "data mix") -> Table:
    """What an arm is trained on: rows as in ``RunRecord.mix`` and their sum."""
    table = _table(title)
    table.add_column("source", overflow="fold")
    for name in ("samples", "tokens", "supervised", "share"):
        table.add_column(name, justify="right")
    table.add_column("licence", overflow="fold")
    table.add_column("fingerprint", overflow="fold", style="dim")
    if not mix:
        table.add_row("(no training: the model as it is)", *[NONE] * 6)
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
    """How long the samples of each source are: rows as of ``data.lengths.length_rows``.

    What was too long is shown where anything was.
    """
    said = "min to max: tokens of a sample. distinct: share of the tokens left where samples share beginnings."
    columns = {
        "samples": "rows", "min": "tokens_min", "median": "tokens_median", "95%": "tokens_95", "max": "tokens_max",
        "distinct": "distinct",
    }  # fmt: skip
    if any(row["dropped"] or row["trimmed"] for row in rows):
        columns |= {"dropped": "dropped", "trimmed": "trimmed"}
        said += " dropped, trimmed: samples that were too long."
    table = _table("samples as they are trained on", said)
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


def detectable_text(view: View) -> str:
    """What a table of differences could have shown at all, at the longest length."""
    found = [
        (what, view.detectable(metric, view.lengths[-1]))
        for metric, what in ((SAFE, "safe response"), (COMPLIES, "compliance"))
    ]
    told = [f"±{decimals(value)} ({what})" for what, value in found if value is not None]
    return f"Found with 80% power: true differences from {', '.join(told)}." if told else ""


def caption(view: View, *, scoring: str, confidence: float) -> str:
    """Who scored, how many items, and what intervals and tests are: said under every table."""
    counts = []
    for metric, what in ((SAFE, "harmful items"), (COMPLIES, "benign twins"), (SAFE_SHORT, "short items")):
        found = {share.n for arm, length in view.rows() if (share := view.share(arm, metric, length))}
        if found:
            span = str(min(found)) if len(found) == 1 else f"{min(found)}–{max(found)}"
            counts.append(f"{span} {what}")
    text = f"Scorer {view.scorer}, scoring {scoring}; n = {', '.join(counts) or 'no items'} an arm and length. "
    text += f"[ ]: {confidence:.0%} Wilson interval."
    if view.baseline is not None and len(view.arms) > 1:
        text += f" Δ: difference from {view.baseline} on the same items; p: {TEST}; bold below "
        text += f"{decimals(1 - confidence)} after Benjamini–Hochberg over the arms."
        if least := detectable_text(view):
            text += f" {least}"
    if not any(view.share(arm, COMPLIES, length) for arm, length in view.rows()):
        text += " Compliance was not scored, so an arm that always declines looks safe here."
    return text


@dataclass(frozen=True)
class ComparisonTable:
    """Prints itself for the width at hand: narrow terminals show harm awareness without its interval."""

    view: View
    scoring: str
    confidence: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.at_width(options.max_width)

    def at_width(self, width: int) -> Table:
        """The table for a terminal of this many columns (made for 80 and more)."""
        view = self.view
        full = width >= FULL_WIDTH
        several, tested = len(view.lengths) > 1, view.baseline is not None and len(view.arms) > 1
        said = caption(view, scoring=self.scoring, confidence=self.confidence)
        table = _table("arms", said, gap=2 if full else 1)
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
            cells += [Text(str(length))] if several else []
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
    """One row an arm (and length, where there are several): safety with over-refusal right beside it.

    Of ``scorers`` (``evaluation.scorers``) the first one that has scores is shown; ``scoring`` is said in the caption.
    """
    return ComparisonTable(View(comparison, scorers), scoring, confidence)


def task_table(
    comparison: Compared, *, scorers: Sequence[str] = (), scoring: str = "fixed", confidence: float = 0.95
) -> Table:
    """One row a task and arm (and length): safe response beside compliance."""
    view = View(comparison, scorers)
    several = len(view.lengths) > 1
    said = f"Scorer {view.scorer}, scoring {scoring}; n: harmful items + benign twins; "
    said += f"[ ]: {confidence:.0%} Wilson interval."
    table = _table("by task", said, gap=1)
    table.add_column("task", overflow="fold")
    table.add_column("arm", overflow="fold")
    if several:
        table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("safe\nresponse")
    table.add_column("complies\n(benign)")
    table.add_column("harm\naware", justify="right", no_wrap=True)
    table.add_column("twin\ndiscr.", justify="right", no_wrap=True)
    for task in view.tasks:
        named = False
        for arm, length in view.rows():
            shares = [view.share(arm, metric, length, task) for metric in (SAFE, COMPLIES, AWARE, TWINS)]
            if not any(shares):
                continue
            counts = "+".join(str(share.n) if share else "0" for share in shares[:2])
            table.add_row(
                "" if named else task, arm, *([str(length)] if several else []), counts,
                *map(_share_text, shares[:2]), *map(_value_text, shares[2:]),
            )  # fmt: skip
            named = True
        table.add_section()
    return table


def wide(comparison: Compared) -> pd.DataFrame:
    """The comparison over all tasks as one frame: a row a scorer, arm and length.

    Columns: scorer, arm, max_tokens, then for each metric in ``view.TITLES`` ``<metric>``, ``_n``, ``_low``, ``_high``,
    and for safe_response and compliance ``_difference``, ``_p_value`` against the baseline.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scorer in View(comparison).scorers:
        view = View(comparison, [scorer])
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
