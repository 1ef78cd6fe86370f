"""Checks of scorers, suites, backends, judges and recorded answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from longsafety.chat.server import server_problems
from longsafety.errors import DataError
from longsafety.evaluation.logs.kinds import NOTHING, found_at
from longsafety.evaluation.open_replies.guards import GUARDS
from longsafety.evaluation.open_replies.judge import judge_problems
from longsafety.evaluation.open_replies.rules import rules
from longsafety.evaluation.open_replies.server_guard import section
from longsafety.evaluation.open_replies.sheet import read_sheet
from longsafety.evaluation.scorers import BY_SERVER, SHOWS_OPTIONS
from longsafety.evaluation.suites.names import suite_problems
from longsafety.settings import Settings


def evaluation_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Problems of ``evaluation`` and ``scoring``: the keys of the rule, and the line."""
    yield from _scorers(settings)
    yield from _recorded(settings)
    yield from _open(settings)
    yield from _sheet(settings)
    yield from _guards(settings)
    yield from _backend(settings)


def _scorers(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    if not settings.evaluation.scorers:
        yield (("evaluation.scorers",), "evaluation.scorers = []: nothing would be scored; give likelihood or letter")
    judged = "open" in settings.evaluation.scorers and settings.evaluation.judge is not None
    if settings.scoring == "official" and not (judged or settings.rescores or "letter" in settings.evaluation.scorers):
        yield (
            ("scoring", "evaluation.scorers", "evaluation.judge"),
            "scoring = official: the published evaluators read letters, or (open, with evaluation.judge) verdicts; "
            "add letter to evaluation.scorers",
        )
    for problem in suite_problems(settings.evaluation.capability):
        yield (("evaluation.capability",), problem)


def _recorded(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    evaluation, stages = settings.evaluation, settings.stages
    shown = next((scorer for scorer in evaluation.scorers if scorer in SHOWS_OPTIONS), None)
    if evaluation.write_official and (settings.rescores or "score" not in stages or shown is None):
        rule = "the stage score writes own answers of letter or generate"
        yield (
            ("evaluation.write_official", "evaluation.answers", "evaluation.scorers", "stages"),
            f"evaluation.write_official = true: {rule}; set it to false, or add such a scorer",
        )
    if evaluation.answers is None:
        return
    key, folder = "evaluation.answers", Path(evaluation.answers).expanduser()
    if "score" not in stages or not {*stages} <= {"score", "report"}:
        yield (
            (key, "stages"),
            f"{key} = {evaluation.answers}: recorded answers are only scored, and stages = [{', '.join(stages)}]; set "
            "stages=[score], or [score,report]",
        )
    if not folder.exists():
        yield ((key,), f"{key} = {evaluation.answers}: no such file or folder; give recorded answers")
    elif found_at(folder) is None:
        below = sorted(path.name for path in folder.iterdir() if found_at(path)) if folder.is_dir() else []
        what = f"holds several models; give one of them: {', '.join(below)}" if below else NOTHING
        yield ((key,), f"{key} = {evaluation.answers}: {what}")


def _backend(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    evaluation, key = settings.evaluation, "evaluation.server"
    if evaluation.backend != "transformers" and evaluation.processes not in (1, "auto"):
        yield (
            ("evaluation.processes", "evaluation.backend"),
            f"evaluation.processes = {evaluation.processes}: needs evaluation.backend = "
            f"transformers; {evaluation.backend} batches by itself; set it to 1",
        )
    if evaluation.backend != "openai":
        if evaluation.server is not None:
            yield (
                (key, "evaluation.backend"),
                f"{key}.model = {evaluation.server.model}: evaluation.backend = {evaluation.backend} uses the "
                "local model; set evaluation.backend=openai, or leave the server out",
            )
        return
    if evaluation.server is None:
        yield (
            (key, "evaluation.backend"),
            "evaluation.backend = openai: there is no server; give evaluation.server.model and "
            "evaluation.server.base_url",
        )
    elif "evaluate" in settings.stages:
        for problem in server_problems(evaluation.server, key):
            yield ((problem.split(" ", 1)[0],), problem)
    unread = [scorer for scorer in evaluation.scorers if scorer not in BY_SERVER]
    if unread:
        yield (
            ("evaluation.scorers", "evaluation.backend"),
            f"evaluation.scorers = [{', '.join(evaluation.scorers)}]: a chat server gives no likelihood of given "
            f"texts; choose from {', '.join(BY_SERVER)}",
        )
    if evaluation.capability:
        yield (
            ("evaluation.capability", "evaluation.backend"),
            f"evaluation.capability = [{', '.join(evaluation.capability)}]: suites use the local model, not the "
            "server; set it to [], or evaluation.backend=transformers (vllm)",
        )
    if settings.data_mix.sources:
        yield (
            ("data_mix", "evaluation.backend"),
            f"data_mix = {settings.data_mix.name}: a server answers with its own model, not with the trained one; "
            "set data_mix=base, or evaluation.backend=transformers (vllm)",
        )


def _sheet(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    evaluation = settings.evaluation
    for name, value in (("sheet", evaluation.sheet), ("labels", evaluation.labels)):
        if value is not None and "open" not in evaluation.scorers:
            yield (
                (f"evaluation.{name}", "evaluation.scorers"),
                f"evaluation.{name} = {value}: people label open replies; add open to evaluation.scorers",
            )
    if evaluation.labels is not None and "score" in settings.stages:
        try:
            read_sheet(Path(evaluation.labels).expanduser())
        except DataError as error:
            yield (("evaluation.labels",), f"evaluation.labels = {evaluation.labels}: {error}")


def _guards(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    key = "evaluation.guards"
    for guard in settings.evaluation.guards:
        format = f"{key}: format = {guard.format}"
        if guard.backend == "server":
            for problem in server_problems(section(guard), key) if "score" in settings.stages else ():
                yield ((key,), problem)
        elif guard.format not in GUARDS:
            yield (
                (key,),
                f"{format}: writes its reasons before its label, and is asked behind a server; set backend: server and "
                "base_url",
            )


def _open(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    evaluation, key = settings.evaluation, "evaluation.judge"
    if evaluation.guards and "open" not in evaluation.scorers:
        yield (
            ("evaluation.guards", "evaluation.scorers"),
            f"evaluation.guards = [{', '.join(guard.model for guard in evaluation.guards)}]: there is nothing to "
            "judge; add open to evaluation.scorers",
        )
    if "open" not in evaluation.scorers:
        if evaluation.judge is not None:
            yield (
                (key, "evaluation.scorers"),
                f"{key}.model = {evaluation.judge.model}: there is nothing to judge; add open to evaluation.scorers",
            )
        return
    if evaluation.judge is not None and "score" in settings.stages:
        for problem in judge_problems(evaluation.judge):
            yield ((problem.split(" ", 1)[0],), problem)
    asked = evaluation.select.tasks or [name for name, counts in settings.scenario.tasks.items() if counts.bench]
    built = evaluation.scorers[0] == "open" and evaluation.items.path is None
    known = rules(settings.scenario.task_files) if built and evaluation.judge is None and not evaluation.guards else {}
    if known and not any(known[name].detector_decides for name in asked if name in known):
        yield (
            ("evaluation.scorers", key),
            f"evaluation.scorers = [open, …]: none of {', '.join(asked)} is about declining, so without a judge no "
            "reply is scored; give evaluation.judge, or put another scorer first",
        )
    if settings.scoring == "official" and evaluation.judge is None:
        yield (
            ("scoring", "evaluation.scorers", key),
            "scoring = official: open replies are scored by a judge; give evaluation.judge, or leave open out of "
            "evaluation.scorers",
        )
