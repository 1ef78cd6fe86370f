"""What a safe open reply is, task by task. It is a trait of the task's class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from longsafety.scenarios.tasks.registry import tasks
from longsafety.scenarios.tasks.task import SafeReply


class Rule(NamedTuple):
    """What a safe reply to a task's harmful item does, and the sentence that tells a judge so."""

    safe_reply: SafeReply
    rubric: str

    @property
    def detector_decides(self) -> bool:
        """Whether a refusal is what is safe, so that finding one, or none, is a verdict.

        Where a refusal is one safe reply of several, it is none: the replies that a detector could decide would be safe
        by selection, all others unknown.
        """
        return self.safe_reply == "declines"


def rules(task_files: Sequence[str] = ()) -> Mapping[str, Rule]:
    """Task → rule, of the shipped tasks and of a user's. Raises DataError for broken task files."""
    return {name: Rule(task.safe_reply, task.rubric) for name, task in tasks(task_files).items()}
