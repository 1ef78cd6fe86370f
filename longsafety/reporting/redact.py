"""Redaction: harmful text in examples is replaced, and so is what other texts repeat of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from longsafety.reporting.record import Example

BAR = "▮▮"
RUN_WORDS = 3
"""This many words in a row that a harmful text also has are taken as a part of it."""
_SHOWN_CONTEXTS = ("QH", "PH")


def redact(example: Example) -> Example:
    """The example without its harmful texts.

    Question, needle and unsafe option are replaced whole, and so is the excerpt of a fully harmful context. Other
    excerpts, the safe option and the benign question lose what they share with a harmful text.
    """
    marker = f"{BAR} [{example.category}: redacted; report.redact=false shows it]"
    harmful = [text for text in (example.question, example.needle, example.unsafe) if text]
    excerpt = mask(example.context_excerpt, harmful)
    # The excerpt of a needle task should show the needle. If no part of it is found, it may be spelt differently.
    unsure = example.scenario == "PH" and excerpt == example.context_excerpt
    if example.context_excerpt and (example.scenario not in _SHOWN_CONTEXTS or unsure):
        excerpt = marker
    return replace(
        example,
        question=marker,
        context_excerpt=excerpt,
        needle=marker if example.needle else "",
        safe=mask(example.safe, harmful),
        unsafe=marker,
        benign_question=mask(example.benign_question, [example.needle]) if example.needle else example.benign_question,
    )


def mask(text: str, harmful: Sequence[str]) -> str:
    """The text, with a bar for every run of ``RUN_WORDS`` or more words that a harmful text also has."""
    words = list(re.finditer(r"\w+(?:['’]\w+)*", text))
    hidden = [False] * len(words)
    mine = [word.group().casefold() for word in words]
    for other in harmful:
        theirs = [word.casefold() for word in re.findall(r"\w+(?:['’]\w+)*", other)]
        for block in SequenceMatcher(None, mine, theirs, autojunk=False).get_matching_blocks():
            # A harmful text shorter than that is hidden where it occurs whole.
            if block.size and block.size >= min(RUN_WORDS, len(theirs)):
                hidden[block.a : block.a + block.size] = [True] * block.size
    parts, place = [], 0
    for number, word in enumerate(words):
        if not hidden[number]:
            continue
        if number == 0 or not hidden[number - 1]:
            parts += [text[place : word.start()], BAR]
        place = word.end()
    return "".join([*parts, text[place:]])
