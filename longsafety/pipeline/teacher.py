"""The teacher of a run: the model that writes what seed items lack."""

from __future__ import annotations

from pathlib import Path

from longsafety import settings
from longsafety.chat.cached import CachedTeacher, OpenAITeacher
from longsafety.errors import ConfigError
from longsafety.scenarios.teacher.teacher import teacher_problems


def open_teacher(teacher: settings.Teacher, cache: Path) -> CachedTeacher | None:
    """The teacher of the settings, its replies kept in ``cache/teacher``; ``None`` for ``template``.

    Loads and asks nothing yet. Raises ConfigError.
    """
    if problems := teacher_problems(teacher):
        raise ConfigError(problems)
    if teacher.kind == "template":
        return None
    if teacher.kind == "openai":
        return OpenAITeacher(teacher, cache)
    from longsafety.model.teacher import TransformersTeacher

    return TransformersTeacher(teacher, cache)
