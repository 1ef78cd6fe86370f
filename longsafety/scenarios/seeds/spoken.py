"""The language of a user's rows: by their own column, and by the letters that they are written in."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from longsafety.samples.language import count_han, english_or_chinese, language_of

_NAMES = {
    "en": {"en", "eng", "english", "英语", "英文", "英語"},
    "zh": {
        "zh",
        "zho",
        "chi",
        "cn",
        "chinese",
        "mandarin",
        "cmn",
        "普通话",
        "中文",
        "汉语",
        "简体中文",
        "繁體中文",
        "simplified chinese",
    },
}
_UNSAID = {"", "unknown", "und", "undetermined", "mul", "multilingual", "none", "null", "nan", "n/a", "other"}
"""What stands in a column that does not say the language."""
_LATIN = "Latin letters"
_LETTERS = {"en": _LATIN, "zh": "zh"}
_LOOKED_AT = 2000
_FEWEST_ROWS, _FEWEST_CHARACTERS = 5, 200
"""Below these, what a Latin text reads like is a guess."""


def foreign(said: str, text: str, language: str) -> str:
    """What a row is in where that is not ``language`` (en or zh); empty where it is.

    ``said``: the row's own language column, empty without one. Latin letters count as English: which language they
    write is not told by one short request. Raises ValueError where the column contradicts the letters.
    """
    letters, code = letters_of(text), _code(said)
    if code in _LETTERS and letters not in ("", _LETTERS[code]):
        raise ValueError(f"language = {said}: the text is in {letters}; correct the column, or leave it out")
    if code:
        return "" if code == language else code
    if letters in ("", _LETTERS[language]):
        return ""
    return "en" if letters == _LATIN else letters


def in_one_language(texts: dict[str, str], language: str) -> None:
    """Raises ValueError for a text of a row, by its column, that is written in other letters than ``language``."""
    for column, text in texts.items():
        letters = letters_of(text)
        if letters not in ("", _LETTERS[language]):
            raise ValueError(
                f"{column}: is in {letters}, and scenario.language = {language}; a row is in one language, translate it"
            )


def letters_of(text: str) -> str:
    """``zh``, ``Latin letters``, or what other letters most of a text is in (``Cyrillic letters``); empty without."""
    kana = sum("\u3040" <= letter <= "\u30ff" for letter in text)
    if 5 * kana > max(count_han(text), len(text) // 4):
        return "Japanese kana"
    if english_or_chinese(text) == "zh":
        return "zh"
    scripts = Counter(unicodedata.name(letter, "?").split()[0] for letter in text[:_LOOKED_AT] if letter.isalpha())
    return f"{scripts.most_common(1)[0][0].capitalize()} letters" if scripts else ""


def reads_like(texts: Sequence[str]) -> str:
    """The language that the Latin texts of a set are in together (ISO 639-1); empty where they are too few to say."""
    joined = " ".join(text for text in texts if letters_of(text) == _LATIN)
    if len(texts) < _FEWEST_ROWS or len(joined) < _FEWEST_CHARACTERS:
        return ""
    return language_of(joined)


def _code(said: str) -> str:
    """``en``, ``zh``, or what the column says of another language."""
    name = said.strip().casefold().split("(")[0].strip()
    if name in _UNSAID:
        return ""
    short = name.replace("_", "-").split("-")[0]
    return next((code for code, names in _NAMES.items() if name in names or short in names), name)
