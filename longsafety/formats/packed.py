"""Files whose name says text, and whose first bytes say something else: no encoding would make a text of them."""

from __future__ import annotations

from pathlib import Path

_SIGNS = {
    b"\x1f\x8b": "a gzip archive; unpack it (gunzip)",
    b"PK\x03\x04": "a zip archive or an Office document; unpack it, or save its text",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive; unpack it (unzstd)",
    b"\xfd7zXZ\0": "an xz archive; unpack it (unxz)",
    b"BZh91AY&SY": "a bzip2 archive; unpack it (bunzip2)",
    b"%PDF-": "a PDF; take its text out (pdftotext)",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Office document; save its text",
    b"PAR1\x15": "a Parquet file; call it .parquet",
    b"ARROW1\0": "an Arrow file; write its rows as .jsonl or .parquet",
}
_LONGEST = max(map(len, _SIGNS))


def packed(path: Path) -> str:
    """What a file is that is no text, and the fix; empty for others. Raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        head = stream.read(_LONGEST)
    return next((f"is {what}" for sign, what in _SIGNS.items() if head.startswith(sign)), "")
