"""The text of ``evaluation.system``. The addresses of a run import this module: nothing heavy."""

from __future__ import annotations

from pathlib import Path

from longsafety.errors import DataError, first_line

NONE = "none"
_KEY = "evaluation.system"


def system_text(given: str) -> str:
    """The message of a setting: the text, that of the file which it names, or none. Raises DataError."""
    if given == NONE:
        return ""
    try:
        is_file = Path(given).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # a text that is no path
        is_file = False
    if not is_file:
        return given.strip()
    try:
        text = Path(given).expanduser().read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{_KEY} = {given}: cannot be read ({first_line(error)}); give a UTF-8 text file") from error
    if not text:
        raise DataError(f"{_KEY} = {given}: the file is empty; set it to none for no system message")
    return text
