"""The language of a text, and which characters are Chinese."""

from __future__ import annotations

import re
from typing import Literal

LANGUAGES: tuple[Literal["en", "zh"], ...] = ("en", "zh")
"""The languages of the shipped seed items, options and phrases."""
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters (Unicode's CJK ideographs with all extensions), for use inside a regular expression's ``[…]``."""
UNSPACED = rf"\u3040-\u30ff{HAN}"
"""Characters of the scripts without spaces between words: Chinese, and Japanese kana. Each counts as one word."""
_HAN = re.compile(f"[{HAN}]")
_EXCERPT = 2000
"""Characters of a document that are looked at."""


def count_han(text: str) -> int:
    """The number of Chinese characters."""
    return len(_HAN.findall(text))


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
