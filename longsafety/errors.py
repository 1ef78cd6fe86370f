"""The errors that a user can cause and mend; everything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Sequence


class LongSafetyError(Exception):
    """A mistake outside the program: its text says where, what value, which rule and which fix."""


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
