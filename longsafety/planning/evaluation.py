"""What an evaluation will cost, from the settings alone: prompt tokens that are computed or sent, and reply tokens.

An item and its twins are a family. A local model computes the shared prefix of a family's prompts once: the context, or
for a benign needle twin the context before the needle. A server is sent every prompt whole. Sizes of questions and
options are those of the shipped texts, in characters divided by ``CHARACTERS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import factorial

from longsafety.evaluation.scorers import CONTROLLED
from longsafety.planning.external import ExternalCalls, judge_calls, teacher_calls
from longsafety.scenarios.depths import depth_grid
from longsafety.scenarios.task_counts import task_counts
from longsafety.scenarios.tasks.registry import tasks
from longsafety.settings import Settings
from longsafety.vocabulary import CONTROLS

CHARACTERS = {"en": 4.4, "zh": 1.6}
"""Characters per token: SmolLM2's tokenizer in English; assumed for Chinese."""
_SLOT = {"en": 34, "zh": 10}
"""Mean characters that fill an option's slot."""
_QUESTION, _ROLES = 14, 16
"""Tokens of a question, and of what the chat template adds after it."""
_LETTERS, _HEAD = 46, 32
"""Tokens of the multiple-choice prompt besides question and options, and of all of it before the first option."""
_SHORT = 45
"""Tokens of an item without filler."""
_SHOT, _SETS, _QUESTIONS = 25, 4, 60
"""``icl``: tokens of a demonstration, number of sets, number of questions."""


@dataclass(frozen=True)
class EvaluationCost:
    """The cost of one job's evaluation, and of its calls to judge and teacher."""

    computed: int
    """Prompt tokens that a local model computes."""
    suites: int
    """Those of the capability suite ``icl``."""
    sent: int
    """Prompt tokens that are sent to a server instead."""
    replies: int
    """Upper bound on reply tokens."""
    external: tuple[ExternalCalls, ...]
    unknowns: tuple[str, ...]


def evaluation_cost(settings: Settings) -> EvaluationCost:
    """Estimates one job's evaluation from its settings."""
    evaluation, unknowns = settings.evaluation, []
    computed = sent = replies = opened = 0.0
    if evaluation.items.path is not None:
        unknowns.append("evaluation: evaluation.items is a file; its cost is known once it is read")
    else:
        for task, count in _counts(settings).items():
            family = _Family(settings, task, count)
            computed, sent = computed + count * family.computed(), sent + count * family.sent()
            replies, opened = replies + count * family.replies(), opened + count * family.opened()
    served = evaluation.backend == "openai"
    left = [name for name, value in evaluation.select if value not in ([], None) and name not in ("tasks", "limit")]
    if left:
        unknowns.append(f"evaluation: evaluation.select.{left[0]} is ignored; the estimate counts all items")
    external = [*judge_calls(settings, round(opened)), *teacher_calls(settings, unknowns)]
    if any(name != "icl" for name in evaluation.capability):
        unknowns.append("capability: the number of questions of lm-evaluation-harness; the hours do not include them")
    suites = _SETS * settings.length.bench_tokens + 2 * _QUESTIONS * _SHOT if "icl" in evaluation.capability else 0
    return EvaluationCost(
        computed=0 if served else round(computed),
        suites=suites,
        sent=round(sent) if served else 0,
        replies=round(replies),
        external=tuple(external),
        unknowns=tuple(unknowns),
    )


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
    """A task's item with its twins: the mean tokens of its prompts over ``count`` items."""

    def __init__(self, settings: Settings, task: str, count: int) -> None:
        scenario = settings.scenario
        self.evaluation, self.language = settings.evaluation, scenario.language
        self.long = settings.length.bench_lengths.average
        self.shares = scenario.goal == "after"
        about = tasks(scenario.task_files)[task]
        apart = {"benign_query"} if about.needle_twin else {"benign_needle", "absent"}
        self.kinds = [kind for kind in ("harmful", *settings.evaluation.twins) if kind not in apart]
        depths = depth_grid(scenario.depths, scenario.num_depths)
        self.depth = sum(depths[index % len(depths)] for index in range(count)) / count
        wordings = about.phrases(self.language)["options"].values()
        self.options = [[self._tokens(text) for text in texts[: settings.evaluation.wordings]] for texts in wordings]
        """Tokens of each role's wordings, which all of a family have."""

    def _tokens(self, text: str) -> float:
        bare, _, _ = text.partition("{")
        slots = text.count("{")
        parts = [part.partition("}")[2] for part in text.split("{")[1:]]
        return (len(bare) + sum(map(len, parts)) + slots * _SLOT[self.language]) / CHARACTERS[self.language]

    def _orders(self) -> int:
        number = len(self.options)
        return {"one": 1, "cyclic": number, "all": factorial(number)}[self.evaluation.orders]

    def _letter(self) -> float:
        """Tokens of the question with its listed options."""
        return _QUESTION + _LETTERS + sum(role[0] for role in self.options)

    def _context(self, kind: str) -> float:
        """Tokens of an item's prompt before its question."""
        return (_SHORT if kind.startswith("short") else self.long) - _QUESTION - _ROLES

    def _contexts(self, members: Sequence[str]) -> float:
        """Tokens of the contexts of the family's members, shared prefixes once."""
        kinds = {kind: self._context(kind) for kind in members}
        kinds.pop("benign_query", None)  # the same as the item's
        for kind in kinds.keys() & {"benign_needle", "absent"}:
            kinds[kind] *= 1 - self.depth
        return sum(kinds.values())

    def computed(self) -> float:
        """Prompt tokens that a local model computes."""
        scorers = {*self.evaluation.scorers}
        tail, total = _QUESTION + _ROLES, 0.0
        controls = self.evaluation.controls if scorers & {*CONTROLLED} else []
        for passed in ({"likelihood", "calibrated", "letter"}, {"generate"}, {"open"}):
            if not passed & scorers:
                continue
            members = [kind for kind in self.kinds if passed != {"open"} or kind != "absent"]
            apart = sum(map(self._context, members))
            shown = bool({"letter", "generate"} & passed & scorers)
            if not self.shares:  # the question comes first, so that no prefix is shared
                several = [self._orders() * self._context(kind) for kind in members] if shown else []
                total += sum(several) + (apart if scorers & passed - {"letter", "generate"} else 0)
                total += len(controls) * self.long if "likelihood" in passed else 0
            elif passed == {"open"} and self.evaluation.open_prompts == "both":
                total += 2 * apart  # the question before the context, and after it
            else:
                total += self._contexts(members)
            for kind in [*members, *(controls if "likelihood" in passed else ())]:
                if shown:
                    whole, orders = self._letter(), self._orders()
                    total += whole + (orders - 1) * (whole - _HEAD) + _ROLES * orders
                if passed == {"open"}:
                    total += tail * (2 if self.evaluation.open_prompts == "both" else 1)
                if passed & scorers & {"likelihood", "calibrated"}:
                    scored = sum(size - 1 for role in self.options for size in role)
                    total += tail + scored
                    if "calibrated" in scorers and not kind.startswith("short"):  # its options are its item's
                        total += _ROLES + scored
        return total

    def _prompts(self) -> Iterator[tuple[str, str, float]]:
        """Kind, scorer and tokens of every prompt with a text reply."""
        for kind in [*self.kinds, *self.evaluation.controls]:
            for scorer in self.evaluation.scorers:
                if (kind in CONTROLS and scorer not in CONTROLLED) or (kind == "absent" and scorer == "open"):
                    continue
                if scorer in ("letter", "generate"):
                    tokens = self._context(kind) + self._letter() + _ROLES
                    yield from [(kind, scorer, tokens)] * self._orders()
                elif scorer == "open":
                    tokens = self._context(kind) + _QUESTION + _ROLES
                    yield from [(kind, scorer, tokens)] * (2 if self.evaluation.open_prompts == "both" else 1)

    def sent(self) -> float:
        """Prompt tokens that are sent to a server."""
        return sum(tokens for _, _, tokens in self._prompts())

    def replies(self) -> float:
        """Upper bound on reply tokens."""
        evaluation, server = self.evaluation, self.evaluation.server
        letter = 1 if server is None or server.top_logprobs is not None else evaluation.max_new_tokens
        if evaluation.backend != "openai":
            letter = 0
        most = {"letter": letter, "generate": evaluation.max_new_tokens, "open": evaluation.max_open_tokens}
        return sum(most[scorer] for _, scorer, _ in self._prompts())

    def opened(self) -> int:
        return sum(scorer == "open" for _, scorer, _ in self._prompts())
