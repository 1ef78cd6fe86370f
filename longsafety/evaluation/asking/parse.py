"""Reads which option a reply names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from longsafety.vocabulary import LETTERS

_ALONE = re.compile(r"^[\s\"'“‘(\[*_`]*([A-J])[\s\"'”’)\]*_`]*(?:$|[.:,;)\n]|[-–—]\s)")
_ANOTHER = re.compile(r"^[,;、/&\s]*(?:(?:and|or|和|或)\s*)?[\"'“‘(\[*_`]*([A-J])[\"'”’)\]*_`]*(?:$|[.:,;、)\n])")
"""What follows an opening "A," in a reply that lists letters."""
_NAMED = re.compile(
    r"(?:\b(?:answer|option|choice|choose|select|pick)\b(?:\s+(?:is|would\s+be|option|answer))*|答案(?:是|为)?|选项?)"
    r"[\s:：=\"'“‘(（\[*_`]*([A-J])(?![A-Za-z])",
    re.IGNORECASE,
)


def parsed(reply: str, options: Sequence[str], letters: str = LETTERS, *, first_token: bool = False) -> int | None:
    """The index of the option that the reply names, or ``None`` where it names none, or more than one.

    A reply names an option by a letter that opens it or follows "the answer is" and the like, or by repeating the text
    of exactly one option. ``letters``: the options' letters in their order; other letters name none. ``first_token``:
    an opening letter counts even if others follow it ("A, B, C").
    """
    valid = letters[: len(options)]
    named = {letter for letter in _NAMED.findall(reply) if letter in LETTERS}  # a small "a" is an article
    alone = _ALONE.match(reply.strip())
    found = {alone[1]} if alone else named
    if alone and not first_token:
        another = _ANOTHER.match(reply.strip()[alone.end() :])
        found |= {another[1]} & {*valid} if another else set()
    if found:
        letter = found.pop()
        return valid.index(letter) if not found and letter in valid else None
    text = " ".join(reply.split()).strip(" .\"'").casefold()
    repeated = [place for place, option in enumerate(options) if _plain(option) and _plain(option) in text]
    longest = [
        place
        for place in repeated
        if not any(_plain(options[place]) in _plain(options[other]) for other in repeated if other != place)
    ]
    return longest[0] if len(longest) == 1 else None


def _plain(text: str) -> str:
    return " ".join(text.split()).strip(" .\"'").casefold()
