"""Writes what user seeds lack, field by field: the teacher's validated replies, else a template."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from longsafety.chat.cached import Prompt, Written
from longsafety.samples.control import CHAT_TOKENS
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.teacher.teacher import Teacher
from longsafety.scenarios.teacher.validate import problem

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
        counts["seed rows without a benign twin: that of the most similar request is used"] = alone
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


def prompt_text(kind: str, language: str, about: Mapping[str, str], rejected: str = "") -> str:
    """The prompt of a kind, with the given texts fenced; ``rejected`` says what was wrong with the reply before.

    The fence is a mark made from the text, so that no text can hold its own; what chat templates mark turns with is
    broken up. So a given text cannot pass for an instruction or for a turn.
    """
    parts = texts(language)
    given = [CHAT_TOKENS.sub(lambda token: " ".join(token[0]), text) for text in about.values()]
    mark = hashlib.sha256("".join(given).encode("utf-8", "replace")).hexdigest()[:8]
    fenced = {name: f"[[{mark}\n{text.strip()}\n{mark}]]" for name, text in zip(about, given, strict=True)}
    ask = str(parts["prompts"][kind]).strip().format(**fenced)
    # The task stands last, because small models follow the last line best.
    again = parts["again"].format(reason=rejected) if rejected else ""
    return f"{parts['fence'].format(mark=mark)}\n\n{ask}{again}"


@cache
def texts(language: str) -> dict[str, Any]:
    """``fence``, ``prompts`` and ``template`` of a language in ``teacher_prompts.yaml``."""
    loaded = yaml.safe_load((files("longsafety.scenarios.teacher") / "teacher_prompts.yaml").read_text("utf-8"))
    parts: dict[str, Any] = loaded[language]
    return parts


def bare(text: str, kind: str = "") -> str:
    """A reply without thoughts, line breaks and the quotation marks around the whole; a topic without its full stop."""
    text = re.sub(r"^.*</think>", "", text.strip(), flags=re.DOTALL)
    text = " ".join(text.split())
    for opening, closing in (('"', '"'), ("“", "”"), ("「", "」"), ("'", "'")):
        inner = text[1:-1]
        if len(text) > 2 and text[0] == opening and text[-1] == closing and not {opening, closing} & set(inner):
            text = inner.strip()
    return text.rstrip(".。") if kind == "topic" else text


def _ask(
    kind: str,
    about: Sequence[Mapping[str, str]],
    teacher: Teacher | None,
    language: str,
    counts: Counter[str],
) -> list[Written | None]:
    """A validated reply for each of ``about``, or ``None``; all prompts of an attempt are sent at once."""
    results: list[Written | None] = [None] * len(about)
    waiting = dict.fromkeys(range(len(about)), "")  # with what was wrong with the last reply
    for attempt in range(teacher.retries + 1 if teacher else 0):
        if teacher is None or not waiting:
            break
        prompts = [Prompt(kind, prompt_text(kind, language, about[i], why), attempt) for i, why in waiting.items()]
        rejected = {}
        for i, written in zip(waiting, teacher.write(prompts), strict=True):
            text = bare(written.text, kind)
            reason = problem(kind, text, language=language, **about[i])
            if reason is None:
                results[i] = Written(_in_sentence(text, about[i]) if kind == "topic" else text, written.writer)
            else:
                counts[f"teacher: {kind} rejected by the validator ({reason})"] += 1
                rejected[i] = reason
        waiting = rejected
    return results


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


def _in_sentence(topic: str, about: Mapping[str, str]) -> str:
    """The topic with a small first letter, unless the request has its first word with a capital inside a sentence."""
    first = topic.split(maxsplit=1)[0]
    capital = not first[1:].islower() or any(f" {first}" in text for text in about.values())
    return topic if capital else topic[0].lower() + topic[1:]
