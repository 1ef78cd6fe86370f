"""What a teacher is: it writes what seed items lack. And the mistakes in its settings.

``teacher.kind=template`` needs no object: see :mod:`longsafety.scenarios.teacher.complete`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from longsafety import settings
from longsafety.chat.cached import Prompt, Written


class Teacher(Protocol):
    """Writes a reply to each prompt. Raises ``DataError`` where it does not answer or has spent its budget."""

    retries: int
    """How often a prompt is sent again when the validator rejects the reply."""

    def write(self, prompts: Sequence[Prompt]) -> list[Written]: ...


def teacher_problems(teacher: settings.Teacher) -> list[str]:
    """What is wrong with the section ``teacher``, a line each (cheap, for the checks before a run)."""
    if teacher.kind == "template":
        return []
    problems = []
    if not teacher.model:
        problems.append(
            f"teacher.model = {teacher.model!r}: teacher.kind={teacher.kind} needs a model; "
            + ("set the name that the server gives it" if teacher.kind == "openai" else "set a folder or hub name")
        )
    if teacher.kind == "openai" and not (teacher.base_url or "").startswith(("http://", "https://")):
        problems.append(
            f"teacher.base_url = {teacher.base_url!r}: teacher.kind=openai needs the server's address, "
            "such as http://127.0.0.1:8000/v1"
        )
    if teacher.budget_money is not None and not (teacher.price.prompt or teacher.price.reply):
        problems.append(
            f"teacher.budget_money = {teacher.budget_money:g}: no cost is known without a price; set "
            "teacher.price.prompt and teacher.price.reply, per million tokens"
        )
    return problems
