"""The audit of a build: what lies in it, and whether it is what it should be; plain tables, nothing is drawn here."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longsafety.errors import DataError
from longsafety.files import write_text
from longsafety.samples.depth import depth_bins
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.licence import licences, strictest
from longsafety.samples.recipe import Sample, is_made
from longsafety.samples.store import TokenStore
from longsafety.scenarios.assemble import SLACK
from longsafety.scenarios.audit.copies import copies
from longsafety.scenarios.audit.integrity import Fact, facts_of, violations
from longsafety.scenarios.audit.overlap import NGRAM_TOKENS, SHOWN, NearDuplicates, near_duplicates, shared_ngrams
from longsafety.vocabulary import TWINS

Rows = list[dict[str, Any]]
_BINS = 40
_NAMED_VIOLATIONS = 20


@dataclass(frozen=True)
class Audit:
    """Tables of a build, all JSON-able; lengths are in tokens of the rendered chat."""

    sizes: Rows
    """A row a split, task and kind: split, task, scenario, kind, samples, tokens, min, mean, median, max, and
    at_target: the share with at most the target and at most 4 tokens less (None where the length is free, and for
    twins: these take their item's context, with a question of their own)."""
    length_edges: list[int]
    lengths: Rows
    """A row a split and task: split, task, counts between the ``length_edges`` (twins left out)."""
    coverage: Rows
    """The needles of harmful items: split, depth (lower edge of a bin of 0.1, which holds its upper one), max_tokens
    (the power of two that the length does not exceed), needles."""
    needles: dict[str, int]
    """contexts rendered, needles found in them (all, or there is no audit)."""
    overlap: dict[str, Any]
    """documents, seeds: {train, bench, shared, examples}; ngrams: {tokens, bench, shared, share, documents}."""
    exact_duplicates: Rows
    """A row a split: split, samples (harmful), duplicates (of an earlier one), groups (ids; the largest)."""
    near_duplicates: dict[str, dict[str, Any]]
    """literals, documents: {compared, near, pairs}."""
    reuse: dict[str, Any]
    """Documents of the corpus in contexts (twins left out): documents, used, share, mean, max, top."""
    twins: dict[str, int]
    """Kind → twins that were compared with their harmful item (all as they should be, or there is no audit)."""
    licences: dict[str, int]
    """Licence → samples that have a part of it."""
    strictest_licence: str
    languages: Rows
    """split, query, context (of most of its document tokens; empty without documents), samples."""
    gate: Rows
    """What words alone tell of the benchmark's items (:func:`longsafety.scenarios.audit.gate.gate`)."""
    copies: Rows
    """By split and task, how often the same is asked (:func:`longsafety.scenarios.audit.copies.copies`)."""

    def save(self, path: Path) -> None:
        """Writes one JSON file, whole or not at all."""
        write_text(path, json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False))

    @classmethod
    def load(cls, path: Path) -> Audit:
        """Reads what ``save`` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))


def audit(
    train: Sequence[Sample],
    bench: Sequence[Sample],
    encoder: ChatEncoder,
    *,
    corpus_licence: str,
    gate: Rows,
) -> Audit:
    """Audits both splits. ``gate``: what was measured of the benchmark's words.

    Raises ``DataError`` for a needle that the rendered context lacks, and for twins that differ from their item in
    what they should not, or do not in what they should.
    """
    store = encoder.store
    with _without_collecting():
        facts = {"train": list(facts_of(train, store)), "bench": list(facts_of(bench, store))}
    everything = [fact for split in facts.values() for fact in split]
    wrong = [violation for split in facts.values() for violation in violations(split)]
    if wrong:
        shown = "; ".join(wrong[:_NAMED_VIOLATIONS])
        more = f"; and {len(wrong) - _NAMED_VIOLATIONS} more" if len(wrong) > _NAMED_VIOLATIONS else ""
        raise DataError(f"audit: {len(wrong)} twin(s) differ in what they should not: {shown}{more}; build again")
    edges, lengths = _lengths(facts)
    needled = [fact for fact in everything if fact.rendered]
    licence_counts = _licences(everything, corpus_licence)
    return Audit(
        sizes=_sizes(facts),
        length_edges=edges,
        lengths=lengths,
        coverage=_coverage(facts),
        needles={"contexts": len(needled), "needles": sum(len(fact.needles) for fact in needled)},
        overlap=_overlap(facts, store),
        exact_duplicates=[_exact_duplicates(split, found) for split, found in facts.items()],
        near_duplicates={
            "literals": _near(near_duplicates(_literals(everything))),
            "documents": _near(
                near_duplicates(
                    (name, store.text(number, 0, store.num_tokens(number)))
                    for number, name in enumerate(store.ids)
                    if not is_made(name)
                )
            ),
        },
        reuse=_reuse(everything, store),
        twins={kind: sum(fact.kind == kind for fact in everything) for kind in TWINS},
        licences=licence_counts,
        strictest_licence=strictest(licence_counts),
        languages=_languages(facts),
        gate=gate,
        copies=[
            {"split": split} | row for split, found in (("train", train), ("bench", bench)) for row in copies(found)
        ],
    )


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Samples have no cycles, and collecting among millions of spans takes longer than reading them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _sizes(facts: Mapping[str, Sequence[Fact]]) -> Rows:
    groups: dict[tuple[str, str, str, str], list[Sample]] = defaultdict(list)
    for split, found in facts.items():
        for fact in found:
            groups[split, fact.sample.task, fact.sample.scenario, fact.kind].append(fact.sample)
    rows: Rows = []
    for key, samples in groups.items():
        tokens = np.array([sample.num_tokens for sample in samples])
        fitted = [] if key[-1] in TWINS else [sample for sample in samples if sample.target_tokens]
        short_of = [sample.target_tokens - sample.num_tokens for sample in fitted]
        row: dict[str, Any] = dict(zip(("split", "task", "scenario", "kind"), key, strict=True))
        row |= {"samples": len(samples), "tokens": int(tokens.sum()), "min": int(tokens.min())}
        row |= {"mean": float(tokens.mean()), "median": float(np.median(tokens)), "max": int(tokens.max())}
        row["at_target"] = sum(0 <= short <= SLACK for short in short_of) / len(short_of) if short_of else None
        rows.append(row)
    return rows


def _lengths(facts: Mapping[str, Sequence[Fact]]) -> tuple[list[int], Rows]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for split, found in facts.items():
        for fact in found:
            if fact.is_item:
                groups[split, fact.sample.task].append(fact.sample.num_tokens)
    longest = max((length for lengths in groups.values() for length in lengths), default=0)
    edges = [step * (longest // _BINS + 1) for step in range(_BINS + 1)]
    return edges, [
        {"split": split, "task": task, "counts": [int(count) for count in np.histogram(lengths, edges)[0]]}
        for (split, task), lengths in groups.items()
    ]


def _coverage(facts: Mapping[str, Sequence[Fact]]) -> Rows:
    counts: Counter[tuple[str, float, int]] = Counter()
    for split, found in facts.items():
        for fact in found:
            if fact.kind == "harmful":
                bound = 1 << max(fact.sample.num_tokens - 1, 0).bit_length()
                counts.update((split, int(tenth) / 10, bound) for tenth in depth_bins(fact.depths, 10))
    names = ("split", "depth", "max_tokens", "needles")
    return [dict(zip(names, (*key, count), strict=True)) for key, count in sorted(counts.items())]


def _overlap(facts: Mapping[str, Sequence[Fact]], store: TokenStore) -> dict[str, Any]:
    used = {split: {name for fact in found for name in fact.sample.documents} for split, found in facts.items()}
    seeds = {split: {fact.sample.seed_id for fact in found} - {""} for split, found in facts.items()}
    numbers = {name: number for number, name in enumerate(store.ids)}
    documents = {split: sorted(numbers[name] for name in names) for split, names in used.items()}
    ngrams = shared_ngrams(store, documents["train"], documents["bench"])

    def shared(train: set[str], bench: set[str]) -> dict[str, Any]:
        both = sorted(train & bench)
        return {"train": len(train), "bench": len(bench), "shared": len(both), "examples": both[:SHOWN]}

    corpus = {split: {name for name in names if not is_made(name)} for split, names in used.items()}
    names = ("split", "document", "shared", "ngrams")
    return {
        "documents": shared(corpus["train"], corpus["bench"]),
        "seeds": shared(seeds["train"], seeds["bench"]),
        "ngrams": {
            "tokens": NGRAM_TOKENS,
            "bench": ngrams.bench,
            "shared": ngrams.shared,
            "share": ngrams.shared / max(ngrams.bench, 1),
            "documents": [dict(zip(names, row, strict=True)) for row in ngrams.documents],
        },
    }


def _exact_duplicates(split: str, facts: Sequence[Fact]) -> dict[str, Any]:
    groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for fact in facts:
        if fact.kind == "harmful":
            groups[fact.filler, fact.needles, fact.sample.question, fact.sample.history].append(fact.sample.id)
    repeated = sorted((ids for ids in groups.values() if len(ids) > 1), key=len, reverse=True)
    samples = sum(len(ids) for ids in groups.values())
    return {"split": split, "samples": samples, "duplicates": samples - len(groups), "groups": repeated[:SHOWN]}


def _literals(facts: Iterable[Fact]) -> Iterator[tuple[str, str]]:
    """Each question with its answer once, under the id of the first sample that has it."""
    first: dict[str, str] = {}
    for fact in facts:
        if fact.kind == "harmful":
            first.setdefault(f"{fact.sample.question}\n{fact.sample.answer}", fact.sample.id)
    return ((name, text) for text, name in first.items())


def _near(found: NearDuplicates) -> dict[str, Any]:
    return {"compared": found.compared, "near": found.near, "pairs": [list(pair) for pair in found.pairs]}


def _reuse(facts: Iterable[Fact], store: TokenStore) -> dict[str, Any]:
    uses = Counter(name for fact in facts if fact.is_item for name in fact.sample.documents if not is_made(name))
    documents = sum(not is_made(name) for name in store.ids)
    return {
        "documents": documents,
        "used": len(uses),
        "share": len(uses) / max(documents, 1),
        "mean": uses.total() / max(len(uses), 1),
        "max": max(uses.values(), default=0),
        "top": [{"document": name, "uses": count} for name, count in uses.most_common(SHOWN)],
    }


def _licences(facts: Iterable[Fact], corpus_licence: str) -> dict[str, int]:
    """Samples by the licences of their parts: what a seed item or an imported row brought, and documents."""
    counts: Counter[str] = Counter()
    for fact in facts:
        counts.update(set(licences(fact.sample, corpus_licence).values()))
    return dict(counts.most_common())


def _languages(facts: Mapping[str, Sequence[Fact]]) -> Rows:
    counts = Counter(
        (split, fact.sample.language, fact.context_language) for split, found in facts.items() for fact in found
    )
    return [dict(zip(("split", "query", "context", "samples"), (*key, n), strict=True)) for key, n in counts.items()]
