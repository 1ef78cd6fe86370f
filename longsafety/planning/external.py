"""Calls of external models (the judge of open replies, the teacher that writes seed texts): upper bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from longsafety.errors import DataError
from longsafety.evaluation.open_replies.labelled import LABELLED
from longsafety.evaluation.open_replies.references import Reference, references, sampled
from longsafety.evaluation.open_replies.server_guard import prompt_count
from longsafety.scenarios.task_counts import task_counts
from longsafety.settings import Guard, Judge, Price, Settings

REQUEST_TOKENS = 256
"""Upper bound on the part of an item that a judge is shown, or of a seed that a teacher is shown; assumed."""
_RUBRIC_TOKENS = 400
_FIELDS = 8
"""Fields of a seed item that a teacher may write (``scenarios.teacher.complete``)."""


@dataclass(frozen=True)
class ExternalCalls:
    """Upper bounds on calls to, and tokens of, an external model (judge or teacher)."""

    who: str
    calls: int
    tokens: int
    budget: int | None
    money: float = 0.0
    """At the endpoint's price, in its currency."""


def _money(price: Price, calls: int, tokens: int, reply_tokens: int) -> float:
    replies = calls * reply_tokens
    return ((tokens - replies) * price.prompt + replies * price.reply) / 1_000_000


def judge_calls(settings: Settings, replies: int) -> Iterator[ExternalCalls]:
    """The judge, and each guard behind a server, sees all open ``replies``, a sample of the reference replies to each
    task, and the labelled replies.

    Retries after failures are not counted, nor are the reference replies where the tasks are those of a file. Guards
    have no price.
    """
    evaluation = settings.evaluation
    if "open" not in evaluation.scorers:
        return
    judges: list[Judge | Guard] = [evaluation.judge] if evaluation.judge else []
    judges += [guard for guard in evaluation.guards if guard.backend == "server"]
    for judge in judges:
        labelled = _lines(Path(judge.labelled or LABELLED).expanduser())
        fixed = _RUBRIC_TOKENS + judge.max_reply_tokens
        tokens = replies * (fixed + REQUEST_TOKENS + evaluation.max_open_tokens)
        tokens += sum(fixed + len(line) for line in labelled)  # no token is shorter than a byte
        known = _references(settings)
        tokens += sum(fixed + len((one.request + one.reply).encode()) for one in known)
        calls = replies + len(labelled) + len(known)
        if isinstance(judge, Guard):
            prompts = prompt_count(judge.format)
            yield ExternalCalls(f"guard {judge.model}", prompts * calls, prompts * tokens, None)
        else:
            money = _money(judge.price, calls, tokens, judge.max_reply_tokens)
            yield ExternalCalls(f"judge {judge.model}", calls, tokens, judge.budget_tokens, money)


def _lines(file: Path) -> list[bytes]:
    """A file's lines that are not empty, as its readers count them: only a line feed ends one.

    Raises DataError where it cannot be read.
    """
    try:
        return [line for line in file.read_bytes().split(b"\n") if line.strip()]
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); give a file of JSON lines") from error


def _references(settings: Settings) -> list[Reference]:
    """The reference replies that a judge of the built benchmark is measured on."""
    scenario, items = settings.scenario, settings.evaluation.items
    names = [] if items.path else [name for name, counts in scenario.tasks.items() if counts.bench]
    chosen = [name for name in names if name in (settings.evaluation.select.tasks or names)]
    return [one for name in chosen for one in sampled(references(name, scenario.language))]


def teacher_calls(settings: Settings, unknowns: list[str]) -> Iterator[ExternalCalls]:
    """The teacher's calls; what cannot be known yet is added to ``unknowns``."""
    teacher, scenario = settings.teacher, settings.scenario
    if teacher.kind == "template":
        return
    calls = 0
    if any(source.kind == "long_align" for source in settings.data_mix.sources.values()):
        limited = scenario.train_samples or settings.limits.train_samples
        counts = task_counts(scenario.model_copy(update={"train_samples": limited}), "train")
        calls += 2 * sum(counts.values())  # a question about a passage, and its answer
    if scenario.seeds != "shipped":  # the shipped ones are complete
        try:
            rows = [json.loads(line) for line in _lines(Path(scenario.seeds).expanduser())]
            calls += _FIELDS * len(rows)
        except (DataError, ValueError):
            unknowns.append(
                f"teacher {teacher.model}: what the rows of {scenario.seeds} lack is known once they are read"
            )
            return
    calls *= teacher.retries + 1
    tokens = calls * (_RUBRIC_TOKENS + REQUEST_TOKENS + teacher.max_reply_tokens)
    money = _money(teacher.price, calls, tokens, teacher.max_reply_tokens)
    yield ExternalCalls(f"teacher {teacher.model}", calls, tokens, teacher.budget_tokens, money)
