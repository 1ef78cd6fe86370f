"""What a text repeats of a harmful one, hidden by a bar: in any script, case and spacing, at every occurrence."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

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
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,200}>|\\[A-Za-z]{1,20}\*?(?=\{)|\\[nrt]")
_ESCAPES = re.compile(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});|(?<!\\)\\+(?:u|x|U000)(?P<hex>(?<=u)[0-9a-fA-F]{4}|"
    r"(?<=x)[0-9a-fA-F]{2}|(?<=U000)[0-9a-fA-F]{5})|(?P<bytes>(?:%[0-9a-fA-F]{2})+)"
)
"""Characters as HTML, JSON, Python and addresses write them."""
_TIMES = 4
"""So many times a text may have been escaped."""
_NO_LETTERS = str.maketrans({"ı": "i", "\u0640": "", "\u07fa": ""})
"""Turkish writes I in two ways; Arabic and N'Ko draw out a word by a line that is none of its letters."""
_BARS = re.compile(rf"{BAR}(?:[^\w▮]*{BAR})+")


class _Character(NamedTuple):
    """A character, and where it stands in the text, perhaps in another notation."""

    value: str
    start: int
    end: int


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
    letters: list[tuple[str, _Character]] = field(default_factory=list)
    """Folded letter, and the character that it is part of."""


def mask(text: str, harmful: Sequence[str]) -> str:
    """The text, with a bar wherever it repeats a run (``RUN_WORDS``, ``RUN_LETTERS``) of a harmful text.

    Case, width, accents, marks, markup, breaks and invisible characters between or within words do not matter, nor
    does the notation of a character (``&eacute;``, ``\\u8bf7``, ``%20``). A harmful text that is shorter than a run is
    hidden where it occurs whole.
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
        yield whole[first:last], (scan.letters[first][1].start, scan.letters[last - 1][1].end)


def _scans(text: str) -> list[_Scan]:
    """The words of a text, with and (where there is any) without its markup."""
    written = _decoded([_Character(char, place, place + 1) for place, char in enumerate(text)])
    whole = "".join(char.value for char in written)
    plain = _MARKUP.sub(lambda found: " " * len(found.group()), whole)
    if plain == whole:
        return [_scan(written)]
    return [_scan(written), _scan([char._replace(value=new) for char, new in zip(written, plain, strict=True)])]


def _decoded(text: Sequence[_Character]) -> Sequence[_Character]:
    """The text with each escape as the characters that it stands for, also where it was escaped several times."""
    for _ in range(_TIMES):
        done, place = list[_Character](), 0
        for found in _ESCAPES.finditer("".join(char.value for char in text)):
            if values := _unescaped(found):
                start, end = text[found.start()].start, text[found.end() - 1].end
                done += [*text[place : found.start()], *(_Character(value, start, end) for value in values)]
                place = found.end()
        if not place:
            break
        text = [*done, *text[place:]]
    return text


def _unescaped(found: re.Match[str]) -> str:
    """What an escape stands for; empty where it is none."""
    if code := found["hex"]:
        return chr(int(code, 16))
    if found["bytes"]:
        return unquote_to_bytes(found["bytes"]).decode("utf-8", "ignore")
    plain = html.unescape(found[0])
    return "" if plain == found[0] else plain


def _scan(text: Sequence[_Character]) -> _Scan:
    scan, opened, last = _Scan(), False, -1
    for index, char in enumerate(text):
        kind = unicodedata.category(char.value)
        if kind[0] in "LN":
            single = bool(_SINGLE.match(char.value))
            if single or not opened:
                weight = 1 / (_LETTERS_OF_A_RUN if _SPELT_OUT.match(char.value) else RUN_WORDS)
                scan.words.append(_Word(char.start, char.start, weight))
            opened = not single
            folded = _folded(char.value)
            scan.words[-1].folded += folded
            scan.letters += [(letter, char) for letter in folded]
        elif not (scan.words and last == index - 1 and (kind[0] == "M" or kind == "Cf")):
            after = text[index + 1].value if index + 1 < len(text) else ""
            opened = opened and char.value in "'’ʼ＇" and after.isalnum()
            if not opened:
                continue
        scan.words[-1].end, last = char.end, index
    return scan


def _folded(char: str) -> str:
    """Without case, width and accents."""
    apart = unicodedata.normalize("NFKD", char)
    plain = "".join(part for part in apart if unicodedata.category(part)[0] != "M")
    return plain.casefold().translate(_NO_LETTERS)
