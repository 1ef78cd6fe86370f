"""How tables look in a terminal. What they show of others (names, texts) is text there: no markup, nothing hidden."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from longsafety.errors import visible

NONE = "—"
"""A cell without a value."""


def plain_table(title: str, caption: str = "", *, gap: int = 2) -> Table:
    """A table with a rule under its header and ``gap`` spaces between columns; its columns are yet to be added."""
    return Table(
        title=title, caption=caption or None, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left",
        title_style="bold", caption_style="dim", header_style="bold", show_edge=False, padding=(0, gap - 1, 0, 0),
    )  # fmt: skip


def tables_text(*parts: Any, width: int = 120) -> str:
    """Tables and lines as they look in a terminal of so many columns."""
    shown = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    with shown.capture() as found:
        for part in parts:
            shown.print(part)
    return visible(found.get())


def write_tables(path: Path, *parts: Any) -> None:
    """Writes :func:`tables_text` to ``path``."""
    path.write_text(tables_text(*parts), "utf-8")
