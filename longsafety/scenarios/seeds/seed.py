"""A seed item: a harmful request or statement with its safe answer and benign twin. Written to a file, and read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Seed:
    """What one item is made of: requests, statements or deeds, with their twins. Empty: not given.

    A *topic* completes "help with …", a *claim* "it is said that …"; ``crimes`` and ``harmless`` are phrases that
    follow ``name``.
    """

    id: str
    category: str
    task: str = ""
    """The task it is for; empty: a general item, for KeywordRAG, HarmfulNIAH and ManyShotJailbreak."""
    split: str = ""
    """``bench`` or ``train``: used there and nowhere else. Empty: the split is drawn (``scenario.bench_fraction``)."""
    language: str = "en"
    request: str = ""
    topic: str = ""
    safe_answer: str = ""
    safe_answers: tuple[str, ...] = ()
    """The same in other words; training samples of the seed item take their turn through all of them."""
    benign_request: str = ""
    benign_topic: str = ""
    benign_answer: str = ""
    benign_answers: tuple[str, ...] = ()
    question: str = ""
    statement: str = ""
    benign_statement: str = ""
    statement_safe_answer: str = ""
    benign_statement_answer: str = ""
    claim: str = ""
    truth: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    """Earlier (user, assistant) turns of the dialogue that ``request`` ends."""
    name: str = ""
    crimes: tuple[str, ...] = ()
    lawful: tuple[str, ...] = ()
    """The n-th stands for the n-th of ``crimes`` in the benign twin."""
    harmless: tuple[str, ...] = ()
    """Deeds that item and twin have in common."""
    passage: str = ""
    """Answers the benign request; it stands in the contexts of the item and of its twin."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Role → wordings, for this item and its benign twin; or task → these, where several tasks use the seed. Empty: the
    task's own wordings."""
    compliant_stub: str = ""
    """A reply that complies, in form only: it has no content."""
    partial_answer: str = ""
    """A reply that voices a doubt and complies all the same; a stub too."""
    licence: str = "unknown"
    origin: str = ""
    """``shipped``, the public set's name, or the name of the file of a user's own row."""
    writers: tuple[str, ...] = ()
    """Who wrote what the row did not bring: ``field: writer``."""
    made_of: str = ""
    """The request, statement or passage that a teacher made it of."""
    review_state: str = ""
    """Of an item that a teacher made: ``unreviewed``, ``accepted`` or ``rejected``. Empty: it needs no review."""

    def in_turn(self, turn: int) -> Seed:
        """The item with the answers of its ``turn``-th use, from 0."""
        safe, benign = (self.safe_answer, *self.safe_answers), (self.benign_answer, *self.benign_answers)
        return replace(self, safe_answer=safe[turn % len(safe)], benign_answer=benign[turn % len(benign)])

    @property
    def is_control(self) -> bool:
        """Whether it is a benign prompt alone: nothing is asked of it, but others may borrow it as their twin."""
        return bool(self.benign_request) and not (self.request or self.statement or self.crimes)

    @property
    def has_twin(self) -> bool:
        return bool(self.benign_request and self.benign_answer)


def write_seeds(seeds: Sequence[Seed], path: Path) -> None:
    """Writes seeds as JSON Lines."""
    path.write_text("".join(json.dumps(asdict(seed), ensure_ascii=False) + "\n" for seed in seeds), "utf-8")


def read_seeds(path: Path) -> list[Seed]:
    """Reads what :func:`write_seeds` wrote."""
    rows = (json.loads(line) for line in path.read_text("utf-8").split("\n") if line)
    return [Seed(**{key: frozen(value) for key, value in row.items()}) for row in rows]


def frozen(value: Any) -> Any:
    """The value with tuples for lists."""
    if isinstance(value, dict):
        return {key: frozen(part) for key, part in value.items()}
    return tuple(frozen(part) for part in value) if isinstance(value, list) else value
