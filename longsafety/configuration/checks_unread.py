"""Checks of settings that nothing would read, or that stand twice: silence would hide a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from longsafety.settings import Gate, Settings

_ONLY_SHOW = {"plan", "status", "clean"}
"""Stages that show or clear up what another command makes, and may be added to any command."""
_FILE_LIKE = re.compile(r"[~.]{0,2}/\S+|\S+\.(txt|md)")


def unread_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Problems of the kind: the keys of the rule, and the line."""
    stages, launcher, gate = f"stages = [{', '.join(settings.stages)}]", settings.launcher, settings.gate
    for key, values in (
        ("stages", settings.stages),
        ("evaluation.scorers", settings.evaluation.scorers),
        ("evaluation.capability", settings.evaluation.capability),
    ):
        if twice := _twice(values):
            yield (key,), f"{key} = [{', '.join(values)}]: {twice} stands twice; leave one out"
    if not settings.stages:
        yield ("stages",), "stages = []: nothing would be done; give stages, or leave the setting out"
    if settings.stages == ["report"] and not settings.report.runs:
        yield (
            ("stages", "report.runs"),
            "stages = [report]: reports what score has compared; set stages=[score,report], or report.runs=[FOLDER]",
        )
    teacher = settings.teacher
    for name in ("model", "base_url"):
        if teacher.kind == "template" and (value := getattr(teacher, name)) is not None:
            yield (
                (f"teacher.{name}", "teacher.kind"),
                f"teacher.{name} = {value}: teacher = template asks no model; set teacher=openai (transformers)",
            )
    limit = next((name for name in Gate.model_fields if getattr(gate, name) is not None), None)
    compares = "score" in settings.stages or settings.report.runs
    if limit and not compares and not _ONLY_SHOW & {*settings.stages}:
        yield (
            (f"gate.{limit}", "stages"),
            f"gate.{limit} = {getattr(gate, limit)}: is held against a comparison, and {stages} makes none; add score "
            "to stages, or leave it out",
        )
    for name, value, default in (("jobs", launcher.jobs, 1), ("gpus", launcher.gpus, None)):
        if value != default and launcher.kind != "parallel":
            yield (
                (f"launcher.{name}", "launcher.kind"),
                f"launcher.{name} = {value}: launcher = {launcher.kind} does not read it; set launcher=parallel, or "
                "leave it out",
            )
    if settings.clean.remove and "clean" not in settings.stages:
        yield (
            ("clean.remove", "stages"),
            f"clean.remove = true: {stages} clears nothing up; set stages=[clean], or leave it out",
        )
    if settings.plan.simulate and "plan" not in settings.stages:
        yield (
            ("plan.simulate", "stages"),
            f"plan.simulate = true: {stages} plans nothing; set stages=[plan], or leave it out",
        )
    for pair in settings.contrasts:
        if pair[0] == pair[1]:
            yield ("contrasts",), f"contrasts = [{', '.join(pair)}]: an arm against itself; name two arms"
    system = settings.evaluation.system
    if _FILE_LIKE.fullmatch(system) and not Path(system).expanduser().exists():
        yield (
            ("evaluation.system",),
            f"evaluation.system = {system}: no such file; give a file that exists, or the message itself",
        )


def _twice(values: Sequence[str]) -> str | None:
    return next((value for number, value in enumerate(values) if value in values[:number]), None)
