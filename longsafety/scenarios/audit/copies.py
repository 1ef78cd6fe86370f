"""How often a split asks the same: the number of samples says nothing of how much is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from longsafety.samples.recipe import Sample


def copies(samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """A row a task: task, items, seeds, questions, options, answers (distinct ones), most (copies of one question with
    its needles and answer)."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.kind == "harmful":
            found.setdefault(sample.task, []).append(sample)
    rows: list[dict[str, Any]] = []
    for task, members in found.items():
        asked: dict[tuple[str, ...], int] = {}
        for sample in members:
            key = (sample.question, sample.answer, *sample.needle_texts)
            asked[key] = asked.get(key, 0) + 1
        rows.append(
            {
                "task": task,
                "items": len(members),
                "seeds": len({sample.seed_id for sample in members}),
                "questions": len({(sample.question, *sample.needle_texts) for sample in members}),
                "options": len({sample.choices for sample in members if sample.choices}),
                "answers": len({sample.answer for sample in members if sample.answer}),
                "most": max(asked.values()),
            }
        )
    return rows
