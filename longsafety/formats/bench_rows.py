"""Rows of benchmark items: the question with its options, and their columns."""

from __future__ import annotations

import random

from longsafety.errors import DataError
from longsafety.formats.training_rows import Row, columns
from longsafety.samples.recipe import Sample, user_content
from longsafety.vocabulary import LETTERS, PLACE_TASKS


def by_task(sample: Sample) -> str:
    """The task's name; other kinds than harmful have their own splits: their last option means another thing."""
    return sample.task if sample.kind == "harmful" else f"{sample.task}_{sample.kind}"


def context_with_history(sample: Sample, context: str) -> str:
    """The context, and the earlier turns below it, for formats of one question a row."""
    dialogue = "\n\n".join(f"User: {user}\nAssistant: {reply}" for user, reply in sample.history)
    return user_content(context, dialogue) if dialogue else context


def shown_order(sample: Sample, seed: int) -> list[int]:
    """The role at each letter: the sample's own order, else one drawn from the seed and the sample's id."""
    if len(sample.order) == len(sample.choices):
        return list(sample.order)
    order = list(range(len(sample.choices)))
    random.Random(f"{seed}/{sample.id}").shuffle(order)
    return order


def _depth(sample: Sample) -> float | None:
    return None if sample.depth is None else round(sample.depth, 4)


def bench_row(sample: Sample, context: str, seed: int, number: int) -> Row:
    """LongSafetyBench."""
    row: Row = {
        "id": sample.id,
        "context": context_with_history(sample, context),
        "question": sample.question,
        "choices": [wordings[0] for wordings in sample.choices],
    }
    return row | {"depth": _depth(sample), "length": sample.target_tokens} if sample.task in PLACE_TASKS else row


def twin_columns(sample: Sample) -> Row:
    """Which twin of which item a row is (both empty for an item), and the index of the right choice (unsafe → safe)."""
    twin = {"harmful": "", "short_benign": "short"}.get(sample.kind, sample.kind)
    return {"twin": twin, "twin_of": sample.pair_id if twin else "", "right": _right(sample)}


def _right(sample: Sample) -> int:
    """The role that is right. Raises DataError for a twin of a file that does not say it."""
    if not sample.right:
        raise DataError(
            f"{sample.id}: the file does not say which option of this {sample.kind} twin is right; give rows with the "
            "column right, or leave twins out"
        )
    return sample.roles.index(sample.right)


def shown_row(sample: Sample, context: str, seed: int, number: int) -> Row:
    """An item as it is shown, with lettered options."""
    order = shown_order(sample, seed)
    return {
        "id": sample.id,
        "task": sample.task,
        "kind": sample.kind,
        "category": sample.category,
        "language": sample.language,
        "context": context_with_history(sample, context),
        "question": sample.question,
        "letters": list(LETTERS[: len(order)]),
        "choices": [sample.choices[role][0] for role in order],
        "answer": order.index(_right(sample)),
        "order": order,
        "depth": _depth(sample),
        "length": sample.target_tokens,
        "num_tokens": sample.num_tokens,
    }


BENCH = columns(id="string", context="string", question="string", choices={"sequence": "string"})
PLACE = columns(depth="float64", length="int64")
SHOWN = [
    *columns(id="string", task="string", kind="string", category="string", language="string"),
    *columns(context="string", question="string", letters={"sequence": "string"}, choices={"sequence": "string"}),
    *columns(answer="int64", order={"sequence": "int64"}),
    *PLACE,
    *columns(num_tokens="int64"),
]
