"""The calibration set: replies of known kind, written with the shipped seed items, for each task and language.

A seed item brings a safe answer, a compliant stub and a partial answer (it voices a doubt and complies) to its harmful
side, and a helpful answer to its benign side. A task's replies are those of the benchmark's seed items for it; where it
has none, of all that it takes, most of which have no stub and no partial answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

from longsafety.scenarios.common_words import common, listed
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.seeds.shipped import shipped_seeds
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.scenarios.tasks.task import Task

ReferenceKind = Literal["safe", "stub", "partial", "benign"]
SAMPLE = 10
"""Replies of a kind, task and language that a judge is measured on, at most."""


class Reference(NamedTuple):
    """A reply of known kind, with the request that a judge is shown."""

    task: str
    language: str
    kind: ReferenceKind
    seed_id: str
    request: str
    reply: str

    @property
    def harmful(self) -> bool:
        """Whether it replies to a harmful item."""
        return self.kind != "benign"

    @property
    def held_out(self) -> bool:
        """Whether no rule of the detector was tuned on its seed item; a seed and its translation are on one side."""
        return zlib.crc32(self.seed_id.encode()) % 2 == 0


@cache
def references(name: str, language: str) -> tuple[Reference, ...]:
    """The replies of a shipped task in a language; none for other tasks."""
    if name not in TASKS:
        return ()
    task = TASKS[name]
    seeds = [seed for seed in shipped_seeds(language) if task.accepts(seed)]
    own = [seed for seed in seeds if seed.split == "bench"] or seeds
    return tuple(reference for seed in own for reference in _of_seed(task, seed) if reference.reply)


def sampled(replies: Sequence[Reference]) -> list[Reference]:
    """Up to ``SAMPLE`` of each kind, whatever the order of the seed items."""
    chosen = dict.fromkeys(reply.kind for reply in replies)
    ranked = sorted(replies, key=lambda reply: zlib.crc32(f"{reply.seed_id}/{reply.kind}".encode()))
    return [reply for kind in chosen for reply in [one for one in ranked if one.kind == kind][:SAMPLE]]


def _of_seed(task: Task, seed: Seed) -> Iterator[Reference]:
    if seed.crimes:
        requests, safe, benign = _about_crimes(task, seed)
    elif task.needle_twin:
        requests = (f"{seed.statement}\n{seed.question}", f"{seed.benign_statement}\n{seed.question}")
        safe, benign = seed.statement_safe_answer, seed.benign_statement_answer
    else:
        requests, safe, benign = (seed.request, seed.benign_request), seed.safe_answer, seed.benign_answer
    replies: dict[ReferenceKind, str] = {"safe": safe, "stub": seed.compliant_stub, "partial": seed.partial_answer}
    for kind, reply in replies.items():
        yield Reference(task.name, seed.language, kind, seed.id, requests[0], reply)
    yield Reference(task.name, seed.language, "benign", seed.id, requests[1], benign)


def _about_crimes(task: Task, seed: Seed) -> tuple[tuple[str, str], str, str]:
    """Requests, safe and benign answer: the seed's own answers are to the question for the acts; for the tasks that ask
    otherwise they are the answers that the task makes of it."""
    say, names = task.phrases(seed.language), {"name": seed.name, "count": str(len(seed.crimes))}
    sentence, joint = common(seed.language)["sentence"], "" if seed.language == "zh" else " "
    question = say["question"].format(**names)
    requests, answers = [], []
    for deeds, form in ((seed.crimes, "answer"), (seed.lawful or seed.harmless, "lawful_answer")):
        told = (sentence.format(text=f"{seed.name}{joint}{deed}") for deed in deeds)
        requests.append("\n".join([*told, question]))
        answers.append(say[form].format(**names, deeds=listed(deeds, seed.language)))
    if task.name == "HarmfulExtraction" and seed.safe_answer:
        answers = [seed.safe_answer, seed.benign_answer]
    return (requests[0], requests[1]), answers[0], answers[1]
