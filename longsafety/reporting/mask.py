"""What a text repeats of a harmful one, hidden by a bar: in any script, case and spacing, at every occurrence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from longsafety.samples.language import UNSPACED

BAR = "▮▮"
RUN_WORDS, RUN_LETTERS = 3, 16
"""So many words in a row (or characters of a script that writes none between them), or letters however they are spaced,
that a harmful text also has, are taken as a part of it."""
_SPELT = "\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
"""Scripts without spaces whose letters are no words: Thai, Lao, Tibetan, Burmese, Khmer."""
_LETTERS_OF_A_RUN = 8
"""So many of these stand for ``RUN_WORDS`` words."""
_SINGLE = re.compile(f"[{UNSPACED}{_SPELT}]")
_SPELT_OUT = re.compile(f"[{_SPELT}]")
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,200}>|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});|\\[nrt]")
_BARS = re.compile(rf"{BAR}(?:[^\w▮]*{BAR})+")


@dataclass
class _Word:
    start: int
    end: int
    weight: float
    """A run has a weight of one."""
    folded: str = ""


@dataclass
class _Scan:
    words: list[_Word] = field(default_factory=list)
    letters: list[tuple[str, int]] = field(default_factory=list)
    """Folded letter, and its place in the text."""


def mask(text: str, harmful: Sequence[str]) -> str:
    """The text, with a bar wherever it repeats a run (``RUN_WORDS``, ``RUN_LETTERS``) of a harmful text.

    Case, width, accents, marks, markup, breaks and invisible characters between or within words do not matter. A
    harmful text that is shorter than a run is hidden where it occurs whole.
    """
    hidden = [False] * len(text)
    # Between angle brackets may stand markup, or the text itself.
    mine, theirs = _scans(text), [scan for other in harmful for scan in _scans(other)]
    runs = {run for scan in theirs for run in _known(scan)}
    letters = {run for scan in theirs for run, _ in _letter_runs(scan)}
    longest = max(map(len, runs), default=0)
    for scan in mine:
        for first, word in enumerate(scan.words):
            for size in range(longest, 0, -1):
                part = scan.words[first : first + size]
                if len(part) == size and tuple(one.folded for one in part) in runs:
                    hidden[word.start : part[-1].end] = [True] * (part[-1].end - word.start)
                    break
        for run, (start, end) in _letter_runs(scan):
            if run in letters:
                hidden[start:end] = [True] * (end - start)
    parts, place = [], 0
    for index, is_hidden in enumerate(hidden):
        if is_hidden:
            if index == 0 or not hidden[index - 1]:
                parts += [text[place:index], BAR]
            place = index + 1
    return _BARS.sub(BAR, "".join([*parts, text[place:]]))


def _known(scan: _Scan) -> Iterator[tuple[str, ...]]:
    """The shortest run from each word on; of a shorter text the whole."""
    found = False
    for first in range(len(scan.words)):
        weight, last = 0.0, first
        while last < len(scan.words) and weight < 1 - 1e-9:
            weight, last = weight + scan.words[last].weight, last + 1
        if weight >= 1 - 1e-9:
            found = True
            yield tuple(word.folded for word in scan.words[first:last])
    if not found and scan.words:
        yield tuple(word.folded for word in scan.words)


def _letter_runs(scan: _Scan) -> Iterator[tuple[str, tuple[int, int]]]:
    whole = "".join(letter for letter, _ in scan.letters)
    for first in range(len(whole) - RUN_LETTERS + 1):
        last = first + RUN_LETTERS
        yield whole[first:last], (scan.letters[first][1], scan.letters[last - 1][1] + 1)


def _scans(text: str) -> list[_Scan]:
    """The words of a text, with and (where there is any) without its markup."""
    plain = _MARKUP.sub(lambda found: " " * len(found.group()), text)
    return [_scan(text)] if plain == text else [_scan(text), _scan(plain)]


def _scan(text: str) -> _Scan:
    scan, opened = _Scan(), False
    for index, char in enumerate(text):
        kind = unicodedata.category(char)
        if kind[0] in "LN":
            single = bool(_SINGLE.match(char))
            if single or not opened:
                weight = 1 / (_LETTERS_OF_A_RUN if _SPELT_OUT.match(char) else RUN_WORDS)
                scan.words.append(_Word(index, index, weight))
            opened = not single
            folded = _folded(char)
            scan.words[-1].folded += folded
            scan.words[-1].end = index + 1
            scan.letters += [(letter, index) for letter in folded]
        elif scan.words and scan.words[-1].end == index and (kind[0] == "M" or kind == "Cf"):
            scan.words[-1].end = index + 1
        elif not (opened and char in "'’ʼ＇" and text[index + 1 : index + 2].isalnum()):
            opened = False
        else:
            scan.words[-1].end = index + 1
    return scan


def _folded(char: str) -> str:
    """Without case, width and accents."""
    apart = unicodedata.normalize("NFKD", char)
    return "".join(part for part in apart if unicodedata.category(part)[0] != "M").casefold()
