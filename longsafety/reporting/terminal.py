"""How tables look in a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

NONE = "—"
"""A cell without a value."""


def plain_table(title: str, caption: str = "", *, gap: int = 2) -> Table:
    """A table with a rule under its header and ``gap`` spaces between columns; its columns are yet to be added."""
    return Table(
        title=title, caption=caption or None, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left",
        title_style="bold", caption_style="dim", header_style="bold", show_edge=False, padding=(0, gap - 1, 0, 0),
    )  # fmt: skip
