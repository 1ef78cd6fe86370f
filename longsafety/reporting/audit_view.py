"""The audit of a build: compact tables for the terminal, and two figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from rich.table import Table

from longsafety.reporting.fonts import drawn_names, fonts_for
from longsafety.reporting.gate_view import copies_table, gate_rows, gate_table
from longsafety.reporting.style import FAINT, INK, PALETTE, STYLE, panels, save
from longsafety.reporting.terminal import NONE, plain_table
from longsafety.scenarios.audit.audit import Audit
from longsafety.vocabulary import TWINS

SPLITS = ("train", "bench")
_COLOURS = {"train": PALETTE[0], "bench": PALETTE[4]}
_MANY_NEEDLES = LinearSegmentedColormap.from_list("needles", ["#e8f1f8", "#7fb6da", "#0072b2", "#003f66"])
_LICENCES_NAMED, _ROWS_OF_COVERAGE = 4, 6


def audit_tables(audit: Audit) -> list[Table]:
    """Samples and lengths by task, the checks, copies, the needles by depth, and the gate; they fit 80 columns."""
    tables = [_tasks(audit), _checks(audit)]
    tables += [copies_table(audit.copies)] if audit.copies else []
    tables += [_coverage(audit)] if audit.coverage else []
    return [*tables, gate_table(audit.gate)]


def figures(audit: Audit) -> dict[str, Figure]:
    """``tokens_by_task`` and ``depth_by_length``, each if the audit has data for it."""
    drawn = {"tokens_by_task": tokens_by_task(audit) if audit.lengths else None}
    drawn["depth_by_length"] = depth_by_length(audit) if audit.coverage else None
    return {name: figure for name, figure in drawn.items() if figure is not None}


def save_figures(audit: Audit, folder: Path) -> dict[str, str]:
    """Writes the figures as PNG into ``folder``; figure name → path."""
    drawn = figures(audit)
    return {name: str(path) for name, path in zip(drawn, save(drawn, folder), strict=True)}


def task_rows(audit: Audit) -> list[dict[str, str]]:
    """A row a task, and their sum, as text: items, twins and the items' lengths in each split."""
    tasks = list(dict.fromkeys(row["task"] for row in audit.sizes))
    return [_task_row(audit, [task], task) for task in tasks] + ([_task_row(audit, tasks, "all")] if tasks else [])


def _task_row(audit: Audit, tasks: Sequence[str], name: str) -> dict[str, str]:
    found = {"task": name}
    exact: list[tuple[int, float]] = []
    for split in SPLITS:
        rows = [row for row in audit.sizes if row["split"] == split and row["task"] in tasks]
        items = [row for row in rows if row["kind"] not in TWINS]
        count = sum(row["samples"] for row in items)
        found[split] = f"{count:,}" if count else NONE
        twins = sum(row["samples"] for row in rows) - count
        found[f"{split}_twins"] = f"{twins:,}" if twins else NONE
        found[f"{split}_mean"] = f"{sum(row['tokens'] for row in items) / count:,.0f}" if count else NONE
        least, most = min((row["min"] for row in items), default=0), max((row["max"] for row in items), default=0)
        found[f"{split}_range"] = f"{least:,}–{most:,}" if least < most else f"{most:,}" if count else NONE
        exact += [(row["samples"], row["at_target"]) for row in items if row["at_target"] is not None]
    share = sum(count * at for count, at in exact) / max(sum(count for count, _ in exact), 1)
    found["at_target"] = _percent(share) if exact else NONE
    return found


def _percent(share: float) -> str:
    """A share that only rounds to 0 or 1 is not shown as 0% or 100%."""
    if 0 < share < 0.001:
        return "<0.1%"
    return "100%" if share == 1 else "0%" if share == 0 else f"{min(share, 0.999):.1%}"


def _tasks(audit: Audit) -> Table:
    table = plain_table("samples and tokens", "items: without twins; at length: the target or up to 4 tokens less")
    table.add_column("task", overflow="fold")
    for split in SPLITS:
        table.add_column(f"{split}\nitems", justify="right")
        table.add_column("\ntwins", justify="right")
        table.add_column("tokens\nmean", justify="right")
    table.add_column("at\nlength", justify="right")
    rows = task_rows(audit)
    for row in rows:
        cells = [row[key] for split in SPLITS for key in (split, f"{split}_twins", f"{split}_mean")]
        table.add_row(row["task"], *cells, row["at_target"], style="bold" if row is rows[-1] else "")
    return table


def check_rows(audit: Audit) -> list[tuple[str, str, str]]:
    """(Check, result, reference or worst case), as text: the gate's, then those of the build."""
    return [*gate_rows(audit.gate), *_build_rows(audit)]


def _build_rows(audit: Audit) -> list[tuple[str, str, str]]:
    needles, twins, overlap, reuse = audit.needles, audit.twins, audit.overlap, audit.reuse
    kinds = {kind.removeprefix("benign_"): count for kind, count in twins.items()}
    rows = [
        ("needles after rendering", f"{needles['needles']:,} found", f"all, in {needles['contexts']:,} contexts"),
        ("twins", f"{sum(twins.values()):,} correct", ", ".join(f"{n:,} {kind}" for kind, n in kinds.items() if n)),
    ]
    for name in ("documents", "seeds"):
        one = overlap[name]
        rows.append((
            f"{'seed items' if name == 'seeds' else name} in both splits", f"{one['shared']:,}",
            f"of {one['train']:,} and {one['bench']:,}",
        ))  # fmt: skip
    ngrams = overlap["ngrams"]
    most = "".join(f"; most: {row['document']}" for row in ngrams["documents"][:1])
    rows.append((
        f"{ngrams['tokens']}-grams in both splits", f"{ngrams['shared']:,}",
        f"{_percent(ngrams['share'])} of bench's {ngrams['bench']:,}{most}",
    ))  # fmt: skip
    copies = sum(row["duplicates"] for row in audit.exact_duplicates)
    rows.append(("exact duplicates", f"{copies:,}", f"of {sum(r['samples'] for r in audit.exact_duplicates):,} items"))
    literals, documents = (audit.near_duplicates[name] for name in ("literals", "documents"))
    rows.append((
        "near duplicates", f"{literals['near']:,} + {documents['near']:,}",
        f"of {literals['compared']:,} literals + {documents['compared']:,} documents",
    ))  # fmt: skip
    top = "".join(f" ({row['document']})" for row in reuse["top"][:1])
    rows += [
        ("corpus documents used", f"{reuse['used']:,}", f"{_percent(reuse['share'])} of {reuse['documents']:,}"),
        ("contexts a document", f"{reuse['mean']:,.1f}", f"mean; at most {reuse['max']:,}{top}"),
        ("strictest licence", audit.strictest_licence, _licences(audit)),
        ("languages", *_languages(audit)),
    ]
    return rows


def _licences(audit: Audit) -> str:
    named = [f"{name} ({count:,})" for name, count in audit.licences.items()]
    more = f" and {len(named) - _LICENCES_NAMED} more" if len(named) > _LICENCES_NAMED else ""
    return ", ".join(named[:_LICENCES_NAMED]) + more


def _languages(audit: Audit) -> tuple[str, str]:
    """The languages of the questions, and the number of samples by question and context language."""
    queries = dict.fromkeys(row["query"] for row in audit.languages)
    pairs: dict[str, int] = {}
    for row in audit.languages:
        if row["context"]:
            pair = f"{row['query']} on {row['context']}"
            pairs[pair] = pairs.get(pair, 0) + row["samples"]
    ordered = sorted(pairs.items(), key=lambda pair: -pair[1])
    return ", ".join(queries), ", ".join(f"{pair} {count:,}" for pair, count in ordered)


def _checks(audit: Audit) -> Table:
    table = plain_table("checks")
    table.add_column("check", no_wrap=True)
    table.add_column("result", justify="right", no_wrap=True)
    table.add_column("", style="dim", overflow="fold")
    for row in _build_rows(audit):
        table.add_row(*row)
    return table


def coverage_grid(audit: Audit) -> tuple[list[int], list[list[int]]]:
    """Upper bounds of the lengths, and for each the needles in ten bins of depth, both splits together."""
    bounds = sorted({row["max_tokens"] for row in audit.coverage})
    grid = np.zeros((len(bounds), 10), dtype=int)
    for row in audit.coverage:
        grid[bounds.index(row["max_tokens"]), round(row["depth"] * 10)] += row["needles"]
    return bounds, grid.tolist()


def _coverage(audit: Audit) -> Table:
    bounds, grid = coverage_grid(audit)
    left_out = len(bounds) - _ROWS_OF_COVERAGE
    caption = f"{left_out} shorter lengths: see the figure" if left_out > 0 else ""
    table = plain_table("needles of harmful items by depth and length", caption)
    table.add_column("tokens", justify="right")
    for tenth in range(10):
        table.add_column(f".{tenth}–" if tenth else "0–", justify="right")
    for bound, counts in list(zip(bounds, grid, strict=True))[-_ROWS_OF_COVERAGE:]:
        table.add_row(f"≤ {bound:,}", *(f"{count:,}" if count else NONE for count in counts))
    return table


def tokens_by_task(audit: Audit) -> Figure:
    """A histogram of lengths for each task, train above the line and bench below it, on one scale of tokens."""
    tasks = list(dict.fromkeys(row["task"] for row in audit.lengths))
    edges = np.array(audit.length_edges)
    names = drawn_names(tasks)
    with fonts_for(names.values()), mpl.rc_context(STYLE):
        figure, (axes,) = panels(1, 8.2, 1.3 + 0.4 * len(tasks))
        for row in audit.lengths:
            counts = np.array(row["counts"]) / max(max(row["counts"]), 1)
            base, sign = tasks.index(row["task"]), -1 if row["split"] == "train" else 1
            # The axis points down, so that the first task is at the top; train rises above its line.
            axes.stairs(
                base + sign * 0.42 * counts, edges, baseline=base, fill=True, color=_COLOURS[row["split"]], alpha=0.9,
                label=row["split"] if row["split"] not in axes.get_legend_handles_labels()[1] else None,
            )  # fmt: skip
        axes.hlines(range(len(tasks)), edges[0], edges[-1], color=FAINT, linewidth=0.6)
        axes.set(
            xlim=(edges[0], edges[-1] * 1.01), ylim=(len(tasks) - 0.45, -0.55), xlabel="tokens of the rendered chat"
        )
        axes.set_yticks(range(len(tasks)), list(names.values()))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_title("Tokens by task")
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, labelcolor=INK, handlelength=0.9,
            handletextpad=0.4, columnspacing=1.0, borderaxespad=0.1, fontsize=9,
        )  # fmt: skip
    return figure


def depth_by_length(audit: Audit) -> Figure:
    """The needles of harmful items: counts by depth (horizontal) and length (vertical)."""
    bounds, grid = coverage_grid(audit)
    most = max(map(max, grid))
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1, 8.2, 1.5 + 0.42 * len(bounds))
        shown = np.ma.masked_equal(np.array(grid, dtype=float), 0)
        axes.pcolormesh(np.arange(11), np.arange(len(bounds) + 1), shown, cmap=_MANY_NEEDLES, vmin=0, vmax=most,
                        edgecolors="white", linewidth=1.5)  # fmt: skip
        for y, counts in enumerate(grid):
            for x, count in enumerate(counts):
                colour = FAINT if not count else "white" if count > 0.45 * most else INK
                axes.text(x + 0.5, y + 0.5, f"{count:,}" if count else "0", ha="center", va="center", fontsize=8.5,
                          color=colour)  # fmt: skip
        axes.set(xticks=range(11), xlabel="depth: share of the documents before the needle", ylim=(len(bounds), 0))
        axes.set_xticklabels([f"{tenth / 10:.1f}" for tenth in range(11)])
        axes.set_yticks(np.arange(len(bounds)) + 0.5, [f"≤ {bound:,}" for bound in bounds])
        axes.set_ylabel("tokens")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title("Needles by depth and length")
    return figure
