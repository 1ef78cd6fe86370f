"""How often a split asks the same: the number of samples says nothing of how much is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longsafety.scenarios.audit.tally import Asked


def copies(found: Mapping[str, Asked]) -> list[dict[str, Any]]:
    """A row a task: task, items, seeds, questions, options, answers (distinct ones), most (copies of one question with
    its needles and answer)."""
    return [
        {
            "task": task,
            "items": asked.copies.total(),
            "seeds": len(asked.seeds),
            "questions": len({question for question, _ in asked.copies}),
            "options": len(asked.options),
            "answers": len({answer for _, answer in asked.copies} - {0}),
            "most": max(asked.copies.values()),
        }
        for task, asked in found.items()
    ]
