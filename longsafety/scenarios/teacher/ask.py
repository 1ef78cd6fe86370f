"""Asks a teacher for texts of a kind until each passes its validator: prompts, their fence, and the tries."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from longsafety.chat.cached import Prompt, Written
from longsafety.samples.control import CHAT_TOKENS
from longsafety.samples.thoughts import part_thoughts
from longsafety.scenarios.teacher.teacher import Teacher
from longsafety.scenarios.teacher.validate import problem

Check = Callable[[str, str, Mapping[str, str]], str | None]
"""Kind, text and what it was written from → what is wrong with it, in a few fixed words; ``None``: nothing."""


def ask(
    kind: str,
    about: Sequence[Mapping[str, str]],
    teacher: Teacher | None,
    parts: Mapping[str, Any],
    counts: Counter[str],
    *,
    check: Check,
    clean: Callable[[str, str], str] | None = None,
    final: str = "",
) -> list[Written | None]:
    """A validated reply for each of ``about``, or ``None``; all prompts of an attempt are sent at once.

    ``parts`` are the texts of a language (:func:`texts`). A rejected reply is counted with its reason and asked for
    again, up to ``teacher.retries`` times; one with the reason ``final`` is not, nor a prompt that the provider
    refuses. Raises DataError from the teacher.
    """
    tidy = bare if clean is None else clean
    results: list[Written | None] = [None] * len(about)
    waiting = dict.fromkeys(range(len(about)), "")  # with what was wrong with the last reply
    for attempt in range(teacher.retries + 1 if teacher else 0):
        if teacher is None or not waiting:
            break
        prompts = [Prompt(kind, prompt_text(kind, parts, about[i], why), attempt) for i, why in waiting.items()]
        rejected = {}
        for i, written in zip(waiting, teacher.write(prompts), strict=True):
            if written.failure is not None:
                counts[f"teacher: {kind} without a reply ({written.failure})"] += 1
                continue
            text = tidy(written.text, kind)
            reason = check(kind, text, about[i])
            if reason is None:
                results[i] = Written(_in_sentence(text, about[i]) if kind == "topic" else text, written.writer)
                continue
            counts[f"teacher: {kind} rejected by the validator ({reason})"] += 1
            if reason != final:
                rejected[i] = reason
        waiting = rejected
    return results


def checked(language: str) -> Check:
    """The validator of the kinds in ``teacher_prompts.yaml``."""
    return lambda kind, text, about: problem(kind, text, language=language, **about)


def prompt_text(kind: str, parts: Mapping[str, Any], about: Mapping[str, str], rejected: str = "") -> str:
    """The prompt of a kind, with the given texts fenced; ``rejected`` says what was wrong with the reply before.

    The fence is a mark made from the text, so that no text can hold its own; what chat templates mark turns with is
    broken up. So a given text cannot pass for an instruction or for a turn. ``about["earlier"]``, texts that the new
    one must differ from, stands below the prompt of any kind.
    """
    given = [CHAT_TOKENS.sub(lambda token: " ".join(token[0]), text) for text in about.values()]
    mark = hashlib.sha256("".join(given).encode("utf-8", "replace")).hexdigest()[:8]
    fenced = {name: f"[[{mark}\n{text.strip()}\n{mark}]]" for name, text in zip(about, given, strict=True)}
    wanted = str(parts["prompts"][kind]).strip().format(**fenced)
    other = "\n\n" + str(parts["other"]).strip().format(**fenced) if "earlier" in about else ""
    # The task stands last, because small models follow the last line best.
    again = parts["again"].format(reason=rejected) if rejected else ""
    return f"{parts['fence'].format(mark=mark)}\n\n{wanted}{other}{again}"


@cache
def texts(language: str) -> dict[str, Any]:
    """``fence``, ``prompts`` and ``template`` of a language in ``teacher_prompts.yaml``."""
    loaded = yaml.safe_load((files("longsafety.scenarios.teacher") / "teacher_prompts.yaml").read_text("utf-8"))
    parts: dict[str, Any] = loaded[language]
    return parts


def bare(text: str, kind: str = "") -> str:
    """A reply without thoughts, line breaks and the quotation marks around the whole; a topic without its full stop."""
    text = " ".join(part_thoughts(text).reply.split())
    for opening, closing in (('"', '"'), ("“", "”"), ("「", "」"), ("'", "'")):
        inner = text[1:-1]
        if len(text) > 2 and text[0] == opening and text[-1] == closing and not {opening, closing} & set(inner):
            text = inner.strip()
    return text.rstrip(".。") if kind == "topic" else text


def _in_sentence(topic: str, about: Mapping[str, str]) -> str:
    """The topic with a small first letter, unless the request has its first word with a capital inside a sentence."""
    first = topic.split(maxsplit=1)[0]
    capital = not first[1:].islower() or any(f" {first}" in text for text in about.values())
    return topic if capital else topic[0].lower() + topic[1:]
