"""Writes what user seeds lack, field by field: the teacher's validated replies, else a template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from longsafety.chat.cached import Written
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.teacher.ask import ask, checked, texts
from longsafety.scenarios.teacher.teacher import Teacher

TEMPLATE = "template"
"""The writer of what neither the user nor a teacher wrote."""


@dataclass(frozen=True)
class Completed:
    """The seeds in their order, and what was handled on the way (reason → count)."""

    seeds: list[Seed]
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Step:
    """How one field of a seed is written."""

    field: str
    kind: str
    given: Mapping[str, str]
    """Name in the prompt → the seed's field; the step is for seeds that have all of them."""
    lacking: str
    """The count's name where the field is taken from the template, or left empty."""


_STEPS = (
    _Step("topic", "topic", {"request": "request"}, "seed rows without a topic: their stub says {template!r}"),
    _Step(
        "safe_answer", "safe_answer", {"request": "request"}, "seed rows without a safe answer: a general one is used"
    ),
    _Step("benign_request", "benign_request", {"request": "request"}, ""),
    _Step("benign_answer", "benign_answer", {"benign_request": "benign_request"}, ""),
    _Step(
        "question",
        "question",
        {"statement": "statement"},
        "seed rows with a statement but no question: the statement is not used",
    ),
    _Step(
        "statement_safe_answer",
        "statement_safe_answer",
        {"statement": "statement", "question": "question"},
        "seed rows with a statement but no safe answer to it: a general one is used",
    ),
    _Step(
        "claim",
        "wrong_option",
        {"question": "request", "answer": "truth"},
        "seed rows with a truth but no claim: the quiz has no wrong answer",
    ),
)


def complete(seeds: Sequence[Seed], teacher: Teacher | None, language: str) -> Completed:
    """Fills the empty fields of seeds that have what these are written from; ``writers`` says who wrote them.

    A rejected reply is requested again, up to ``teacher.retries`` times; then, as without a teacher,
    the template of the field is used where there is one. A benign twin has none: it stays empty as a whole, and is
    borrowed when the seeds are split. Raises DataError from the teacher.
    """
    counts: Counter[str] = Counter()
    done = list(seeds)
    for step in _STEPS:
        lacking = [i for i, seed in enumerate(done) if _lacks(seed, step)]
        about = [{name: getattr(done[i], field) for name, field in step.given.items()} for i in lacking]
        for i, written in zip(lacking, _ask(step.kind, about, teacher, language, counts), strict=True):
            if written is None:
                template = texts(language)["template"].get(step.field, "")
                if step.lacking:
                    counts[step.lacking.format(template=template)] += 1
                written = Written(template, TEMPLATE)
            if written.text:
                writers = (*done[i].writers, f"{step.field}: {written.writer}")
                written_field: dict[str, Any] = {step.field: written.text}
                done[i] = replace(done[i], writers=writers, **written_field)
    done = [_without_half_twin(seed) for seed in done]
    if alone := sum(bool(seed.request and not seed.options) and not seed.has_twin for seed in done):
        lent = any(seed.has_twin for seed in done)
        done_with = "that of the most similar request is used" if lent else "no row has one, so their items have none"
        counts[f"seed rows without a benign twin: {done_with}"] = alone
    if unanswered := sum(seed.is_control and not seed.has_twin for seed in done):
        counts["benign prompts without an answer, which a teacher writes: not lent as benign twins"] = unanswered
    return Completed(done, dict(counts))


def context_questions(
    passages: Sequence[str], teacher: Teacher | None, language: str, counts: Counter[str] | None = None
) -> list[tuple[str, str, str] | None]:
    """(question, answer, writer) from each passage; ``None`` where no reply passed the validator.

    ``None`` throughout without a teacher. What the validator rejected is added to ``counts``. Raises DataError.
    """
    counts = Counter() if counts is None else counts
    questions = _ask("context_question", [{"passage": text} for text in passages], teacher, language, counts)
    with_question = [
        {"passage": text, "question": question.text}
        for text, question in zip(passages, questions, strict=True)
        if question is not None
    ]
    answers = iter(_ask("context_answer", with_question, teacher, language, counts))
    pairs = [None if question is None else (question, next(answers)) for question in questions]
    return [None if pair is None or pair[1] is None else (pair[0].text, pair[1].text, pair[1].writer) for pair in pairs]


def _lacks(seed: Seed, step: _Step) -> bool:
    if step.field == "benign_request" and seed.benign_answer:  # it answers an unknown request
        return False
    if step.field == "topic" and (seed.task or seed.compliant_stub):  # only the template of a stub says it
        return False
    return not getattr(seed, step.field) and all(getattr(seed, field) for field in step.given.values())


def _without_half_twin(seed: Seed) -> Seed:
    """Without a benign request that the teacher wrote but could not answer, and what was written from it."""
    if seed.has_twin or not any(writer.startswith("benign_request: ") for writer in seed.writers):
        return seed
    writers = tuple(writer for writer in seed.writers if not writer.startswith("benign_"))
    return replace(seed, benign_request="", benign_answer="", writers=writers)


def _ask(
    kind: str,
    about: Sequence[Mapping[str, str]],
    teacher: Teacher | None,
    language: str,
    counts: Counter[str],
) -> list[Written | None]:
    return ask(kind, about, teacher, texts(language), counts, check=checked(language))
