"""What the audit counts of a split, one sample after the other: counts and hashes, so that a build of any size fits."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from longsafety.samples.depth import depth_bins
from longsafety.samples.licence import licences
from longsafety.samples.recipe import Sample
from longsafety.scenarios.assemble import SLACK
from longsafety.scenarios.audit.integrity import Fact
from longsafety.vocabulary import TWINS

Group = tuple[str, str, str]
"""Task, scenario and kind."""


@dataclass
class Asked:
    """What the items of a task ask. Texts are counted by their 64-bit hashes, which hold in this process only."""

    copies: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Question with its needles, and answer (0: none) → items."""
    seeds: set[str] = field(default_factory=set)
    options: set[int] = field(default_factory=set)
    """Of items that have options."""

    def add(self, sample: Sample) -> None:
        """Counts an item."""
        question = hash((sample.question, sample.needle_texts))
        self.copies[question, hash(sample.answer) if sample.answer else 0] += 1
        self.seeds.add(sample.seed_id)
        if sample.choices:
            self.options.add(hash(sample.choices))


@dataclass
class Tally:
    """Of one split. Lengths are in tokens of the rendered chat."""

    corpus_licence: str
    tokens: dict[Group, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("q")))
    at_target: dict[Group, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    """Items with a target: those that have at most ``SLACK`` tokens less, and all."""
    coverage: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Tenth of the depth, and the power of two that the length does not exceed → needles of harmful items."""
    contexts: int = 0
    """Rendered to look for needles."""
    needles: int = 0
    """Found in them."""
    documents: dict[str, None] = field(default_factory=dict)
    """In any sample's context, each once, in the order of their use."""
    uses: Counter[str] = field(default_factory=Counter)
    """Document → contexts that it is in, twins' left out."""
    seeds: set[str] = field(default_factory=set)
    harmful: dict[int, str] = field(default_factory=dict)
    """Hash of all that an item asks and shows → the first such item."""
    repeated: dict[int, list[str]] = field(default_factory=dict)
    """The same, with all of them, where they are several."""
    literals: dict[str, str] = field(default_factory=dict)
    """Question with its answer → the first harmful item that has them."""
    kinds: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    languages: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of the query, and of most of the context → samples."""
    asked: dict[str, Asked] = field(default_factory=lambda: defaultdict(Asked))

    def add(self, fact: Fact) -> None:
        """Counts a sample."""
        sample = fact.sample
        group = sample.task, sample.scenario, sample.kind
        self.tokens[group].append(sample.num_tokens)
        if sample.target_tokens and sample.kind not in TWINS:
            self.at_target[group][0] += 0 <= sample.target_tokens - sample.num_tokens <= SLACK
            self.at_target[group][1] += 1
        if fact.rendered:
            self.contexts += 1
            self.needles += len(fact.needles)
        self.documents.update(dict.fromkeys(sample.documents))
        if fact.is_item:
            self.uses.update(sample.documents)
        if sample.seed_id:
            self.seeds.add(sample.seed_id)
        self.kinds[sample.kind] += 1
        self.licences.update(sorted(set(licences(sample, self.corpus_licence).values())))
        self.languages[sample.language, fact.context_language] += 1
        if sample.kind == "harmful":
            self._add_harmful(fact)

    def _add_harmful(self, fact: Fact) -> None:
        sample = fact.sample
        self.asked[sample.task].add(sample)
        bound = 1 << max(sample.num_tokens - 1, 0).bit_length()
        self.coverage.update((int(tenth), bound) for tenth in depth_bins(fact.depths, 10))
        self.literals.setdefault(f"{sample.question}\n{sample.answer}", sample.id)
        key = hash((fact.filler, fact.needles, sample.question, sample.history))
        if key in self.harmful:
            self.repeated.setdefault(key, [self.harmful[key]]).append(sample.id)
        else:
            self.harmful[key] = sample.id
