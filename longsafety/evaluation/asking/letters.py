"""The letters' log-probabilities, read off the likeliest first tokens of a reply (a server's ``top_logprobs``)."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from longsafety.samples.thoughts import part_thoughts

LEAST_MASS = 0.01
"""Probability that the letters must have together: below it they stand in the list by accident."""
_IMPOSSIBLE = -1000.0
"""Servers write an impossible token as -inf, or as a floor such as vLLM's -9999."""
_LEAST_LEFT = 1e-10
_AROUND = " \t\n\r\"'“”‘’`*_()[]{}<>（）【】「」.:,;!。，：、#-"
_BYTE_LEVEL = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n", "ĉ": "\t"})


class LetterScores(NamedTuple):
    """Scores in the order shown, or the reason why there are none."""

    values: list[float] | None
    reason: str | None


def letter_scores(top: Iterable[tuple[str, float | None]], shown: str) -> LetterScores:
    """The log-probability of each letter in ``shown``, its tokens (`` D``, ``d``, ``(D``, ``Ｄ``) added up.

    ``top``: tokens with their log-probabilities (nats). What is no log-probability (missing, NaN, above 0, -inf, a
    floor) is left out. A letter that has none takes the most that it can have: no more than the least value given,
    nor than what the others leave.

    There are no scores where no value is usable, the likeliest token opens a thought, the letters together have less
    than :data:`LEAST_MASS`, or several letters are the likeliest: then a whole reply should be asked for and read.
    """
    usable = ((token, value) for token, value in top if isinstance(token, str) and _usable(value))
    given = [(token, float(value)) for token, value in usable if value is not None]
    if not given:
        return LetterScores(None, "no usable log-probability of the first token")
    likeliest = max(given, key=lambda one: one[1])[0]
    if part_thoughts(likeliest).cut or re.match(r"\s*<\|channel\|>", likeliest):
        return LetterScores(None, "the first token opens a thought")
    mass = dict.fromkeys(shown, 0.0)
    for token, value in given:
        if (letter := _letter(token)) in mass:
            mass[letter] += math.exp(value)
    total = sum(mass.values())
    if total < LEAST_MASS:
        return LetterScores(None, f"the letters have a probability of {total:.1g} together")
    left = max(1.0 - sum(math.exp(value) for _, value in given), _LEAST_LEFT)
    least = min(min(value for _, value in given), math.log(left))
    scores = [min(math.log(value), 0.0) if value else least for value in mass.values()]
    if scores.count(max(scores)) > 1:
        return LetterScores(None, "several letters may be the likeliest")
    return LetterScores(scores, None)


def _usable(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) and _IMPOSSIBLE < value <= 1e-3


def _letter(token: str) -> str | None:
    """The letter that a token is; small "a" and "i" are words, and stand for no letter."""
    bare = unicodedata.normalize("NFKC", token.translate(_BYTE_LEVEL)).strip(_AROUND)
    return None if len(bare) != 1 or bare in "ai" else bare.upper()
