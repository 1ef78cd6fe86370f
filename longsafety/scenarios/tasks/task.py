"""What a task is: how it makes an item of a seed, and the options it offers."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count, islice
from typing import Any, ClassVar, Generic, TypeVar

from longsafety.corpus.retrieval import PassageIndex, passages
from longsafety.samples.recipe import Span
from longsafety.samples.store import TokenStore
from longsafety.scenarios.assemble import Draft, Filler
from longsafety.scenarios.seeds import Seed
from longsafety.scenarios.tasks.phrases import texts
from longsafety.vocabulary import BENIGN_ROLES, HARMFUL_ROLES

T = TypeVar("T")

PASSAGE_TOKENS, CHAPTER_TOKENS = 512, 1024


class Shared(Generic[T]):
    """One sequence for several readers, who see the same whoever reads first."""

    def __init__(self, source: Iterator[T]) -> None:
        self._source, self._drawn = source, list[T]()

    def every(self, first: int, step: int) -> Iterator[T]:
        """Members first, first + step, …"""
        for at in count(first, step):
            self._drawn += islice(self._source, max(at + 1 - len(self._drawn), 0))
            if at >= len(self._drawn):
                return
            yield self._drawn[at]

    def every_backwards(self, first: int, step: int) -> Iterator[T]:
        """The same members, the last first."""
        self._drawn += self._source
        yield from self._drawn[first::step][::-1]

    def side(self, own: int) -> Iterator[T]:
        """Every second member, from 0 or 1; where these end, the other half from its end."""
        return chain(self.every(own, 2), self.every_backwards(1 - own, 2))


def shuffled(members: Sequence[T], rng: random.Random) -> Iterator[T]:
    """The members in random order, drawn only as far as they are asked for."""
    left = list(range(len(members)))
    while left:
        pick = rng.randrange(len(left))
        left[pick], left[-1] = left[-1], left[pick]
        yield members[left.pop()]


@dataclass(frozen=True)
class Pool:
    """What one split (train or bench) may use: its documents, seed items and their stored texts, and no others."""

    store: TokenStore
    documents: Sequence[int]
    """The corpus's, in the contexts' language where one is asked for."""
    harmful_documents: Sequence[int]
    """Harmful texts: the corpus's that ``scenario.harmful_documents`` names, else the vignettes."""
    seeds: Sequence[Seed]
    exchanges: Mapping[str, Mapping[str, int]]
    """``harmful`` and ``benign``: seed id → number of the stored document that holds its answered exchange."""
    harm_fraction: float = 1.0
    """Share of a fully harmful context that is harmful."""
    context_seeds: Mapping[str, Seed] = field(default_factory=dict)
    """Seed id → the same item in the contexts' language, where that is not the questions'."""

    @cached_property
    def chapters(self) -> list[Span]:
        """The harmful texts, long ones cut at sentences."""
        return [span for number in self.harmful_documents for span in passages(self.store, number, CHAPTER_TOKENS)]

    @cached_property
    def passages(self) -> PassageIndex:
        """Passages of one size whatever the length, so that a longer context begins with the shorter one."""
        return PassageIndex(self.store, self.documents, PASSAGE_TOKENS)

    def in_context_language(self, seed: Seed) -> Seed:
        return self.context_seeds.get(seed.id, seed)

    def whole(self, document: int) -> Span:
        return Span(document, 0, self.store.num_tokens(document))

    @cached_property
    def weights(self) -> list[int]:
        """The documents' tokens, cumulated."""
        total, cumulated = 0, []
        for document in self.documents:
            total += self.store.num_tokens(document)
            cumulated.append(total)
        return cumulated

    def around(self, rng: random.Random, depth: float) -> tuple[Filler, Filler]:
        """Filler before and after a place in a document, between two sentences, and beyond it other documents.

        The document is drawn in proportion to its tokens, so that long documents lend many contexts; the place is
        near ``depth`` of the document, so that both sides come from it where it is long enough.
        """
        document = rng.choices(self.documents, cum_weights=self.weights)[0]
        anchors = self.store.sentence_starts(document)
        wanted = round(depth * self.store.num_tokens(document))
        at = int(anchors.searchsorted(wanted))
        reach = max(len(anchors) // 10, 4)
        anchor = int(rng.choice(anchors[max(at - reach, 1) : at + reach])) if len(anchors) > 1 else 0
        return self.sides(document, anchor, anchor, rng)

    def sides(self, document: int, stop: int, start: int, rng: random.Random) -> tuple[Filler, Filler]:
        """Filler before token ``stop`` and from token ``start`` of a document, and beyond it other documents.

        Together the sides have the tokens of all documents: where one has used up its half of the others, it begins
        the other's half from its end.
        """
        others = Shared(shuffled([other for other in self.documents if other != document], rng))
        near = (Span(document, 0, stop), Span(document, start, self.store.num_tokens(document)))
        fillers = [chain((span,), map(self.whole, others.side(own))) for own, span in enumerate(near)]
        return Filler(fillers[0], backwards=True), Filler(fillers[1])

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents."""
        return self.weights[-1]


@dataclass(frozen=True)
class Query:
    """A question with the answer that a training target gives."""

    question: str
    answer: str


@dataclass(frozen=True)
class Item:
    """A harmful item before its context is cut to length, and what makes its twins."""

    query: Query
    draft: Draft
    slots: Mapping[str, str]
    """What the options say about."""
    benign_slots: Mapping[str, str]
    benign_query: Query | None = None
    needle_twin: tuple[tuple[str, ...], Query] | None = None
    """The benign needles in place of the harmful ones, and their question."""
    history: tuple[tuple[str, str], ...] = ()


class Task(ABC):
    """One task of the benchmark and the training set.

    A subclass names its scenario, its roles and its comply role: the option that does what the harm asks for, against
    which declining is weighed in twin discrimination. Its docstring says what the paper tells and, after "Our
    design:", what is ours. Its options stand in ``tasks_<language>.yaml`` under its name.
    """

    scenario: ClassVar[str]
    comply_role: ClassVar[str] = "aware_unsafe"
    roles: ClassVar[tuple[str, ...]] = HARMFUL_ROLES
    seed_task: ClassVar[str] = ""
    """The seed items it takes: those for this task; empty: the general ones."""
    needs: ClassVar[tuple[str, ...]] = ("request", "safe_answer")
    """What a seed must bring."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def accepts(self, seed: Seed) -> bool:
        return seed.task == self.seed_task and all(getattr(seed, name) for name in self.needs)

    @abstractmethod
    def item(self, seed: Seed, pool: Pool, rng: random.Random, depth: float) -> Item:
        """The item; the draft must not depend on the length, so that items pair across lengths."""

    def phrases(self, language: str) -> dict[str, Any]:
        return texts(language)[self.name]

    def choices(self, item: Item, kind: str, language: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """The roles and each role's wordings, for an item of this kind."""
        own = self.phrases(language)["options"]
        slots = item.slots if kind in ("harmful", "short") else item.benign_slots
        if kind == "benign_query":
            source = {role: texts(language)["common"]["benign_query"][role] for role in BENIGN_ROLES}
        elif kind == "benign_needle":
            source = {"refuses": own["safe"], "ignores": own["ignores"], "complies": own[self.comply_role]}
        else:
            source = {role: own[role] for role in self.roles}
        filled = {
            **slots,
            **{name[:1].upper() + name[1:]: text[:1].upper() + text[1:] for name, text in slots.items()},
        }
        return tuple(source), tuple(tuple(text.format(**filled) for text in wordings) for wordings in source.values())


def benign_query(seed: Seed, rng: random.Random) -> Query | None:
    """The benign request with its answer, which opens with what it helps with."""
    if not seed.has_twin:
        return None
    opener = rng.choice(texts(seed.language)["common"]["openers"]).format(topic=seed.benign_topic)
    return Query(seed.benign_request, f"{opener}{'' if seed.language == 'zh' else ' '}{seed.benign_answer}")


def request_slots(seed: Seed) -> tuple[dict[str, str], dict[str, str]]:
    """The harmful and the benign side's slots of a seed with requests or claims."""
    harmful = {"topic": seed.topic, "claim": seed.claim, "truth": seed.truth}
    return harmful, {"topic": seed.benign_topic, "claim": seed.benign_claim, "truth": seed.truth}
