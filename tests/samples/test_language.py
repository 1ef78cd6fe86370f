"""Which characters are Chinese, and which of two languages a text is in."""

from __future__ import annotations

import re

import pytest

from longsafety.samples.language import UNSPACED, count_han, english_or_chinese


@pytest.mark.parametrize(
    ("text", "han", "unspaced"),
    [
        ("中文 and English", 2, 2),
        ("㐀𠮷豈", 3, 3),  # extensions A and B, and a compatibility ideograph
        ("ひらがなカタカナ", 0, 8),
        ("，。《》1a", 0, 0),
        ("䷀䷿", 0, 0),  # hexagrams stand between the blocks of ideographs, and are none
        ("한국어", 0, 0),  # Korean has spaces
    ],
)
def test_characters(text: str, han: int, unspaced: int) -> None:
    assert count_han(text) == han
    assert len(re.findall(f"[{UNSPACED}]", text)) == unspaced


def test_english_or_chinese() -> None:
    assert english_or_chinese("我不能帮助你。") == "zh"
    assert english_or_chinese("The word 词 is Chinese.") == "en"
    assert english_or_chinese("") == "en"
    assert english_or_chinese("文" * 3000 + "word " * 500) == "en"  # only the end is looked at
