"""Full-width marks at which a tokenizer splits: seams of scripts that write no spaces."""

from __future__ import annotations

import json
import re
from typing import Any

MARKS = "，。！？；：、（《“"


def splits_at_marks(core: Any) -> bool:
    """Whether no token can hold a letter and a full-width mark after it.

    Either the pre-tokenizer splits there, or (SentencePiece) the vocabulary has no such piece. A vocabulary proves
    nothing if its pieces are not the text's own characters: bytes, or a normalizer (NFKC) that replaces marks.
    """
    if core.normalizer is not None and MARKS not in core.normalizer.normalize_str(f"字{MARKS}字"):
        return False
    if core.pre_tokenizer is not None:
        split = core.pre_tokenizer.pre_tokenize_str
        samples = [f"{letters}{mark}字" for mark in MARKS for letters in ("字字", "ab")]
        if all(2 in {start for _, (start, _) in split(sample)} for sample in samples):
            return True
    state = json.loads(core.to_str())
    if state["model"]["type"] not in ("BPE", "Unigram") or "ByteLevel" in json.dumps(state["decoder"]):
        return False
    crossing = re.compile(f"[^\\W\\d_][{MARKS}]")
    return not any(crossing.search(piece) for piece in core.get_vocab())
