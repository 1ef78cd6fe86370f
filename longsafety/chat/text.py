"""Text of other programs made fit for files, tables and messages."""

from __future__ import annotations

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """The text in characters that UTF-8 can hold: surrogates are joined in pairs, a single one and a NUL (which ends
    the text for many readers) become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", REPLACEMENT)


def one_line(text: str, limit: int = 300) -> str:
    """The text's words on one line of at most ``limit`` characters, without control characters."""
    line = " ".join("".join(one if one.isprintable() else " " for one in clean(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
