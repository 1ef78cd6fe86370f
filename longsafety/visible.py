"""Text of others as it may be shown: what would hide in it, or turn the text around it, is written out."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Control characters but tab and newline, marks of direction, separators of lines, tags, and halves of pairs."""


def visible(text: str) -> str:
    """The text with ``⟨U+202E⟩`` in place of each character that is not seen but acts."""
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", text)
