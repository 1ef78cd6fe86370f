"""What came of the user's seed items, for the terminal, the gallery and the card."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from longsafety.reporting.terminal import NONE, plain_table
from longsafety.scenarios.seed_use import SeedUse
from longsafety.scenarios.seeds.shipped import SHIPPED

SPLITS = ("train", "bench")


def seed_rows(used: Sequence[SeedUse]) -> list[dict[str, str]]:
    """A row a task, and their sum, as text: items of the user's and of shipped seed items by split, twins, reasons."""
    names = list(dict.fromkeys(row["task"] for row in used))
    return [_row([row for row in used if row["task"] == name], name) for name in names] + [_row(used, "all")]


def _row(used: Sequence[SeedUse], name: str) -> dict[str, str]:
    found = {"task": name}
    for split in SPLITS:
        rows = [row for row in used if row["split"] == split]
        found[f"{split}_own"] = _number(sum(row["own"] for row in rows))
        found[f"{split}_shipped"] = _number(sum(row["shipped"] for row in rows))
    found["lent"] = _number(sum(row["lent"] for row in used))
    left_out = {row["split"] for row in used if not row["own"] and not row["shipped"]}
    reasons: dict[str, list[str]] = {}
    for row in used if name != "all" else ():
        if row["why"]:
            reasons.setdefault(row["why"], []).append(row["split"])
    told = [
        f"{' and '.join(splits)}{' (left out)' if left_out & {*splits} else ''}: {why}"
        for why, splits in reasons.items()
    ]
    return found | {"why": "; ".join(told)}


def origins(used: Sequence[SeedUse]) -> dict[str, int]:
    """The public set or file that seed items come from → items made of them, the user's before the shipped."""
    found: dict[str, int] = {}
    for row in used:
        for origin, items in row["origins"].items():
            found[origin] = found.get(origin, 0) + items
    return dict(sorted(found.items(), key=lambda pair: (pair[0] == SHIPPED, -pair[1], pair[0])))


def seed_table(used: Sequence[SeedUse]) -> Table:
    """Items of the user's and of shipped seed items by task; it fits 80 columns."""
    made = ", ".join(f"{origin} {items:,}" for origin, items in origins(used).items())
    table = plain_table(
        "your seed items",
        f"items without twins: of yours, and of shipped seed items. From: {made}. Your twins: items whose benign twin "
        "is one of your benign prompts",
    )
    table.add_column("task", overflow="fold")
    for split in SPLITS:
        table.add_column(f"{split}\nyours", justify="right")
        table.add_column("\nshipped", justify="right")
    table.add_column("your\ntwins", justify="right")
    table.add_column("why none of yours", overflow="fold")
    rows = seed_rows(used)
    for row in rows:
        cells = [row[f"{split}_{whose}"] for split in SPLITS for whose in ("own", "shipped")]
        table.add_row(row["task"], *cells, row["lent"], row["why"], style="bold" if row is rows[-1] else "")
    return table


def _number(count: int) -> str:
    return f"{count:,}" if count else NONE
