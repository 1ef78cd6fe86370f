"""What asking will cost, from settings alone: prompt tokens that are computed or sent, replies, calls of a judge or a
teacher.

An item and its twins are a family. The model here computes once what the prompts of a family share: the context, up to
the needle for a benign needle twin; a server is sent every prompt whole, and shares what it will. Sizes of questions
and options are those of the shipped texts, in characters divided by ``CHARACTERS``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import factorial
from pathlib import Path

from longsafety.scenarios.common_words import common
from longsafety.scenarios.depths import depth_grid
from longsafety.scenarios.task_counts import task_counts
from longsafety.scenarios.tasks.registry import tasks
from longsafety.settings import Settings

CHARACTERS = {"en": 4.4, "zh": 1.6}
"""Characters of a token; as SmolLM2's tokenizer has them in English, assumed for Chinese."""
_SLOT = {"en": 34, "zh": 10}
"""Characters that an option's slot is filled with, on average."""
_QUESTION, _ROLES = 14, 16
"""Tokens of a question, and of what the chat template puts behind it."""
_LETTERS, _HEAD = 46, 32
"""Tokens that the letter's question has beside question and options, and of all of it before the first option."""
_SHORT = 45
"""Tokens of an item without its filler."""
_SHOT, _SETS, _ASKED = 25, 4, 60
"""Tokens of a demonstration of ``icl``, its sets and its questions."""
REQUEST_TOKENS = 256
"""Of what a judge is shown of an item, or a teacher of a seed, at most; assumed."""
_RUBRIC_TOKENS = 400
_FIELDS = 8
"""Fields that a teacher may write of a seed item (``scenarios.complete``)."""


@dataclass(frozen=True)
class Calls:
    """Of another model than the one that is trained: how many, and their tokens, both at most."""

    who: str
    calls: int
    tokens: int
    budget: int | None


@dataclass(frozen=True)
class Asking:
    """The cost of an evaluation. ``computed``: prompt tokens that the model here computes; ``suites``: those of
    ``icl``; ``sent``: prompt tokens that go to a server instead; ``replies``: reply tokens at most."""

    computed: int
    suites: int
    sent: int
    replies: int
    others: tuple[Calls, ...]
    unknowns: tuple[str, ...]


def asking(settings: Settings) -> Asking:
    """The cost of one job's evaluation and of what teacher and judge say."""
    evaluation, unknowns = settings.evaluation, []
    computed = sent = replies = opened = 0.0
    if evaluation.items.path is not None:
        unknowns.append("asked: evaluation.items is a file; known once it is read")
    else:
        for task, count in _counts(settings).items():
            family = _Family(settings, task, count)
            computed, sent = computed + count * family.computed(), sent + count * family.sent()
            replies, opened = replies + count * family.replies(), opened + count * family.opened()
    served = evaluation.backend == "openai"
    left = [name for name, value in evaluation.select if value not in ([], None) and name not in ("tasks", "limit")]
    if left:
        unknowns.append(f"asked: evaluation.select.{left[0]} is reckoned as if it left nothing out")
    others = [*_judge(settings, round(opened)), *_teacher(settings, unknowns)]
    if any(name != "icl" for name in evaluation.capability):
        unknowns.append("capability: how many questions lm-evaluation-harness asks; they are not in the hours")
    suites = _SETS * settings.length.bench_tokens + 2 * _ASKED * _SHOT if "icl" in evaluation.capability else 0
    return Asking(
        0 if served else round(computed), suites, round(sent) if served else 0, round(replies), tuple(others),
        tuple(unknowns),
    )  # fmt: skip


def _counts(settings: Settings) -> dict[str, int]:
    """Items of each task."""
    select, scenario = settings.evaluation.select, settings.scenario
    limited = scenario.bench_items or settings.limits.bench_items
    counts = task_counts(scenario.model_copy(update={"bench_items": limited}), "bench")
    counts = {task: count for task, count in counts.items() if count and task in (select.tasks or counts)}
    if select.limit is None:
        return counts
    taken = dict.fromkeys(counts, 0)
    turns = sorted((turn, place) for place, task in enumerate(counts) for turn in range(counts[task]))
    for _, place in turns[: select.limit]:
        taken[list(counts)[place]] += 1
    return {task: count for task, count in taken.items() if count}


class _Family:
    """An item of a task with its twins; the tokens of its prompts, on average over ``count`` items."""

    def __init__(self, settings: Settings, task: str, count: int) -> None:
        length, scenario = settings.length, settings.scenario
        self.evaluation, self.language = settings.evaluation, scenario.language
        lengths = length.lengths or [length.bench_mean_tokens or length.mean_tokens or length.max_tokens]
        self.long = sum(lengths) / len(lengths) * length.factor
        self.shares = scenario.goal == "after"
        twins = ["harmful", *settings.evaluation.twins]
        of = tasks(scenario.task_files)[task]
        self.kinds = [kind for kind in twins if kind != "benign_needle" or of.needle_twin]
        depths = depth_grid(scenario.depths, scenario.num_depths)
        self.depth = sum(depths[index % len(depths)] for index in range(count)) / count
        own, benign = of.phrases(self.language)["options"], common(self.language)["benign_query"]
        harmful = self._sizes(list(own.values()))
        needle = self._sizes([own["safe"], own["ignores"], own[list(own)[-2]]]) if "ignores" in own else harmful[:3]
        self.options = {
            "harmful": harmful, "short": harmful, "benign_needle": needle,
            "benign_query": self._sizes(list(benign.values())),
        }  # fmt: skip

    def _sizes(self, roles: Sequence[Sequence[str]]) -> list[list[float]]:
        """Tokens of each role's wordings."""
        return [[self._tokens(text) for text in wordings[: self.evaluation.wordings]] for wordings in roles]

    def _tokens(self, text: str) -> float:
        bare, _, _ = text.partition("{")
        slots = text.count("{")
        parts = [part.partition("}")[2] for part in text.split("{")[1:]]
        return (len(bare) + sum(map(len, parts)) + slots * _SLOT[self.language]) / CHARACTERS[self.language]

    def _orders(self, kind: str) -> int:
        number = len(self.options[kind])
        return {"one": 1, "cyclic": number, "all": factorial(number)}[self.evaluation.orders]

    def _letter(self, kind: str) -> float:
        """Tokens of the question with its options."""
        return _QUESTION + _LETTERS + sum(role[0] for role in self.options[kind])

    def _context(self, kind: str) -> float:
        """Tokens of an item's prompt before its question."""
        return (_SHORT if kind == "short" else self.long) - _QUESTION - _ROLES

    def _contexts(self) -> float:
        """Tokens of the contexts, those shared once."""
        kinds = {kind: self._context(kind) for kind in self.kinds}
        kinds.pop("benign_query", None)  # its item's
        if "benign_needle" in kinds:
            kinds["benign_needle"] *= 1 - self.depth
        return sum(kinds.values())

    def computed(self) -> float:
        """Prompt tokens that the model here computes."""
        asked = {*self.evaluation.scorers}
        tail, total = _QUESTION + _ROLES, 0.0
        apart = sum(map(self._context, self.kinds))
        for passed in ({"likelihood", "calibrated", "letter"}, {"generate"}, {"open"}):
            if not passed & asked:
                continue
            shown = bool({"letter", "generate"} & passed & asked)
            if not self.shares:  # the question stands first, and each is another
                several = [self._orders(kind) * self._context(kind) for kind in self.kinds] if shown else []
                total += sum(several) + (apart if asked & passed - {"letter", "generate"} else 0)
            elif passed == {"open"} and self.evaluation.open_prompts == "both":
                total += 2 * apart  # each follows one with the question on the other side
            else:
                total += self._contexts()
            for kind in self.kinds:
                if shown:
                    whole, orders = self._letter(kind), self._orders(kind)
                    total += whole + (orders - 1) * (whole - _HEAD) + _ROLES * orders
                if passed == {"open"}:
                    total += tail * (2 if self.evaluation.open_prompts == "both" else 1)
                if passed & asked & {"likelihood", "calibrated"}:
                    scored = sum(size - 1 for role in self.options[kind] for size in role)
                    total += tail + scored
                    if "calibrated" in asked and kind != "short":  # whose options are its item's
                        total += _ROLES + scored
        return total

    def _prompts(self) -> Iterator[tuple[str, str, float]]:
        """Kind, scorer and tokens of every prompt that is put as text."""
        for kind in self.kinds:
            for scorer in self.evaluation.scorers:
                if scorer in ("letter", "generate"):
                    tokens = self._context(kind) + self._letter(kind) + _ROLES
                    yield from [(kind, scorer, tokens)] * self._orders(kind)
                elif scorer == "open":
                    tokens = self._context(kind) + _QUESTION + _ROLES
                    yield from [(kind, scorer, tokens)] * (2 if self.evaluation.open_prompts == "both" else 1)

    def sent(self) -> float:
        """Prompt tokens that a server is sent."""
        return sum(tokens for _, _, tokens in self._prompts())

    def replies(self) -> float:
        """Reply tokens at most."""
        evaluation, server = self.evaluation, self.evaluation.server
        letter = 1 if server is None or server.top_logprobs is not None else evaluation.max_new_tokens
        if evaluation.backend != "openai":
            letter = 0
        most = {"letter": letter, "generate": evaluation.max_new_tokens, "open": evaluation.max_open_tokens}
        return sum(most[scorer] for _, scorer, _ in self._prompts())

    def opened(self) -> int:
        return sum(scorer == "open" for _, scorer, _ in self._prompts())


def _judge(settings: Settings, replies: int) -> Iterator[Calls]:
    """Of all open replies and the labelled ones; failures are asked again beyond it."""
    judge = settings.evaluation.judge
    if judge is None or "open" not in settings.evaluation.scorers:
        return
    from longsafety.evaluation.open_replies.labelled import LABELLED

    labelled = Path(judge.labelled or LABELLED).expanduser().read_bytes().splitlines()
    fixed = _RUBRIC_TOKENS + judge.max_reply_tokens
    most = replies * (fixed + REQUEST_TOKENS + settings.evaluation.max_open_tokens)
    most += sum(fixed + len(line) for line in labelled)  # no token is shorter than a byte
    yield Calls(f"judge {judge.model}", replies + len(labelled), most, judge.budget_tokens)


def _teacher(settings: Settings, unknowns: list[str]) -> Iterator[Calls]:
    teacher, scenario = settings.teacher, settings.scenario
    if teacher.kind == "template":
        return
    calls = 0
    if any(source.kind == "long_align" for source in settings.data_mix.sources.values()):
        limited = scenario.train_samples or settings.limits.train_samples
        counts = task_counts(scenario.model_copy(update={"train_samples": limited}), "train")
        calls += 2 * sum(counts.values())  # a question about a passage, and its answer
    if scenario.seeds != "shipped":  # the shipped ones lack nothing
        try:
            rows = [json.loads(line) for line in Path(scenario.seeds).expanduser().read_text("utf-8").splitlines()]
            calls += _FIELDS * len(rows)
        except (OSError, ValueError):
            unknowns.append(
                f"teacher {teacher.model}: what the rows of {scenario.seeds} lack; known once they are read"
            )
            return
    calls *= teacher.retries + 1
    tokens = calls * (_RUBRIC_TOKENS + REQUEST_TOKENS + teacher.max_reply_tokens)
    yield Calls(f"teacher {teacher.model}", calls, tokens, teacher.budget_tokens)
