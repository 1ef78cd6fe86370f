"""The data mix of an arm: its training samples, their order, and a table of its sources."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longsafety.errors import DataError
from longsafety.samples.licence import licences, strictest
from longsafety.samples.recipe import Sample, SampleFile
from longsafety.settings import DataMix, Source
from longsafety.vocabulary import BENIGN_TWINS

_KINDS: Mapping[str, tuple[str, ...]] = {
    "longsafety": ("harmful",),
    "longsafety_short": ("short",),
    "benign_twins": BENIGN_TWINS,
    "benign_short": ("short_benign",),
    "short_safety": ("short_safety",),
    "long_align": ("long_align",),
    "oracle": ("oracle",),
    "chats": ("chat",),
}


@dataclass(frozen=True)
class Mix:
    """The samples of one epoch, in training order, and a table row per source."""

    samples: list[Sample]
    rows: list[dict[str, Any]]
    sources: list[str] = field(default_factory=list)
    """The source of each sample."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What was left out of the user's chats, or changed in them."""


def compose_mix(
    mix: DataMix,
    files: Sequence[SampleFile | list[Sample]],
    answer_tokens: Callable[[Sample], int],
    *,
    licence: str,
    draw_seed: int,
    seed: int,
    chats: Mapping[str, list[Sample]] | None = None,
) -> Mix:
    """Draws every source's share of the budget from the files and shuffles; only what is drawn is read whole.

    ``draw_seed`` draws, ``seed`` shuffles. A source that is named in ``chats`` draws from its own samples there.
    ``answer_tokens`` counts a sample's supervised tokens; ``licence`` is the corpus's. Raises DataError for a source
    with fewer samples than its share: no arm may silently see less data than the others.
    """
    entries = [entry for file in files for entry in _entries(file)]
    chosen: list[tuple[Sample, str]] = []
    rows: list[dict[str, Any]] = []
    share, given = 0.0, 0
    for name, source in mix.sources.items():
        offered = list(_entries(chats[name])) if chats and name in chats else entries
        of_kind = [entry for entry in offered if entry.kind in _KINDS[source.kind]]
        share += source.share
        amount = round(share * mix.budget) - given  # rounds the running sum, so that the parts make the budget
        drawn = _draw(of_kind, amount, mix.budget_unit, answer_tokens, draw_seed)
        supervised = sum(map(answer_tokens, drawn))
        given += amount if mix.budget_unit == "samples" else supervised
        if not drawn:
            raise DataError(
                f"data_mix.sources.{name}: {len(of_kind)} {source.kind} samples do not fill its share "
                f"{source.share:g} of {mix.budget} {mix.budget_unit}; {_advice(source, of_kind, mix, answer_tokens)}"
            )
        chosen += [(sample, name) for sample in drawn]
        rows.append(
            {
                "source": name,
                "samples": len(drawn),
                "tokens": sum(sample.num_tokens for sample in drawn),
                "supervised_tokens": supervised,
                "seeds": len({sample.seed_id or sample.id for sample in drawn}),
                "distinct": len(
                    {
                        (sample.system, sample.question, sample.answer, sample.context, sample.history)
                        for sample in drawn
                    }
                ),
                "share": source.share,
                "licence": strictest({part for sample in drawn for part in licences(sample, licence).values()}),
                "fingerprint": _fingerprint(drawn),
            }
        )
    random.Random(f"{seed}/order").shuffle(chosen)
    return Mix([sample for sample, _ in chosen], rows, [name for _, name in chosen])


@dataclass(frozen=True, slots=True)
class _Entry:
    """A sample that may be drawn, and its place."""

    task: str
    kind: str
    pair_id: str
    id: str
    file: SampleFile | list[Sample]
    index: int

    @property
    def sample(self) -> Sample:
        return self.file[self.index]


def _entries(file: SampleFile | list[Sample]) -> Iterator[_Entry]:
    names = ("task", "kind", "pair_id", "id")
    if isinstance(file, SampleFile):
        columns = [file.column(name) for name in names]
    else:
        columns = [[getattr(sample, name) for sample in file] for name in names]
    for index, values in enumerate(zip(*columns, strict=True)):
        task, kind, pair_id, identity = values
        yield _Entry(task, kind, pair_id, identity, file, index)


def _advice(source: Source, of_kind: list[_Entry], mix: DataMix, answer_tokens: Callable[[Sample], int]) -> str:
    """How a source that is too small for its share can fill it."""
    if source.kind != "chats":
        return "raise scenario.train_samples or lower data_mix.budget"
    held = len(of_kind) if mix.budget_unit == "samples" else sum(answer_tokens(entry.sample) for entry in of_kind)
    return f"add chats to its file, or lower data_mix.budget to {int(held / source.share)} or less"


def _draw(
    entries: list[_Entry], amount: int, unit: str, answer_tokens: Callable[[Sample], int], seed: int
) -> list[Sample]:
    """A seeded draw without repetition, balanced over tasks and kinds; empty if there are too few entries.

    Entries are ranked by pair, so that a source of harmful items and a source of twins draw the same pairs.
    """
    groups: dict[tuple[str, str], list[_Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.task, entry.kind), []).append(entry)
    ranked: list[tuple[float, str, _Entry]] = []
    for members in groups.values():
        members.sort(key=lambda entry: hashlib.sha256(f"{seed}/{entry.pair_id}".encode()).hexdigest())
        ranked += [((rank + 0.5) / len(members), entry.id, entry) for rank, entry in enumerate(members)]
    ranked.sort(key=lambda place: place[:2])
    if unit == "samples":
        return _read([entry for _, _, entry in ranked[:amount]]) if len(ranked) >= amount else []
    drawn: list[Sample] = []
    total = 0
    for _, _, entry in ranked:
        sample = entry.sample
        size = answer_tokens(sample)
        if drawn and abs(total + size - amount) > abs(total - amount):  # without it the sum is nearer
            return drawn
        drawn.append(sample)
        total += size
    return drawn if total >= amount else []


def _read(entries: Sequence[_Entry]) -> list[Sample]:
    """The samples, each read in the order in which it lies."""
    order = sorted(range(len(entries)), key=lambda at: (id(entries[at].file), entries[at].index))
    found = {at: entries[at].sample for at in order}
    return [found[at] for at in range(len(entries))]


def _fingerprint(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: sample.id):
        parts = (sample.id, sample.context, sample.history, sample.goal, sample.question, sample.answer, sample.system)
        digest.update(f"{parts}\n".encode())
    return digest.hexdigest()[:12]
