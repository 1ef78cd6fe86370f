"""The suite ``icl``: does a model still learn the meaning of arbitrary labels from examples in its context?

Many-shot classification, as in HELMET (arXiv 2410.02694) and LongICLBench (arXiv 2404.02060): demonstrations, each a
text and its label, fill the evaluation's length, and the model labels a text that is in none of them. The same
questions follow one demonstration per class, which shows the gain from more. Our design: the texts are the benign ones
of the shipped seed items, the classes are kinds of text (``CLASSES``), and each of ``SETS`` sets of demonstrations
assigns the letters to the classes differently, so only the context says what a label means. As in other suites there is
no chat template.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from longsafety.errors import DataError
from longsafety.evaluation.asking.backend import Question, TokenBackend
from longsafety.evaluation.suites.names import IN_CONTEXT
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.shipped import SHIPPED

CLASSES = ("benign_request", "benign_topic", "benign_statement", "question")
"""Fields of a seed item: a request, its topic, a statement, and a question about what a text says."""
LABELS = (" K", " R", " T", " M")
QUESTIONS = 60
SETS = 4
"""Sets of demonstrations; questions are assigned to them round-robin."""
FEW = 1
"""Demonstrations per class in the short version."""
_LEAST = 2
_WORDS = {"en": ("Text: {}\nLabel:", "\n\n"), "zh": ("文本：{}\n标签：", "\n\n")}


class Shot(NamedTuple):
    """A text, and the number of its class."""

    text: str
    kind: int


class ShotSet(NamedTuple):
    """Demonstrations in rounds of one per class, the questions that follow them, and the label of each class."""

    demonstrations: list[Shot]
    questions: list[Shot]
    labels: tuple[str, ...]


def in_context_sets(language: str, *, limit: int | None, seed: int) -> list[ShotSet]:
    """Seeded sets with all available demonstrations; no seed item is in both a demonstration and a question."""
    items = [
        item
        for item in load_seeds(SHIPPED, language).seeds
        if not item.task and all(getattr(item, kind) for kind in CLASSES)
    ]
    items.sort(key=lambda item: hashlib.sha256(f"{seed}/{item.id}".encode()).hexdigest())
    count = min(limit or QUESTIONS, QUESTIONS)
    rows = [[Shot(getattr(item, name), kind) for kind, name in enumerate(CLASSES)] for item in items]
    num_rows = -(-count // len(CLASSES))
    questions = [shot for row in rows[:num_rows] for shot in row][:count]
    return [_shot_set(rows[num_rows:], questions, number, f"{seed}/icl/{number}") for number in range(SETS)]


def _shot_set(rows: Sequence[Sequence[Shot]], questions: Sequence[Shot], number: int, seed: str) -> ShotSet:
    draw = random.Random(seed)
    columns = [draw.sample(column, len(column)) for column in zip(*rows, strict=True)]
    demonstrations = [shot for turn in zip(*columns, strict=True) for shot in draw.sample(turn, len(turn))]
    mine = [shot for place, shot in enumerate(questions) if place // len(CLASSES) % SETS == number]
    return ShotSet(demonstrations, mine, tuple(draw.sample(LABELS, len(LABELS))))


def measure_in_context(
    backend: TokenBackend, tokenizer: Any, language: str, *, tokens: int, limit: int | None, seed: int
) -> list[dict[str, Any]]:
    """Two rows (``capability.COLUMNS``): after ``FEW`` demonstrations per class, and after as many as ``tokens`` hold.

    ``limit``: maximum number of questions (of ``QUESTIONS``). The standard error assumes independent questions. Raises
    ``DataError`` where the length does not hold two demonstrations per class.
    """
    encode = _Encode(tokenizer, language)
    sets = [one for one in in_context_sets(language, limit=limit, seed=seed) if one.questions]
    most = _most(sets, encode, tokens)
    shots = [len(CLASSES) * FEW, len(CLASSES) * most]
    right: dict[int, list[bool]] = {count: [] for count in shots}
    for one in sets:
        labels = [encode(label) for label in one.labels]
        for count in shots:
            before = encode.shown(one.demonstrations[:count], labels)
            questions = [Question(np.concatenate([before, encode.head(shot)]), labels) for shot in one.questions]
            found = backend.loglikelihoods(questions)
            right[count] += [
                int(values.argmax()) == shot.kind for values, shot in zip(found, one.questions, strict=True)
            ]
    return [_row(count, right[count]) for count in shots]


def check_in_context(tokenizer: Any, language: str, *, tokens: int, limit: int | None, seed: int) -> None:
    """Raises ``DataError`` where :func:`measure_in_context` would: no model is needed to know that."""
    _most(in_context_sets(language, limit=limit, seed=seed), _Encode(tokenizer, language), tokens)


def _most(sets: Sequence[ShotSet], encode: _Encode, tokens: int) -> int:
    """The demonstrations per class that fit before every question of every set."""
    most = min(_holds(one, encode, tokens) for one in sets if one.questions) // len(CLASSES)
    if most < _LEAST:
        raise DataError(
            f"evaluation.capability = {IN_CONTEXT}: {tokens} tokens (length.max_tokens × length.factor) do not hold "
            f"{_LEAST} demonstrations of each of {len(CLASSES)} classes; give a longer length, or leave it out"
        )
    return most


def _row(shots: int, right: Sequence[bool]) -> dict[str, Any]:
    share, n = sum(right) / len(right), len(right)
    return {
        "suite": IN_CONTEXT,
        "task": f"icl_{shots}_shots",
        "metric": f"acc (chance {1 / len(CLASSES):g})",
        "value": share,
        # at least that of half an answer changed each way: answers that are all alike prove little
        "stderr": max((share * (1 - share) / (n - 1)) ** 0.5, 1 / (n + 2)) if n > 1 else float("nan"),
        "n": n,
    }


def _holds(one: ShotSet, encode: _Encode, tokens: int) -> int:
    """The number of demonstrations that fit before every question of the set."""
    labels = [encode(label) for label in one.labels]
    room = tokens - max(len(encode.head(shot)) for shot in one.questions) - max(map(len, labels)) - len(encode.opening)
    sizes = np.cumsum([len(part) for part in encode.parts(one.demonstrations, labels)])
    return int(np.searchsorted(sizes, room, side="right"))


class _Encode:
    """Encodes texts. Labels are encoded alone, so that their tokens do not depend on their place."""

    def __init__(self, tokenizer: Any, language: str) -> None:
        self.tokenizer = tokenizer
        self.words: tuple[str, str] = _WORDS[language]
        self.opening = np.asarray(tokenizer("")["input_ids"], dtype=np.int64)
        """The tokens that the tokenizer puts before a text."""
        self.between = self(self.words[1])

    def __call__(self, text: str) -> np.ndarray:
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)

    def head(self, shot: Shot) -> np.ndarray:
        return self(self.words[0].format(shot.text))

    def parts(self, shots: Sequence[Shot], labels: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        return (np.concatenate([self.head(shot), labels[shot.kind], self.between]) for shot in shots)

    def shown(self, shots: Sequence[Shot], labels: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([self.opening, *self.parts(shots, labels)])
