"""The errors that a user can cause and fix, and text of others in them. Every other exception is a bug and keeps its
traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_LONGEST_LINE = 300
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Control characters but tab and newline, marks of direction, separators of lines, tags, and halves of pairs."""


class LongSafetyError(Exception):
    """A mistake outside the program. Its text names the place, the value, the rule and the fix.

    Half a surrogate pair in it is shown as its escape, so that it can be written anywhere.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.encode("utf-8", "backslashreplace").decode())


class DataError(LongSafetyError):
    """A file or row that cannot be used; the text begins with ``file:line`` where there is one."""


class ConfigError(LongSafetyError):
    """One or more settings that cannot be used, all reported together.

    Each problem is a line ``dotted.key = value: rule; fix``.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        head = "1 setting is wrong:" if count == 1 else f"{count} settings are wrong:"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


def first_line(error: BaseException, *, typed: bool = False) -> str:
    """The first line of an exception's message (at most 300 characters), or its type where it has no message.

    ``typed`` puts the type before the message, for libraries whose messages do not say what failed.
    """
    lines = str(error).strip().splitlines()
    kind = type(error).__name__
    if not lines:
        return kind
    return (f"{kind}: {lines[0]}" if typed else lines[0])[:_LONGEST_LINE]


def print_left_out(rows: Iterable[str]) -> None:
    """Prints the rows that a reader left out, a line each, for the run's log."""
    for row in rows:
        print(f"  left out   {row}", flush=True)


def visible(text: str) -> str:
    """The text with ``⟨U+202E⟩`` in place of each character that is not seen but acts."""
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", text)
