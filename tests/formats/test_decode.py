"""Unicode is known by its mark or by evidence; every other encoding is refused with a guess, or read as it is named."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from longsafety.formats.decode import NotText, decode, is_text_encoding
from longsafety.formats.rows import read_rows

TEXTS = {
    "English": "The harbour lies still, and the café's parasol stands open.\nA man walks by.\n",
    "German": "Über dem Hafen stehen müde Gäste an der Tür.\r\nEr grüßt sie.\r\n",
    "Chinese": "港口很安静，咖啡馆的伞开着。\n第二行，他说了一句话。\n",
    "Taiwanese": "港口很安靜，咖啡館的傘開著。\n第二行，他說了一句話。\n",
    "Japanese": "港は静かで、カフェの傘が開いている。\n二行目です。\n",
    "Korean": "항구는 조용하고 카페의 우산이 열려 있다.\n두 번째 줄.\n",
    "Russian": "Гавань тиха, и зонт кафе открыт.\nВторая строка.\n",
    "Arabic": "الميناء هادئ والمظلة مفتوحة.\nسطر ثان.\n",
    "Thai": "ท่าเรือเงียบสงบ ร่มของร้านกาแฟเปิดอยู่\nบรรทัดที่สอง\n",
    "Hindi": "परिषद ने मंगलवार को किसानों की बात सुनी।\nवे दो घंटे तक बोले।\n",
    "Telugu": "మండలి మంగళవారం సమావేశమై రైతుల మాట విన్నది.\nవారు మాట్లాడారు.\n",
    "Bengali": "পরিষদ মঙ্গলবার কৃষকদের কথা শুনেছিল।\nতারা কথা বলেছিল।\n",
    "Tamil": "மன்றம் செவ்வாய்க்கிழமை கூடியது.\nவிவசாயிகளின் பேச்சைக் கேட்டது.\n",
    "Ethiopic": "ምክር ቤቱ ማክሰኞ ተሰብስቦ ስለ አዲሱ መንገድ አዳመጠ።\nተናገሩ።\n",
    "one line of Japanese": "港は静かで、カフェの傘が開いている。男が一人歩いて来て、岸に座った。" * 20,
    "one line of Hiragana": "みなとはしずかで、ひとがひとりあるいてきて、きしにすわりました。" * 3,
    "emoji": "One 🙂 and another 🚢.\n",
}
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
OTHERS: tuple[str, ...] = (
    "latin-1",
    "cp1252",
    "cp1251",
    "koi8-r",
    "gb18030",
    "big5",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "iso2022_jp",
)
OTHERS += ("cp874", "cp1256", "mac_roman", "cp437")


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", UNICODE)
def test_unicode_is_read_with_and_without_a_mark(name: str, encoding: str) -> None:
    assert decode(TEXTS[name].encode(encoding)) == TEXTS[name]


@pytest.mark.parametrize("encoding", OTHERS)
def test_no_other_encoding_is_guessed_and_each_is_read_once_it_is_named(encoding: str) -> None:
    tried = 0
    for text in TEXTS.values():
        try:
            data = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        if data.isascii() and encoding != "iso2022_jp":
            continue
        tried += 1
        with pytest.raises(NotText, match=r"(is not|not like) UTF-8"):
            decode(data)
        assert decode(data, encoding) == text
    assert tried


def test_a_refusal_shows_how_the_text_would_read() -> None:
    with pytest.raises(
        NotText, match=r"byte 35 \(0xe9\) is not valid; it would read as cp1252 “and the café's parasol”"
    ):
        decode(TEXTS["English"].encode("cp1252"))
    with pytest.raises(NotText, match="as gb18030 “港口很安静"):
        decode((TEXTS["Chinese"] * 5).encode("gb18030"))
    with pytest.raises(NotText, match="as iso2022_jp “港は静かで"):
        decode(TEXTS["Japanese"].encode("iso2022_jp"))


def test_what_is_no_text_is_refused() -> None:
    noise = random.Random(0)
    binaries = [noise.randbytes(noise.randint(40, 3000)) for _ in range(300)]
    texts = [b"One \0 in a text.", b"PK\x03\x04\x14\x00\x08", b"\x7fELF\x02\x01\x01" + bytes(9), b"\x01\x02\x03\x04"]
    for data in [*binaries, *texts, b"\xff\xfeodd", TEXTS["Russian"].encode("utf-16-le")[:-1] + b"\xd8\xd8"]:
        with pytest.raises(NotText):
            decode(data)
        with pytest.raises(NotText):
            decode(data, "ascii")


def test_ordinary_oddities_are_text() -> None:
    for text in ("", "a\fb", "colour \x1b[31m in a log", "x", "\n"):
        assert decode(text.encode()) == text
    assert decode(b"from DOS\x1a") == "from DOS"
    with pytest.raises(NotText, match="and not cp1252 either"):
        decode("“quoted”".encode("cp1252") + b"\x81\xff", "cp1252")
    with pytest.raises(NotText, match=r"and not latin-1 either: holds the control character U\+0093"):
        decode("“quoted”".encode("cp1252"), "latin-1")


@pytest.mark.parametrize("encoding", [*UNICODE, "cp1252"])
def test_rows_in_any_unicode(tmp_path: Path, encoding: str) -> None:
    rows = [{"request": "Who was at the café?"}, {"request": "Where?"}]
    (tmp_path / "a.jsonl").write_bytes(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(encoding)
    )
    (tmp_path / "b.json").write_bytes(json.dumps(rows, ensure_ascii=False).encode(encoding))
    (tmp_path / "c.csv").write_bytes(("request\r\n" + "\r\n".join(row["request"] for row in rows)).encode(encoding))
    found = list(read_rows(tmp_path, counts=Counter()))
    good = [row.values for row in found if not row.problem]
    if encoding == "cp1252":  # the rows that are not UTF-8 are bad, and each is named
        assert good == [rows[1], rows[1]] and all("not UTF-8" in row.problem for row in found if row.problem)
    else:
        assert good == rows * 3


def test_names_of_encodings() -> None:
    for name in ("cp1252", "GB18030", "shift-jis", "latin1"):
        assert is_text_encoding(name)
    for name in ("rot13", "zip", "base64", "nothing", "", "a\0b"):
        assert not is_text_encoding(name)


TAILS = ("The harbour lies still, and a man walks by.\n" * 3, TEXTS["Chinese"] * 4, TEXTS["Russian"] * 2)


@pytest.mark.parametrize("name", ["English", "Chinese", "Japanese", "Korean", "Arabic"])
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf8_put_behind_utf16_is_told(name: str, tail: str, encoding: str) -> None:
    behind = tail.encode() + b" " * (len(tail.encode()) % 2)  # else the length alone tells it
    with pytest.raises(NotText) as caught:
        decode((TEXTS[name] * 20).encode(encoding) + behind, "cp1252" if encoding == "utf-16" else None)
    if encoding == "utf-16":
        assert "is UTF-16, but its bytes" in str(caught.value) and caught.value.is_unicode


@pytest.mark.parametrize(
    "text",
    [f"目录{'…' * 60}十二\n", "※" * 40 + "\n", "‧•‧•" * 40, "〰" * 80, "丰丰丰丰" * 40],
)
def test_rows_of_signs_in_utf16_are_no_utf8(text: str) -> None:
    assert decode((text + TEXTS["Chinese"]).encode("utf-16")) == text + TEXTS["Chinese"]


@pytest.mark.parametrize("encoding", ["utf-7", "hz", "iso2022_jp", "iso2022_kr"])
def test_an_encoding_of_seven_bits_is_told_and_read_once_it_is_named(encoding: str) -> None:
    text = TEXTS["Korean" if encoding == "iso2022_kr" else "Japanese" if encoding == "iso2022_jp" else "Chinese"] * 3
    text = text.replace("~", "")
    told = "holds the control character U.*" if encoding == "iso2022_kr" else f"looks like {encoding}, not like UTF-8"
    with pytest.raises(NotText, match=rf"{told}; it would read as {encoding} “"):
        decode(text.encode(encoding))
    assert decode(text.encode(encoding), encoding) == text
    assert decode(text.encode(), encoding) == text  # among such files there may be one in UTF-8


@pytest.mark.parametrize(
    "text",
    [
        "1+1=2, and C++ or a+b; call +44 20 7946 0958 or +4915123456789.\n",
        "key: 4aVQ+8mB2kqf7T/xYz0WcH+LpN5oRe3uGdSaJbKi9XM=\n",
        "+ADD+ +SUB- +mul+ (+Infinity-)\n",
        "plain words\n",
    ],
)
@pytest.mark.parametrize("encoding", [None, "utf-7", "hz", "utf-16-le", "cp037"])
def test_plain_ascii_stays_as_it_is(text: str, encoding: str | None) -> None:
    assert decode(text.encode() * 4, encoding) == text * 4


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_reading_without_a_sure_sign_is_named_and_not_taken(encoding: str) -> None:
    text = TEXTS["Chinese"].replace("\n", "").replace("一", "两").replace("开", "张") * 9
    assert b"\0" not in text.encode(encoding)
    with pytest.raises(NotText, match=f"as {encoding.replace('-', '[-_]')} “港口很安静"):
        decode(text.encode(encoding))
    assert decode(text.encode(encoding), encoding) == text


def test_rows_of_zeros_and_tabs_are_no_utf16(tmp_path: Path) -> None:
    """``0,`` and ``1`` before a tab are also Japanese signs and Indic letters; a cut character is no other encoding."""
    for line in ("0,0,0,0,0,0,0,0,0,0\n", "1\t2\t3\t4\t5\t6\t7\t8\n"):
        for start in range(4):
            data = b"x" * start + line.encode() * 3000 + "é,é,é".encode() * 30
            assert decode(data) == data.decode()
            for latin in (line.encode() * 3000 + b"caf\xe9,x", b"caf\xe9\n" + line.encode() * 300):
                with pytest.raises(NotText, match="is not UTF-8"):
                    decode(latin)
    lines = "".join(f"{'0,' * 24}é\n" for _ in range(2000))
    (tmp_path / "a.csv").write_text(f"{','.join(f'c{number}' for number in range(25))}\n{lines}", "utf-8")
    assert {row.values["c24"] for row in read_rows(tmp_path / "a.csv", counts=Counter())} == {"é"}


FRENCH = "L'été dernier nous avons visité la forêt. "


@pytest.mark.parametrize("encoding", [None, "gb18030", "cp1252"])
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            TEXTS["Chinese"].encode() * 9 + "港".encode()[:2],
            r"is UTF-8, but cut within its last character \(byte \d+\)",
        ),
        (FRENCH.encode() * 9 + b"caf\xe9 ", r"is UTF-8, but for 1 byte\(s\), the first of which is byte \d+ \(0xe9\)"),
        (("🙂" * 9).encode() + b"\xff ", r"is UTF-8, but for 1 byte\(s\)"),
        (
            TEXTS["Chinese"].encode("gb18030") * 9 + TEXTS["Chinese"].encode(),
            "is not UTF-8 .*, as of two files put togeth",
        ),
    ],
    ids=["cut", "one byte", "an emoji", "two encodings"],
)
def test_damaged_utf8_is_no_other_encoding_even_if_one_is_named(data: bytes, why: str, encoding: str | None) -> None:
    """Another encoding would give letters, and wrong ones."""
    with pytest.raises(NotText, match=why) as error:
        decode(data, encoding)
    assert error.value.is_unicode


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman", "iso8859_15"])
def test_a_named_encoding_of_one_byte_is_no_damaged_utf8(encoding: str) -> None:
    assert decode((FRENCH * 30).encode(encoding), encoding) == FRENCH * 30
