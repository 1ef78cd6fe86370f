"""What seed items are made of: requests, statements, and passages of documents, each for one split."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from longsafety import settings
from longsafety.corpus.corpus import read_documents
from longsafety.errors import DataError
from longsafety.samples.language import english_or_chinese
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.seeds.user import distinct, own_seeds
from longsafety.scenarios.write_seeds.families import SourceKind

_PASSAGE = {"en": 120, "zh": 240}
"""Words, or characters, of a passage."""
_SENTENCE = {
    "en": re.compile(r"\S[^\n]*?(?:[.!?][\"'”’)]*(?=\s|$)|$)", re.MULTILINE),
    "zh": re.compile(r"[^。！？\s][^。！？\n]*[。！？”]*"),
}


@dataclass(frozen=True)
class Source:
    """One text that seed items are made of."""

    kind: SourceKind
    id: str
    text: str
    split: str
    category: str
    licence: str
    given: Seed | None = None
    """The row that it stands in, where it is one: what the row brings is not written anew."""


@dataclass(frozen=True)
class Sources:
    """All sources; ``counts`` and ``bad`` as of :class:`~longsafety.scenarios.seeds.load.SeedSet`."""

    found: list[Source]
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


def read_sources(wanted: settings.WriteSeeds, language: str, on_bad_row: str) -> Sources:
    """Reads everything that ``write_seeds`` names. Raises DataError for files that cannot be read and for bad rows.

    A row or document belongs to the split that the hash of its text draws (a row's own ``split`` is kept), so it stays
    there when others are added, and no text serves both training and benchmark.
    """
    read = Sources([])
    share = wanted.bench_fraction if wanted.train_items and wanted.bench_items else float(not wanted.train_items)
    rows: tuple[tuple[SourceKind, str | None], ...] = (
        ("requests", wanted.requests),
        ("statements", wanted.statements),
    )
    for kind, path in rows:
        if path is not None:
            read.found.extend(_rows(kind, path, share, language, on_bad_row, read))
    texts: tuple[tuple[SourceKind, str | None], ...] = (
        ("documents", wanted.documents),
        ("harmful_documents", wanted.harmful_documents),
    )
    for kind, path in texts:
        if path is not None:
            read.found.extend(_passages(kind, path, share, language, on_bad_row, wanted.passages_per_document, read))
    return read


def _rows(kind: SourceKind, path: str, share: float, language: str, on_bad_row: str, read: Sources) -> Iterator[Source]:
    bad: list[str] = []
    counts: Counter[str] = Counter()
    seeds = own_seeds(path, language, {""}, {}, counts, bad, f"write_seeds.{kind}")
    if bad and on_bad_row == "error":
        listed = "\n".join([*bad[:20], *([f"and {len(bad) - 20} more bad rows"] if len(bad) > 20 else [])])
        raise DataError(
            f"{listed}\nwrite_seeds.{kind} = {path}: {len(bad)} rows are bad; fix them, or set on_bad_row=skip to "
            "leave them out"
        )
    read.bad.extend(bad)
    read.counts.update({f"{kind}: {name}": count for name, count in counts.items()})
    name = "request" if kind == "requests" else "statement"
    for seed in distinct(seeds, read.counts):
        text = getattr(seed, name)
        if not text:
            read.counts[f"{kind}: rows left out, because they have no {name}"] += 1
            continue
        split = seed.split or _drawn(text, share)
        yield Source(kind, f"{kind}/{seed.id}", text, split, seed.category, seed.licence, seed)


def _passages(
    kind: SourceKind, path: str, share: float, language: str, on_bad_row: str, most: int, read: Sources
) -> Iterator[Source]:
    documents = read_documents(settings.Corpus(source=path, min_words=1), on_bad_row, f"write_seeds.{kind}")
    read.bad.extend(documents.bad)
    read.counts.update({f"{kind}: {name}": count for name, count in documents.counts.items() if count})
    for document in documents.documents:
        if english_or_chinese(document.text) != language:
            read.counts[f"{kind}: documents left out, because they are not in {language}"] += 1
            continue
        split = _drawn(document.text, share)
        cut = list(_cut(document.text, language))
        every = max(len(cut) / most, 1)
        for number in sorted({int(at * every) for at in range(min(most, len(cut)))}):
            name = f"{kind}/{document.id}:{number}"
            yield Source(kind, name, cut[number], split, document.id, documents.licence)


def _cut(text: str, language: str) -> Iterator[str]:
    """Passages of whole sentences."""
    size, joint = _PASSAGE[language], "" if language == "zh" else " "
    sentences = _SENTENCE[language].findall(text)
    part: list[str] = []
    length = 0
    for sentence in sentences:
        part.append(sentence.strip())
        length += len(sentence) if language == "zh" else len(sentence.split())
        if length >= size:
            yield joint.join(part)
            part, length = [], 0
    if length >= size / 4 or (part and len(sentences) == len(part)):
        yield joint.join(part)


def _drawn(text: str, share: float) -> str:
    """``bench`` with a probability of ``share``, by the text's hash."""
    drawn = int(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8], 16) / 0x1_0000_0000
    return "bench" if drawn < share else "train"
