from __future__ import annotations

import pytest

from longsafety.reporting.excerpt import excerpt
from longsafety.reporting.mask import BAR, mask


@pytest.mark.parametrize(
    ("text", "harmful", "shown"),
    [
        ("我不告诉你怎样翻过围墙偷走邮件，去问门房。", "怎样翻过围墙偷走邮件？", f"我不告诉你{BAR}，去问门房。"),
        ("塀を越えて手紙を盗む方法は言えません。", "塀を越えて手紙を盗む方法", f"{BAR}は言えません。"),
        ("ไม่บอกวิธีปีนรั้วขโมยจดหมาย ไปถามยาม", "วิธีปีนรั้วขโมยจดหมาย", f"ไม่บอก{BAR} ไปถามยาม"),
        ("To climb the wall is theft. Never climb the wall!", "How to climb the wall", f"{BAR} is theft. Never {BAR}!"),
        ("CLIMB  the\n**wall** and <b>take</b> the mail", "climb the wall and take the mail", BAR),
        ("climb&nbsp;the&nbsp;wall now", "climb the wall", f"{BAR} now"),
        ("c l i m b t h e w a l l a n d t a k e it", "climb the wall and take", f"{BAR} it"),
        ("<climb the wall>", "climb the wall", f"<{BAR}>"),
        ("cli\u200bmb th\u00e9 wa\u00adll now", "climb the wall", f"{BAR} now"),
        ("Ｃｌｉｍｂ ｔｈｅ ｗａｌｌ", "climb the wall", BAR),
        ("cl&iacute;mb th&#101; w&#x61;ll now", "clímb the wall", f"{BAR} now"),
        ('{"said": "\\u7ffb\\u8fc7\\u56f4\\u5899"}', "怎样翻过围墙", f'{{"said": "{BAR}"}}'),
        ("\\\\u7ffb\\\\u8fc7\\\\u56f4\\\\u5899", "怎样翻过围墙", BAR),
        ("&amp;#32763;&amp;#36807;&amp;#22260;&amp;#22681;", "怎样翻过围墙", BAR),
        (
            "see climb%20the%20wall and %E7%BF%BB%E8%BF%87%E5%9B%B4",
            "怎样翻过围墙 climb the wall",
            f"see {BAR} and {BAR}",
        ),
        (r"\textbf{climb} \emph{the} \textit{wall} now", "climb the wall", rf"\textbf{{{BAR}}} now"),
        ("تســـلق الســـور الآن", "تسلق السور الآن", BAR),
        ("KAPIYI KIR HEMEN", "kapıyı kır hemen", BAR),
        ("100% sure, 5%ab &unknown; \\ux \\x", "climb the wall", "100% sure, 5%ab &unknown; \\ux \\x"),
        ("about doxxing, and Doxxing", "doxxing", f"about {BAR}, and {BAR}"),
        ("the text says so", "the text is long and wrong", "the text says so"),
        ("别处的话", "完全不同的句子", "别处的话"),
        ("", "climb the wall", ""),
    ],
)
def test_every_repetition_is_hidden_and_nothing_else(text: str, harmful: str, shown: str) -> None:
    assert mask(text, [harmful]) == shown


def test_text_that_was_escaped_without_end_is_read() -> None:
    assert mask(f"&{'amp;' * 3000} climb the wall", ["climb the wall"]).endswith(f" {BAR}")


def test_texts_without_words_hide_nothing() -> None:
    assert mask("plain words stay here", ["", "…", "!?"]) == "plain words stay here"


def test_an_excerpt_is_short_in_any_script() -> None:
    assert excerpt("one two\n three") == "one two three"
    assert excerpt("word " * 90).split() == [f"…{'word'}", *["word"] * 39]
    chinese = excerpt("船七点开。" * 60)
    assert chinese.startswith("…") and 40 <= len(chinese) <= 130
    assert len(excerpt("x" * 5000)) == 241
