"""The options' texts in a reply: whole texts, never parts of words; and options that bring letters of their own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from longsafety.evaluation.asking.statements import pattern

_OWN = re.compile(r"^\s*(?:option\s+)?[(\[]?\s*([A-Ja-j])\s*[.):\]、．：]\s*(?=\S)", re.IGNORECASE)
_EDGE = " .\"'!,;:()‹›⟦⟧-"
_SPACELESS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*%?")
_PLACED = re.compile(
    r"(?:\b(?:page|line|chapter|section|option|choice|paragraph|number|no|step|article|item|figure|table)\.?\s*|第|#)$",
    re.I,
)

_TAKES = (
    r"(?:{noun}(?:\s+[^\s,.;:]+){0,6}?\s*(?:{copula}|:)|{choose}|{conclude}|^\s*\S+(?:\s+\S+){0,4}\s+{copula}|"
    r"{noun_cjk}{copula_cjk}?:?|{choose_cjk})"
)


def bare_options(options: Sequence[str]) -> list[str]:
    """The options without letters that they bring themselves, where all bring one, each another."""
    found = [_OWN.match(option) for option in options]
    if len({one[1].upper() for one in found if one}) < len(options):
        return list(options)
    return [option[one.end() :] for option, one in zip(options, found, strict=True) if one]


class Texts:
    """The options of one question, in the order of their letters."""

    def __init__(self, options: Sequence[str], letters: str) -> None:
        own = [_OWN.match(option) for option in options]
        names = [found[1].upper() for found in own if found]
        self.letters = letters
        self.own = "".join(names) if len(set(names)) == len(options) else ""
        """The letters that the texts begin with, where all do."""
        self.plain = [plain(option) for option in bare_options(options)]

    def begins(self, text: str, letter: str) -> bool:
        """Whether a text begins with the option of this letter."""
        option = self.plain[self.letters.index(letter)] if letter in self.letters else ""
        return bool(option) and plain(text).startswith(option)

    def meant_by(self, letter: str, text: str) -> int | None:
        """The option that a letter means. Where another option's text follows it, or another option brings it as its
        own, the texts in the reply decide, or nothing does."""
        place = self.letters.index(letter)
        reach = 2 * max(map(len, self.plain)) + 20
        after = [plain(text[found.end() :][:reach]) for found in re.finditer(f"‹{letter}›", text)]

        follows = {
            other
            for other, option in enumerate(self.plain)
            if option and any(re.match(rf"{re.escape(option)}(?!\w)", tail) for tail in after)
        }
        if self.own and self.own != self.letters and self.own.find(letter) != place:
            return follows.pop() if len(follows) == 1 else self.named(text)
        if follows and place not in follows and self.plain.count(self.plain[place]) == 1:
            return None
        return place

    def named(self, text: str, *, whole: bool = False) -> int | None:
        """The one option whose text stands in a reply; ``whole``: is the reply."""
        said = plain(text)
        found = [option for option in set(self.plain) - {""} if said == option]
        if not found and not whole:
            found = [option for option in set(self.plain) - {""} if self._stands(option, said, text)]
        if not whole and _taken_back(found, self.plain, said):
            return None
        longest = [one for one in found if not any(one != other and one in other for other in found)]
        if len(longest) != 1 or self.plain.count(longest[0]) > 1:
            return None
        return self.plain.index(longest[0])

    def _stands(self, option: str, said: str, text: str) -> bool:
        if _NUMBER.fullmatch(option):
            return _counts(option, said)
        word = rf"(?<![^\W]){re.escape(option)}(?!\w)" if not _SPACELESS.search(option) else re.escape(option)
        if len(option.split()) > 1 or (_SPACELESS.search(option) and len(option) > 3):
            return any(not _denied(said, found.start(), found.end()) for found in re.finditer(word, said))
        return any(_answers(option, plain(sentence)) for sentence in re.split(r"(?<=[.!?])\s+|\n+", text))


def plain(text: str) -> str:
    """Without case, emphasis, quotation marks, and white space or full stops at its ends."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"[\"“”«»「」*_`$‹›⟦⟧]", "", text.replace("’", "'").replace("。", ". ").replace("、", ", "))
    return " ".join(text.split()).strip(_EDGE)


def _taken_back(found: Sequence[str], options: Sequence[str], said: str) -> bool:
    """Whether another option follows a word that takes one back ("No, wait, yes.")."""
    others = "|".join(re.escape(option) for option in {*options} - {*found, ""})
    after = r"[\s,.:—-]*(?:it's|it is|make that|是|应该是)?\s*"
    return bool(found and others) and bool(
        pattern(rf"{{taken_back}}{after}(?:{others})(?=\s*(?:[.,;!]|$))").search(said)
    )


def _answers(option: str, sentence: str) -> bool:
    """Whether a sentence answers with a word: it opens it, or is what the answer is."""
    if sentence == option:
        return True
    word, marks = re.escape(option), "[.,;:!—的]" if _SPACELESS.search(option) else "[.,;:!—]"
    if re.match(rf"^{word}(?:\s*{marks}|\s+-|\s+(?:because|since|as|porque|car|weil)\b)", sentence):
        return True
    taken = pattern(_TAKES + rf"\s*:?\s*{word}(?=\s*(?:[.,;:!]|$|(?:because|since)\b))").search(sentence)
    return taken is not None and not pattern("{negate}").search(taken[0][: -len(option)].replace("n't", " n't"))


def _counts(option: str, said: str) -> bool:
    """Whether a number stands in a reply by itself, and the reply does not say that it is unsure."""
    if said == option:
        return True
    if pattern("{unsure}").search(said.replace("n't", " n't")):
        return False
    spots = re.finditer(rf"(?<![\w.,:/-]){re.escape(option)}(?![\w%]|[.,:/-]\d)", said)
    return any(not _PLACED.search(said[: spot.start()]) for spot in spots)


def _denied(said: str, start: int, end: int) -> bool:
    """Whether the sentence around an option's text rules it out."""
    begin = max(said.rfind(mark, 0, start) for mark in ".!?\n") + 1
    stop = min((at for mark in ".!?" if (at := said.find(mark, end)) >= 0), default=len(said))
    before, after = (part.replace("n't", " n't") for part in (said[begin:start], said[end:stop]))
    return bool(pattern("{negate}").search(before) or pattern("{reject}").search(after))
