"""Near-duplicates: texts that have most of their short runs of words (in Chinese: characters) in common. Our design.

Exact, because requests are short; the audit's MinHash compares runs of five words of documents.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from longsafety.scenarios.teacher.validate import plain

_LIMIT = 0.5
"""Share of the runs of two texts together that both have (Jaccard) from which on they are near-duplicates."""
_RUN = {"en": 2, "zh": 3}
"""Words, or characters, of a run."""


def shingles(text: str, language: str) -> frozenset[str]:
    """The runs of a text; of a shorter text the text itself."""
    units = list(plain(text)) if language == "zh" else [word for word in map(plain, text.split()) if word]
    size = _RUN[language]
    joint = "" if language == "zh" else " "
    return frozenset(joint.join(units[at : at + size]) for at in range(max(len(units) - size + 1, 1)))


def alike(one: str, other: str, language: str) -> bool:
    """Whether two texts are near-duplicates."""
    mine, theirs = shingles(one, language), shingles(other, language)
    return len(mine & theirs) >= _LIMIT * len(mine | theirs)


class Seen:
    """Texts that are there already."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts: list[frozenset[str]] = []
        self._holding: dict[str, list[int]] = defaultdict(list)

    def add(self, text: str) -> None:
        found = shingles(text, self.language)
        for run in found:
            self._holding[run].append(len(self._texts))
        self._texts.append(found)

    def has(self, text: str) -> bool:
        """Whether the text is a near-duplicate of one that was added."""
        found = shingles(text, self.language)
        shared = Counter(number for run in found for number in self._holding.get(run, ()))
        return any(both >= _LIMIT * (len(found) + len(self._texts[at]) - both) for at, both in shared.items())
