"""How often a split asks the same: the number of samples says nothing of how much is asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from longsafety.samples.recipe import Sample


@dataclass
class _Asked:
    """What the samples of a task ask. No sample is kept: with their contexts they need not fit into memory."""

    copies: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Question, answer and needles → samples."""
    seeds: set[str] = field(default_factory=set)
    options: set[tuple[tuple[str, ...], ...]] = field(default_factory=set)


def copies(samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """A row a task: task, items, seeds, questions, options, answers (distinct ones), most (copies of one question with
    its needles and answer)."""
    found: dict[str, _Asked] = defaultdict(_Asked)
    for sample in samples:
        if sample.kind == "harmful":
            asked = found[sample.task]
            asked.copies[sample.question, sample.answer, *sample.needle_texts] += 1
            asked.seeds.add(sample.seed_id)
            asked.options.add(sample.choices)
    return [
        {
            "task": task,
            "items": asked.copies.total(),
            "seeds": len(asked.seeds),
            "questions": len({(question, *needles) for question, _, *needles in asked.copies}),
            "options": len(asked.options - {()}),
            "answers": len({answer for _, answer, *_ in asked.copies} - {""}),
            "most": max(asked.copies.values()),
        }
        for task, asked in found.items()
    ]
