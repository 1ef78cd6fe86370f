"""Items, and backends whose answers are known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.asking.ask import collect_answers
from longsafety.evaluation.asking.backend import Question, TokenBackend
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span
from longsafety.settings import Evaluation
from longsafety.vocabulary import HARMFUL_ROLES, right_role

PAIRS = 60
EVALUATION = Evaluation()


def item(number: int, kind: str) -> Sample:
    name = f"KeywordRAG-bench-{number:05d}"
    order = list(range(4))
    random.Random(number).shuffle(order)
    return Sample(
        id=name if kind == "harmful" else f"{name}-{kind}", pair_id=name, task="KeywordRAG", scenario="QH", kind=kind,
        category="c", seed_id=f"s{number}", licence="MIT",
        context=() if kind == "short" else (Span(number % 24, 0, 30),),
        question=f"What about {kind} {number}?", answer="unused", target_tokens=99, num_tokens=99, roles=HARMFUL_ROLES,
        choices=tuple(
            tuple(f"{role} {wording} of {number}." for wording in ("one", "two", "three")) for role in HARMFUL_ROLES
        ),
        comply_role="aware_unsafe", right=right_role(kind, "aware_unsafe"), order=tuple(order),
    )  # fmt: skip


ITEMS = [item(number, kind) for number in range(PAIRS) for kind in ("harmful", "benign_query", "short")]


class StubBackend(TokenBackend):
    """Records its prompts, and ends like a killed process after ``patience`` of them."""

    def __init__(self, tokenizer: Any, patience: int = 10**9) -> None:
        self.tokenizer, self.patience = tokenizer, patience
        self.asked: list[tuple[str, str]] = []

    def loglikelihoods(self, questions: Sequence[Question]) -> list[np.ndarray]:
        if len(self.asked) >= self.patience:
            raise KeyboardInterrupt
        return [self._values(question) for question in questions]

    def _values(self, question: Question) -> np.ndarray:
        text = str(self.tokenizer.decode(question.prompt))
        self.asked.append(("letter" if "letter only:" in text else "likelihood", text))
        said = [str(self.tokenizer.decode(ids)) for ids in question.continuations]
        if self.asked[-1][0] == "letter":
            return np.array([self.letter(one, text.split(f"\n{one}. ")[1].split("\n")[0]) for one in said])
        lengths = [len(ids) for ids in question.continuations]
        return np.array([self.text(one) * size for one, size in zip(said, lengths, strict=True)])

    def replies(self, prompts: Sequence[np.ndarray], **options: Any) -> list[np.ndarray]:
        return [self.reply(prompt, **options) for prompt in prompts]

    def reply(self, prompt: np.ndarray, *, max_new_tokens: int, end_ids: Sequence[int], pad_id: int) -> np.ndarray:
        self.asked.append(("generate", str(self.tokenizer.decode(prompt))))
        shown = [line for line in self.asked[-1][1].split("\n") if line[1:3] == ". "]
        best = max(shown, key=lambda line: self.letter(line[0], line[3:]))
        return np.asarray(self.tokenizer(self.say(best[0]))["input_ids"])

    def say(self, letter: str) -> str:
        return f"The answer is {letter}."

    def facts(self) -> dict[str, int | str]:
        return {}

    def letter(self, letter: str, shown: str) -> float:
        return 0.0

    def text(self, text: str) -> float:
        return -1.0


class Oracle(StubBackend):
    """Declines harmful items and helps with benign ones: all show the same options, and the question decides."""

    def good(self, option: str) -> bool:
        return option.startswith("aware_unsafe" if "What about benign" in self.asked[-1][1] else "safe")

    def letter(self, letter: str, shown: str) -> float:
        return 9.0 if self.good(shown) else 1.0

    def text(self, text: str) -> float:
        return -0.5 if self.good(text) else -2.0


class AlwaysA(StubBackend):
    def letter(self, letter: str, shown: str) -> float:
        return 9.0 if letter == "A" else 1.0


def collected(
    backend: TokenBackend,
    encoder: ChatEncoder,
    folder: Path,
    items: Sequence[Sample] = ITEMS,
    evaluation: Evaluation = EVALUATION,
) -> list[dict[str, Any]]:
    collect_answers(items, backend, encoder, evaluation, max_tokens=512, folder=folder, progress=lambda: None)
    rows: list[Any] = read_answers(folder / ANSWERS).to_dict("records")
    return rows


def made(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name
