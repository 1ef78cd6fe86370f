"""Files whose name says text, and whose first bytes say something else: no encoding would make a text of them."""

from __future__ import annotations

from pathlib import Path

_LFS = "a pointer of Git LFS and not the file itself; run git lfs pull in its repository"
_ANNEX = "a pointer of git-annex and not the file itself; run git annex get in its repository"
_SIGNS = {
    b"\x1f\x8b": "a gzip archive; unpack it (gunzip)",
    b"PK\x03\x04": "a zip archive or an Office document; unpack it, or save its text",
    b"PK\x05\x06": "an empty zip archive; give its text",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive; unpack it (unzstd)",
    b"\x04\x22\x4d\x18": "an LZ4 archive; unpack it (unlz4)",
    b"\xfd7zXZ\0": "an xz archive; unpack it (unxz)",
    b"BZh91AY&SY": "a bzip2 archive; unpack it (bunzip2)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it (7z x)",
    b"Rar!\x1a\x07": "a RAR archive; unpack it (unrar x)",
    b"%PDF-": "a PDF; take its text out (pdftotext)",
    b"%!PS": "a PostScript document; take its text out (ps2ascii)",
    b"{\\rtf": "an RTF document; save its text",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Office document; save its text",
    b"PAR1\x15": "a Parquet file; call it .parquet",
    b"ARROW1\0": "an Arrow file; write its rows as .jsonl or .parquet",
    b"SQLite format 3\0": "an SQLite database; write its rows as .jsonl or .parquet",
    b"\x89PNG\r\n": "a PNG image; give its text",
    b"\xff\xd8\xff": "a JPEG image; give its text",
    b"version https://git-lfs.github.com/spec/": _LFS,
    b"version https://hawser.github.com/spec/": _LFS,
    b"/annex/objects/": _ANNEX,
}
_TAR, _TAR_AT = b"ustar", 257
_LONGEST = _TAR_AT + len(_TAR)


def packed(path: Path) -> str:
    """What a file is that is no text, and the fix; empty for others. Raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        head = stream.read(_LONGEST)
    if head[_TAR_AT:] == _TAR:
        return "is a tar archive; unpack it (tar -xf)"
    return next((f"is {what}" for sign, what in _SIGNS.items() if head.startswith(sign)), "")
