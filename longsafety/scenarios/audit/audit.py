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
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.licence import strictest
from longsafety.samples.recipe import Sample, is_made
from longsafety.samples.store import TokenStore
from longsafety.scenarios.audit.copies import copies
from longsafety.scenarios.audit.integrity import checked, facts_of
from longsafety.scenarios.audit.overlap import NGRAM_TOKENS, SHOWN, NearDuplicates, near_duplicates, shared_ngrams
from longsafety.scenarios.audit.tally import Tally
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
    """Audits both splits, in which twins stand behind their item. ``gate``: what was measured of the benchmark's words.

    Raises ``DataError`` for a needle that the rendered context lacks, and for twins that differ from their item in
    what they should not, or do not in what they should.
    """
    store = encoder.store
    wrong: list[str] = []
    tallies = {"train": Tally(corpus_licence), "bench": Tally(corpus_licence)}
    with _without_collecting():
        for split, samples in (("train", train), ("bench", bench)):
            for fact, found in checked(facts_of(samples, store)):
                tallies[split].add(fact)
                wrong += [found] if found else []
    if wrong:
        shown = "; ".join(wrong[:_NAMED_VIOLATIONS])
        more = f"; and {len(wrong) - _NAMED_VIOLATIONS} more" if len(wrong) > _NAMED_VIOLATIONS else ""
        raise DataError(f"audit: {len(wrong)} twin(s) differ in what they should not: {shown}{more}; build again")
    edges, lengths = _lengths(tallies)
    licence_counts = dict(_sum(tally.licences for tally in tallies.values()).most_common())
    literals = tallies["train"].literals.copy()
    for text, name in tallies["bench"].literals.items():
        literals.setdefault(text, name)
    kinds = _sum(tally.kinds for tally in tallies.values())
    return Audit(
        sizes=_sizes(tallies),
        length_edges=edges,
        lengths=lengths,
        coverage=_coverage(tallies),
        needles={
            "contexts": sum(tally.contexts for tally in tallies.values()),
            "needles": sum(tally.needles for tally in tallies.values()),
        },
        overlap=_overlap(tallies, store),
        exact_duplicates=[_exact_duplicates(split, tally) for split, tally in tallies.items()],
        near_duplicates={
            "literals": _near(near_duplicates((name, text) for text, name in literals.items())),
            "documents": _near(
                near_duplicates(
                    (name, store.text(number, 0, store.num_tokens(number)))
                    for number, name in enumerate(store.ids)
                    if not is_made(name)
                )
            ),
        },
        reuse=_reuse(_sum(tally.uses for tally in tallies.values()), store),
        twins={kind: kinds[kind] for kind in TWINS},
        licences=licence_counts,
        strictest_licence=strictest(licence_counts),
        languages=[
            {"split": split, "query": query, "context": context, "samples": count}
            for split, tally in tallies.items()
            for (query, context), count in tally.languages.items()
        ],
        gate=gate,
        copies=[{"split": split} | row for split, tally in tallies.items() for row in copies(tally.asked)],
    )


def _sum(counts: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counts, Counter[str]())


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


def _sizes(tallies: Mapping[str, Tally]) -> Rows:
    rows: Rows = []
    for split, tally in tallies.items():
        for (task, scenario, kind), found in tally.tokens.items():
            tokens = np.array(found)
            within, of = tally.at_target[task, scenario, kind]
            row: dict[str, Any] = {"split": split, "task": task, "scenario": scenario, "kind": kind}
            row |= {"samples": len(tokens), "tokens": int(tokens.sum()), "min": int(tokens.min())}
            row |= {"mean": float(tokens.mean()), "median": float(np.median(tokens)), "max": int(tokens.max())}
            row["at_target"] = within / of if of else None
            rows.append(row)
    return rows


def _lengths(tallies: Mapping[str, Tally]) -> tuple[list[int], Rows]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for split, tally in tallies.items():
        for (task, _, kind), tokens in tally.tokens.items():
            if kind not in TWINS:
                groups[split, task].extend(tokens)
    longest = max((length for lengths in groups.values() for length in lengths), default=0)
    edges = [step * (longest // _BINS + 1) for step in range(_BINS + 1)]
    return edges, [
        {"split": split, "task": task, "counts": [int(count) for count in np.histogram(lengths, edges)[0]]}
        for (split, task), lengths in groups.items()
    ]


def _coverage(tallies: Mapping[str, Tally]) -> Rows:
    return [
        {"split": split, "depth": tenth / 10, "max_tokens": bound, "needles": count}
        for split, tally in sorted(tallies.items())
        for (tenth, bound), count in sorted(tally.coverage.items())
    ]


def _overlap(tallies: Mapping[str, Tally], store: TokenStore) -> dict[str, Any]:
    numbers = {name: number for number, name in enumerate(store.ids)}
    documents = {split: sorted(numbers[name] for name in tally.documents) for split, tally in tallies.items()}
    ngrams = shared_ngrams(store, documents["train"], documents["bench"])

    def shared(train: set[str], bench: set[str]) -> dict[str, Any]:
        both = sorted(train & bench)
        return {"train": len(train), "bench": len(bench), "shared": len(both), "examples": both[:SHOWN]}

    corpus = {split: {name for name in tally.documents if not is_made(name)} for split, tally in tallies.items()}
    names = ("split", "document", "shared", "ngrams")
    return {
        "documents": shared(corpus["train"], corpus["bench"]),
        "seeds": shared(tallies["train"].seeds, tallies["bench"].seeds),
        "ngrams": {
            "tokens": NGRAM_TOKENS,
            "bench": ngrams.bench,
            "shared": ngrams.shared,
            "share": ngrams.shared / max(ngrams.bench, 1),
            "documents": [dict(zip(names, row, strict=True)) for row in ngrams.documents],
        },
    }


def _exact_duplicates(split: str, tally: Tally) -> dict[str, Any]:
    samples = sum(asked.copies.total() for asked in tally.asked.values())
    repeated = sorted(tally.repeated.values(), key=len, reverse=True)
    return {"split": split, "samples": samples, "duplicates": samples - len(tally.harmful), "groups": repeated[:SHOWN]}


def _near(found: NearDuplicates) -> dict[str, Any]:
    return {"compared": found.compared, "near": found.near, "pairs": [list(pair) for pair in found.pairs]}


def _reuse(found: Counter[str], store: TokenStore) -> dict[str, Any]:
    uses = Counter({name: count for name, count in found.items() if not is_made(name)})
    documents = sum(not is_made(name) for name in store.ids)
    return {
        "documents": documents,
        "used": len(uses),
        "share": len(uses) / max(documents, 1),
        "mean": uses.total() / max(len(uses), 1),
        "max": max(uses.values(), default=0),
        "top": [{"document": name, "uses": count} for name, count in uses.most_common(SHOWN)],
    }
