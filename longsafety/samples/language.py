"""The language of a text, which characters are Chinese, and how many words there are."""

from __future__ import annotations

import re
from typing import Literal

LANGUAGES: tuple[Literal["en", "zh"], ...] = ("en", "zh")
"""The languages of the shipped seed items, options and phrases."""
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters (Unicode's CJK ideographs with all extensions), for use inside a regular expression's ``[…]``."""
UNSPACED = (
    rf"\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9d{HAN}"
    r"\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e50-\u0e59"  # Thai
    r"\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0ed0-\u0edf"  # Lao
    r"\u0f00-\u0f17\u0f20-\u0f33\u0f40-\u0f6c"  # Tibetan
    r"\u1000-\u102a\u103f-\u1055\uaa60-\uaa7a"  # Burmese
    r"\u1780-\u17b3\u17e0-\u17e9"  # Khmer
)
"""Letters and digits of the scripts without spaces between words: Chinese, Japanese kana, Thai, Lao, Tibetan, Burmese
and Khmer. Each counts as one word; the marks above and below it do not."""
UNSPACED_MARKS = r"\u0e00-\u109f\u1780-\u17ff\uaa60-\uaa7f\uff9e\uff9f"
"""The blocks of those scripts that have marks, with them."""
_SEPARATORS = "\u200b\u1361\U00010100\U00010101\U0001039f\U0001091f"
"""What parts words besides white space: the zero-width space, and the word separators of CSS Text 4, section 6.3
(Ethiopic, Aegean, Ugaritic, Phoenician)."""
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{_SEPARATORS}{UNSPACED}{UNSPACED_MARKS}]+")
_LONGEST_WORD = 20
_LETTERS_A_WORD = 4
_HAN = re.compile(f"[{HAN}]")
_EXCERPT = 2000
"""Characters of a document that are looked at."""


def count_han(text: str) -> int:
    """The number of Chinese characters."""
    return len(_HAN.findall(text))


def count_words(text: str, enough: int) -> int:
    """The number of words, or ``enough`` where there are as many or more.

    Each letter of :data:`UNSPACED` is one. Other scripts without capitals may be written without spaces too (Yi,
    Javanese, Cham, Hangul, by habit or by a converter): of a run of more than 20 such letters four are one word.
    """
    counted = 0
    for word in _WORD.finditer(text):
        counted += _words_in(word[0]) if word.end() - word.start() > _LONGEST_WORD else 1
        if counted >= enough:
            return enough
    return counted


def _words_in(run: str) -> int:
    letters = sum(letter.isalpha() and letter.lower() == letter.upper() for letter in run)
    return letters // _LETTERS_A_WORD if letters > _LONGEST_WORD else 1


def language_of(text: str) -> str:
    """The ISO 639-1 code of a document's language, by ``py3langid`` on 2,000 characters from its middle."""
    import py3langid

    middle = max(len(text) - _EXCERPT, 0) // 2
    code: str = py3langid.classify(text[middle : middle + _EXCERPT])[0]
    return code


def english_or_chinese(text: str) -> str:
    """``zh`` if more than every fifth visible character of the last 2,000 is Chinese, else ``en``."""
    visible = "".join(text[-_EXCERPT:].split())
    return "zh" if 5 * count_han(visible) > len(visible) else "en"
