"""The text of a file's bytes: Unicode by its mark or by evidence, any other encoding only where it is named.

A text in another encoding than Unicode has no sure sign of which one. So it is refused, with a guess and a look at it,
and read once the user names the encoding.
"""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from itertools import islice
from pathlib import Path
from typing import IO

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNMARKED = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_CONTROLS = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
"""Characters that no text file has: neither white space, nor bell, backspace and escape, nor NEL."""
_CONTROL_BYTES = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_SEVEN_BIT = (
    ("iso2022_jp", re.compile(rb"\x1b\$[@B(]")),
    ("iso2022_kr", re.compile(rb"\x1b\$\)C")),
    ("hz", re.compile(rb"~\{(?:[\x21-\x7e]{2}){2,}?~\}")),
)
"""Encodings whose bytes are all ASCII, so that they are valid UTF-8."""
_UTF7_RUN = re.compile(rb"\+[A-Za-z0-9+/]{3,}")
_LETTERS = b"Abcdefghijklmnopqrstuvwxyz 0123456789"
_UTF8_STRETCH = re.compile(
    rb"(?:[\t\n\r\x20-\x7e]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}){48,}+"
)
"""So long a stretch is not met by chance in UTF-16, where about every fourth character is such."""
_UTF8_CHARACTER = (
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]|"
    rb"[\xf0-\xf4][\x80-\xbf]{3}"
)
_UTF8_CHARACTERS = re.compile(_UTF8_CHARACTER)
_UTF8_PREFIX = re.compile(rb"(?:[\x00-\x7f]|" + _UTF8_CHARACTER + rb")*+")
_CUT = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{0,2}")
_UTF8_RUN = re.compile(rb"(?:[\xe1-\xec\xee\xef][\x80-\xbf]{2}){8,}+")
"""So many letters of three bytes each in a row are not met by chance in an encoding of two bytes a letter."""
_FEWEST_VALID = 8
_MOSTLY = 4
"""How many times as many bytes of valid characters there are in UTF-8 that is damaged in a few places."""
_FEWEST_DISTINCT = 12
"""A line of dots or dashes has fewer different bytes."""
_FEWEST_HIDDEN = 16
"""Letters that a text must hide in ASCII to look like UTF-7; fewer may be chance."""
_LOOKED_AT = 20_000
_FEWEST = 32
"""Bytes from which on control bytes alone, without a zero byte, are a sign of UTF-16."""
_MANY = 0.25
"""The share of control bytes, or of low bytes in every second place, that is a sign of UTF-16."""
_RARE = 1000
"""A text has at most one control character in so many."""
_AROUND = 12
_WESTERN = "“”„‘’‚–—…«»€£§©®°·¿¡\xa0"


class NotText(ValueError):
    """Bytes that are no text in Unicode; the message says why, and what they may be."""

    is_unicode = False
    """Whether they are Unicode but for a damage, so that it does not help to name another encoding."""


class _Damaged(NotText):
    is_unicode = True


def decode(data: bytes, encoding: str | None = None) -> str:
    """The text of a whole file.

    UTF-8, UTF-16 and UTF-32 with a byte order mark; UTF-8 without; UTF-16 and UTF-32 without, where only one of them
    gives a text. Everything else is read as ``encoding``; so is what is all ASCII, where letters are hidden in it.
    Raises NotText where the encoding is not given or does not fit.
    """
    marked = mark_of(data)
    if marked:
        try:
            return _checked(_of_one_encoding(data, marked))
        except UnicodeDecodeError as error:
            raise _Damaged(f"begins with the mark of {marked[:6].upper()}, but {_at(error)}") from None
    if encoding is not None and (text := _shifted(data, encoding)):
        return text
    reason = ""
    try:
        text = data.decode("utf-8")
        reason = not_a_text(text) or _seven_bit(data)
        if not reason:
            return text.removesuffix("\x1a")  # DOS ends a file with it
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8: {_at(error)}"
    if unmarked := unmarked_unicode(data):
        return _of_one_encoding(data, unmarked)
    if damage := _damage(data):
        raise _Damaged(damage)
    if encoding is None:
        raise NotText(f"{reason}{_guess(data)}")
    try:
        return _checked(data.decode(encoding).removesuffix("\x1a"))
    except (UnicodeError, NotText) as error:
        where = _at(error) if isinstance(error, UnicodeDecodeError) else str(error)
        raise NotText(f"{reason}, and not {encoding} either: {where}") from None


def _shifted(data: bytes, encoding: str) -> str:
    """The text in an encoding that writes other letters by ASCII ones (``utf-7``, ``hz``); empty if there are none."""
    if not data.isascii():
        return ""
    try:
        text = data.decode(encoding).removesuffix("\x1a")
        keeps = _LETTERS.decode(encoding) == _LETTERS.decode()  # UTF-16 and EBCDIC do not
    except UnicodeError:
        return ""
    return text if keeps and not text.isascii() and not not_a_text(text) else ""


def _of_one_encoding(data: bytes, encoding: str) -> str:
    """The decoded data. Raises NotText for UTF-16 that holds a stretch of UTF-8, as of two files put together."""
    text = data.decode(encoding)
    if encoding.startswith("utf-16"):
        for part in _UTF8_STRETCH.finditer(data):
            if len({*part[0]}) >= _FEWEST_DISTINCT:
                raise _Damaged(
                    f"is UTF-16, but its bytes {part.start()} to {part.end()} are UTF-8 "
                    f"(“{part[0].decode()[:_AROUND].strip()}…”), as of two files put together"
                )
    return text


def _damage(data: bytes) -> str:
    """What is wrong with UTF-8 that is damaged in a few places, or stands beside another encoding; empty for others.

    A text in another encoding has next to no characters of several bytes that are valid in UTF-8 by chance.
    """
    valid = sum(map(len, _UTF8_CHARACTERS.findall(data)))
    wrong = sum(byte > 127 for byte in data) - valid
    if not wrong or valid < _FEWEST_VALID:
        return ""
    prefix = _UTF8_PREFIX.match(data)
    first = prefix.end() if prefix else 0
    if _CUT.fullmatch(data, first):
        return f"is UTF-8, but cut within its last character (byte {first})"
    if valid >= _MOSTLY * wrong:
        return f"is UTF-8, but for {wrong} byte(s), the first of which is byte {first} (0x{data[first]:02x})"
    run = _UTF8_RUN.search(data)
    if run is None:
        return ""
    at = f"its bytes {run.start()} to {run.end()} are UTF-8 (“{run[0].decode()[:_AROUND]}…”)"
    return f"is not UTF-8 (byte {first}, 0x{data[first]:02x}), but {at}, as of two files put together"


def mark_of(data: bytes) -> str | None:
    """The encoding of the byte order mark that the data begin with."""
    for mark, codec in _MARKS:
        if data.startswith(mark) and not (codec == "utf-32" and len(data) % 4):
            return codec
    return None


def unmarked_unicode(data: bytes) -> str | None:
    """``utf-16-le`` or another encoding of characters of 2 or 4 bytes that is the only one to give a text.

    Asked of what is no text in UTF-8. The signs are zero bytes; many control bytes (the high halves of the letters of
    one script); or, as what is read, Japanese syllables.
    """
    utf8 = _is_utf8(data)
    if utf8 and not (data.isascii() and _CONTROL_BYTES.search(data)):
        return None
    head = data[:_LOOKED_AT]
    controls = len(_CONTROL_BYTES.findall(head)) / max(len(head), 1)
    if b"\0" in data:
        sure = not utf8 or controls >= _MANY or max(map(_low_bytes, (head[::2], head[1::2]))) >= _MANY
    else:
        sure = len(data) >= _FEWEST and controls >= _MANY
    if not sure and (utf8 or b"\0" in data or len(data) < _FEWEST):
        return None
    codec = _only_reading(data)
    return codec if codec and (sure or _is_japanese(data.decode(codec))) else None


def _only_reading(data: bytes) -> str | None:
    """The one of the unmarked encodings that gives a text, or one of far fewer scripts than the others."""
    ranked = _readings(data)
    # The letters of a text are of a few scripts: with the bytes in the wrong order they are of many.
    names = list(ranked)
    if len(names) > 1 and 1.5 * ranked[names[0]] > ranked[names[1]]:
        return None
    return names[0] if names else None


def _readings(data: bytes) -> dict[str, int]:
    """The unmarked encodings that give a text → its blocks of 256 characters, the fewest first."""
    blocks: dict[str, int] = {}
    for codec in _UNMARKED:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        sample = text[:_LOOKED_AT]
        odd = sum(unicodedata.category(letter) in ("Cn", "Co", "Cs") for letter in sample)
        if not not_a_text(text) and odd * _RARE <= len(sample):
            blocks[codec] = len({ord(letter) >> 8 for letter in sample})
    return dict(sorted(blocks.items(), key=lambda one: one[1]))


def _low_bytes(data: bytes) -> float:
    """The share of bytes that are the high halves of alphabets, of spaces and of line ends."""
    return sum(byte < 0x20 for byte in data) / max(len(data), 1)


def _is_japanese(text: str) -> bool:
    """Whether every fourth character is a kana, of those whose low halves are no ASCII too."""
    kana = [letter for letter in text if "\u3041" <= letter <= "\u30ff"]
    return 4 * len(kana) >= len(text) and 16 * sum(letter >= "\u3080" for letter in kana) >= len(kana)


def unicode_stream(path: Path) -> IO[bytes]:
    """A file as UTF-8, for reading line by line: UTF-16 and UTF-32 are converted, everything else is as it is."""
    stream = path.open("rb")
    head = stream.read(_LOOKED_AT)
    codec = mark_of(head) or unmarked_unicode(head)
    if codec in (None, "utf-8-sig"):
        stream.seek(0)
        return stream
    with stream:
        data = head + stream.read()
    try:
        return io.BytesIO(data.decode(codec).encode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return io.BytesIO(data)  # each line is then refused


def is_text_encoding(name: str) -> bool:
    """Whether Python knows the encoding, and texts are encoded by it (``rot13`` and ``zip`` are no such)."""
    try:
        return bool(codecs.lookup(name)._is_text_encoding) and isinstance("a".encode(name), bytes)
    except (LookupError, UnicodeError, ValueError):
        return False


def _is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8 up to a last character, which may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _checked(text: str) -> str:
    if reason := not_a_text(text):
        raise NotText(reason)
    return text


def not_a_text(text: str) -> str:
    """Why the characters are no text: a NUL, or more than a few control characters."""
    text = text.removesuffix("\x1a")
    found = list(islice(_CONTROLS.finditer(text), 1 + len(text) // _RARE))
    nul = text.find("\0")
    if nul >= 0 or len(found) > len(text) // _RARE:
        at = nul if nul >= 0 else found[0].start()
        return f"holds the control character U+{ord(text[at]):04X} (character {at})"
    return ""


def _seven_bit(data: bytes) -> str:
    return next((f"looks like {name}, not like UTF-8" for name in _seven_bit_names(data)), "")


def _seven_bit_names(data: bytes) -> list[str]:
    found = [name for name, sign in _SEVEN_BIT if sign.search(data)]
    if not found and data.isascii() and _UTF7_RUN.search(data):
        hidden = [letter for letter in _shifted(data, "utf-7") if ord(letter) > 127]
        if len(hidden) >= _FEWEST_HIDDEN and not any(unicodedata.category(one) in ("Cn", "Co", "Cs") for one in hidden):
            found.append("utf-7")
    return found


def _at(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start] if error.start < len(error.object) else 0
    return f"byte {error.start} (0x{byte:02x}) is not valid"


def _guess(data: bytes) -> str:
    """What the data may be, with a few letters as they would then be read."""
    first = next((place for place, byte in enumerate(data) if byte > 127), 0)
    start = max(0, first - _LOOKED_AT // 2) // 4 * 4  # no character of UTF-16 or UTF-32 is cut
    part = data[start : first + _LOOKED_AT // 2]
    names = _seven_bit_names(data)
    if not names:
        binary = b"\0" in data or len(_CONTROL_BYTES.findall(data, 0, _LOOKED_AT)) * 20 > len(data[:_LOOKED_AT])
        names = [] if binary else _legacy_names(part)
        names += _wide_names(data, alone=not names)
    read: list[str] = []
    texts: list[str] = []
    for name in names:
        text = part.decode(name, "ignore")
        if text in texts:
            continue
        texts.append(text)
        at = next((place for place, letter in enumerate(text) if ord(letter) > 127), 0)
        read.append(f"as {name} “{' '.join(text[max(0, at - _AROUND) : at + _AROUND].split())}”")
    return f"; it would read {', '.join(read)}" if read else ""


def _legacy_names(part: bytes) -> list[str]:
    from charset_normalizer import from_bytes

    best = from_bytes(part).best()
    if best is None:
        return []
    text = part.decode("cp1252", "replace")
    western = all(letter.isalpha() or letter in _WESTERN for letter in text if ord(letter) > 127)
    alike = len(part.decode(best.encoding, "ignore")) == len(part)  # one byte a letter
    return list(dict.fromkeys([*(["cp1252"] if western and alike else []), best.encoding]))


def _wide_names(data: bytes, *, alone: bool) -> list[str]:
    """The readings in UTF-16 or UTF-32, likeliest first; unless they stand ``alone``, only one whose letters are of few
    scripts."""
    names = list(_readings(data)) if len(data) >= _FEWEST else []
    if alone or not names:
        return names
    letters = [ord(letter) for letter in data.decode(names[0])[:_LOOKED_AT]]
    few = 1.5 * len({letter >> 8 for letter in letters}) <= len({letter & 255 for letter in letters})
    return names[:1] if few else []
