"""The suite ``icl``: does a model still learn from the examples in its context what an arbitrary label stands for?

Many-shot classification, as HELMET (arXiv 2410.02694) and LongICLBench (arXiv 2404.02060) have it: demonstrations, each
a text and its label, fill the evaluation's length, and the label of a text is asked that is in none of them. The same
questions are asked after one demonstration a class, so that the gain from more of them is seen. Our design: the texts
are the benign ones of the shipped seed items, the classes are kinds of text (``CLASSES``), and the labels are letters
that each of ``SETS`` sets of demonstrations deals to the classes anew, so that only the context tells them. As in other
suites there is no chat template.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from longsafety.errors import DataError
from longsafety.evaluation.asking.ask import Backend
from longsafety.evaluation.asking.question import Question
from longsafety.evaluation.suites.names import IN_CONTEXT
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.shipped import SHIPPED

CLASSES = ("benign_request", "benign_topic", "benign_statement", "question")
"""Fields of a seed item: a request, its topic, a statement, and a question about what a text says."""
LABELS = (" K", " R", " T", " M")
QUESTIONS = 60
SETS = 4
"""Sets of demonstrations; questions go round them."""
FEW = 1
"""Demonstrations a class of the short version."""
_LEAST = 2
_WORDS = {"en": ("Text: {}\nLabel:", "\n\n"), "zh": ("文本：{}\n标签：", "\n\n")}


class Shot(NamedTuple):
    """A text, and the number of its class."""

    text: str
    kind: int


class Set(NamedTuple):
    """Demonstrations in rounds of one a class, the questions after them, and the label of each class."""

    demonstrations: list[Shot]
    questions: list[Shot]
    labels: tuple[str, ...]


def in_context_sets(language: str, *, limit: int | None, seed: int) -> list[Set]:
    """Seeded sets with all demonstrations that there are; no seed item is in a demonstration and in a question."""
    items = [
        item
        for item in load_seeds(SHIPPED, language).seeds
        if not item.task and all(getattr(item, kind) for kind in CLASSES)
    ]
    items.sort(key=lambda item: hashlib.sha256(f"{seed}/{item.id}".encode()).hexdigest())
    count = min(limit or QUESTIONS, QUESTIONS)
    rows = [[Shot(getattr(item, name), kind) for kind, name in enumerate(CLASSES)] for item in items]
    asked = -(-count // len(CLASSES))
    questions = [shot for row in rows[:asked] for shot in row][:count]
    return [_dealt(rows[asked:], questions, number, f"{seed}/icl/{number}") for number in range(SETS)]


def _dealt(rows: Sequence[Sequence[Shot]], questions: Sequence[Shot], number: int, seed: str) -> Set:
    draw = random.Random(seed)
    columns = [draw.sample(column, len(column)) for column in zip(*rows, strict=True)]
    demonstrations = [shot for turn in zip(*columns, strict=True) for shot in draw.sample(turn, len(turn))]
    mine = [shot for place, shot in enumerate(questions) if place // len(CLASSES) % SETS == number]
    return Set(demonstrations, mine, tuple(draw.sample(LABELS, len(LABELS))))


def measure_in_context(
    backend: Backend, tokenizer: Any, language: str, *, tokens: int, limit: int | None, seed: int
) -> list[dict[str, Any]]:
    """A row (``capability.COLUMNS``) after ``FEW`` demonstrations a class, and one after as many as ``tokens`` hold.

    ``limit``: questions at most (of ``QUESTIONS``). The error is that of independent questions. Raises ``DataError``
    where the length does not hold two demonstrations a class.
    """
    encode = _Encode(tokenizer, language)
    sets = [one for one in in_context_sets(language, limit=limit, seed=seed) if one.questions]
    most = min(_holds(one, encode, tokens) for one in sets) // len(CLASSES)
    if most < _LEAST:
        raise DataError(
            f"evaluation.capability = {IN_CONTEXT}: {tokens} tokens (length.max_tokens × length.factor) do not hold "
            f"{_LEAST} demonstrations of each of {len(CLASSES)} classes; give a longer length, or leave it out"
        )
    shots = [len(CLASSES) * FEW, len(CLASSES) * most]
    right: dict[int, list[bool]] = {count: [] for count in shots}
    for one in sets:
        labels = [encode(label) for label in one.labels]
        for count in shots:
            before = encode.shown(one.demonstrations[:count], labels)
            asked = [Question(np.concatenate([before, encode.head(shot)]), labels) for shot in one.questions]
            found = backend.loglikelihoods(asked)
            right[count] += [
                int(values.argmax()) == shot.kind for values, shot in zip(found, one.questions, strict=True)
            ]
    return [_row(count, right[count]) for count in shots]


def _row(shots: int, right: Sequence[bool]) -> dict[str, Any]:
    share, n = sum(right) / len(right), len(right)
    return {
        "suite": IN_CONTEXT,
        "task": f"icl_{shots}_shots",
        "metric": f"acc (chance {1 / len(CLASSES):g})",
        "value": share,
        "stderr": (share * (1 - share) / (n - 1)) ** 0.5 if n > 1 else float("nan"),
        "n": n,
    }


def _holds(one: Set, encode: _Encode, tokens: int) -> int:
    """How many demonstrations fit before every question of the set."""
    labels = [encode(label) for label in one.labels]
    room = tokens - max(len(encode.head(shot)) for shot in one.questions) - max(map(len, labels)) - len(encode.opening)
    sizes = np.cumsum([len(part) for part in encode.parts(one.demonstrations, labels)])
    return int(np.searchsorted(sizes, room, side="right"))


class _Encode:
    """Texts as ids. Labels are encoded by themselves, so that they have the same tokens wherever they stand."""

    def __init__(self, tokenizer: Any, language: str) -> None:
        self.tokenizer = tokenizer
        self.words: tuple[str, str] = _WORDS[language]
        self.opening = np.asarray(tokenizer("")["input_ids"], dtype=np.int64)
        """What the tokenizer begins a text with."""
        self.between = self(self.words[1])

    def __call__(self, text: str) -> np.ndarray:
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)

    def head(self, shot: Shot) -> np.ndarray:
        return self(self.words[0].format(shot.text))

    def parts(self, shots: Sequence[Shot], labels: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        return (np.concatenate([self.head(shot), labels[shot.kind], self.between]) for shot in shots)

    def shown(self, shots: Sequence[Shot], labels: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([self.opening, *self.parts(shots, labels)])
