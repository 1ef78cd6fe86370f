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
_LOOKED_AT = 20_000
_FEWEST = 32
"""Bytes from which on control bytes alone, without a zero byte, are a sign of UTF-16."""
_RARE = 1000
"""A text has at most one control character in so many."""
_AROUND = 12
_WESTERN = "“”„‘’‚–—…«»€£§©®°·¿¡\xa0"


class NotText(ValueError):
    """Bytes that are no text in Unicode; the message says why, and what they may be."""


def decode(data: bytes, encoding: str | None = None) -> str:
    """The text of a whole file.

    UTF-8, UTF-16 and UTF-32 with a byte order mark; UTF-8 without; UTF-16 and UTF-32 without, where only one of them
    gives a text. Everything else is read as ``encoding``. Raises NotText where that is not given or does not fit.
    """
    marked = mark_of(data)
    if marked:
        try:
            return _checked(data.decode(marked))
        except UnicodeDecodeError as error:
            raise NotText(f"begins with the mark of {marked[:6].upper()}, but {_at(error)}") from None
    reason = ""
    try:
        text = data.decode("utf-8")
        reason = not_a_text(text) or _seven_bit(data)
        if not reason:
            return text.removesuffix("\x1a")  # DOS ends a file with it
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8: {_at(error)}"
    if unmarked := unmarked_unicode(data):
        return data.decode(unmarked)
    if encoding is None:
        raise NotText(f"{reason}{_guess(data)}")
    try:
        return _checked(data.decode(encoding).removesuffix("\x1a"))
    except (UnicodeError, NotText) as error:
        where = _at(error) if isinstance(error, UnicodeDecodeError) else str(error)
        raise NotText(f"{reason}, and not {encoding} either: {where}") from None


def mark_of(data: bytes) -> str | None:
    """The encoding of the byte order mark that the data begin with."""
    for mark, codec in _MARKS:
        if data.startswith(mark) and not (codec == "utf-32" and len(data) % 4):
            return codec
    return None


def unmarked_unicode(data: bytes) -> str | None:
    """``utf-16-le`` or another encoding of characters of 2 or 4 bytes that is the only one to give a text.

    Zero bytes are the sign of them, or many control bytes (the high halves of the letters of one script).
    """
    controls = len(_CONTROL_BYTES.findall(data, 0, _LOOKED_AT)) / max(min(len(data), _LOOKED_AT), 1)
    utf8 = _is_utf8(data)
    if (utf8 and not data.isascii()) or (controls < 0.25 and (utf8 or b"\0" not in data)):
        return None
    if b"\0" not in data and len(data) < _FEWEST:
        return None
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
    ranked = sorted(blocks, key=lambda codec: blocks[codec])
    # The letters of a text are of a few scripts: with the bytes in the wrong order they are of many.
    if len(ranked) > 1 and 1.5 * blocks[ranked[0]] > blocks[ranked[1]]:
        return None
    return ranked[0] if ranked else None


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
    try:
        data.decode("utf-8")
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
    return next((f"looks like {name}, not like UTF-8" for name, sign in _SEVEN_BIT if sign.search(data)), "")


def _at(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start] if error.start < len(error.object) else 0
    return f"byte {error.start} (0x{byte:02x}) is not valid"


def _guess(data: bytes) -> str:
    """What the data may be, with a few letters as they would then be read."""
    from charset_normalizer import from_bytes

    names = [name for name, sign in _SEVEN_BIT if sign.search(data)]
    if not names and (b"\0" in data or len(_CONTROL_BYTES.findall(data, 0, _LOOKED_AT)) * 20 > len(data[:_LOOKED_AT])):
        return ""
    first = next((place for place, byte in enumerate(data) if byte > 127), 0)
    part = data[max(0, first - _LOOKED_AT // 2) : first + _LOOKED_AT // 2]
    best = None if names else from_bytes(part).best()
    if best is not None:
        text = part.decode("cp1252", "replace")
        western = all(letter.isalpha() or letter in _WESTERN for letter in text if ord(letter) > 127)
        alike = len(part.decode(best.encoding, "ignore")) == len(part)  # one byte a letter
        names += dict.fromkeys([*(["cp1252"] if western and alike else []), best.encoding])
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
