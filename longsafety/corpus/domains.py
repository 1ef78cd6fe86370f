"""Whether a passage is legal or medical prose, by its words (English and Chinese). Our design, a rule of thumb."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import yaml

from longsafety.samples.language import HAN

Domain = Literal["law", "medicine"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)
PROSE: dict[Domain, str] = {"law": "legal prose", "medicine": "medical prose"}
"""What messages call the passages of a domain."""
LEAST = 5
"""So many different words of a domain make a passage one of it. A passage has up to 512 tokens."""
_WORD, _HAN = re.compile(r"[a-z]+"), re.compile(f"[{HAN}]")


def domains_of(text: str) -> list[Domain]:
    """The domains of a passage: none, for most texts."""
    words, chinese = set(_WORD.findall(text.lower())), bool(_HAN.search(text))
    return [
        domain
        for domain in DOMAINS
        if len(words & _words(domain, "en")) + (chinese and sum(word in text for word in _words(domain, "zh"))) >= LEAST
    ]


@cache
def _words(domain: Domain, language: str) -> frozenset[str]:
    """``domains.yaml``."""
    words = yaml.safe_load(Path(__file__).with_name("domains.yaml").read_text("utf-8"))
    return frozenset(words[domain][language].split())
