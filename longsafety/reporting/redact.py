"""Harmful text made unreadable in examples, on the safe side: also where another text repeats a part of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from longsafety.reporting.record import Example

BAR = "▮▮"
RUN_WORDS = 3
"""So many words in a row, shared with a harmful text, are taken as a part of it."""
_SHOWN_CONTEXTS = ("QH", "PH")


def redact(example: Example) -> Example:
    """The example without its harmful texts.

    Question, needle and unsafe option go entirely. The context excerpt of a wholly harmful context goes too; otherwise
    it, the safe option and the benign question lose what they share with a harmful text.
    """
    marker = f"{BAR} [{example.category}: redacted; report.redact=false shows it]"
    harmful = [text for text in (example.question, example.needle, example.unsafe) if text]
    excerpt = mask(example.context_excerpt, harmful)
    # An excerpt said to show a needle that is not found in it may spell it otherwise.
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
    """The text with every run of ``RUN_WORDS`` words or more that a harmful text also has replaced by a bar."""
    words = list(re.finditer(r"\w+(?:['’]\w+)*", text))
    hidden = [False] * len(words)
    mine = [word.group().casefold() for word in words]
    for other in harmful:
        theirs = [word.casefold() for word in re.findall(r"\w+(?:['’]\w+)*", other)]
        for block in SequenceMatcher(None, mine, theirs, autojunk=False).get_matching_blocks():
            # A short harmful text that occurs whole is hidden whole.
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
