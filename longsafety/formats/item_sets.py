"""Public sets of benchmark items: how a row becomes a sample with a context, a question and options."""

from __future__ import annotations

from longsafety.formats.fields import Fields
from longsafety.formats.schema import NO_CONTEXT, Identified, Schema, checked_task, scenario_of
from longsafety.samples.language import english_or_chinese
from longsafety.samples.recipe import Sample
from longsafety.vocabulary import (
    BENIGN_KINDS,
    BENIGN_TWINS,
    DECLINES,
    HARMFUL_ROLES,
    ITEM_KINDS,
    PLACE_TASKS,
    TWINS,
    TWO_ROLES,
)

ROLES = {2: TWO_ROLES, 4: HARMFUL_ROLES}
"""Number of options → their roles."""


def _longsafety_bench(schema: Schema, row: Fields) -> Identified:
    # The published rows name no task: their split, or their file, does.
    task, kind = _task_and_kind(row, row.text("task") if row.has("task") else row.row.part)
    identity = f"{task}/{row.identity()}"
    twin_of = row.text("twin_of") if row.has("twin_of") and row.value("twin_of") else ""
    context = row.text("context", may_be_empty=True)
    if not context:
        row.counts.append(NO_CONTEXT)
    choices = row.texts("choices", least=2, most=10)
    if len({choice.strip() for choice in choices}) < len(choices):
        row.wrong("choices", choices, "two options are the same; word them differently")
    order = _shown_order(row, len(choices)) if row.has("letters") else ()
    if order:
        choices = [choices[order.index(role)] for role in range(len(choices))]
    roles = ROLES.get(len(choices), (*(f"choice_{number}" for number in range(1, len(choices))), DECLINES))
    right = _right(row, len(choices), order)
    if right is None and kind in ("harmful", "short"):
        right = len(choices) - 1
    depth, length = None, 0
    placed = task in PLACE_TASKS and kind in ("harmful", *BENIGN_TWINS)
    if (row.has("depth") and kind != "absent") or placed:
        depth = depth_fraction(row)
    if (row.has("length") and kind not in ("short", "short_benign")) or placed:
        length = row.positive("length")
    item = Sample(
        id=identity,
        pair_id=f"{task}/{twin_of}" if twin_of else identity.removesuffix(f"-{kind}"),
        task=task,
        scenario=scenario_of(task),
        kind=kind,
        category="",
        seed_id=identity,
        licence=schema.licence,
        context=(context,) if context else (),
        question=row.text("question"),
        answer=choices[-1 if right is None else right] if choices else "",
        language=english_or_chinese("".join(choices)),
        depth=depth,
        target_tokens=length,
        roles=roles,
        choices=tuple((choice,) for choice in choices),
        comply_role=roles[right] if roles and right is not None and kind in BENIGN_KINDS else "",
        right=roles[right] if roles and right is not None else "",
        order=order,
    )
    return identity, [item]


def _thu_coai(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.identity()}"
    links = row.texts("link")
    number = row.positive("doc_num")
    if links and number and number != len(links):
        row.wrong("doc_num", number, f"there are {len(links)} links; make the two agree")
    row.positive("length")
    row.texts("key_words")
    context = row.text("context") if row.has("context") else ""  # rows on the hub have it, those of the meta file not
    if not context:
        row.counts.append(NO_CONTEXT)
    instruction = row.text("instruction")
    item = Sample(
        id=identity,
        pair_id=identity,
        task=row.text("task_type"),
        scenario="",
        kind="open",
        category=row.text("safety_type"),
        seed_id=identity,
        licence=schema.licence,
        context=(context,) if context else (),
        question=instruction,
        answer="",
        language=english_or_chinese(instruction),
        documents=tuple(links),
    )
    return identity, [item]


def depth_fraction(row: Fields) -> float | None:
    """The field ``depth`` as a fraction. Its published unit is not documented: values above 1 count as per cent."""
    value = row.value("depth")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 100:
        if value is not None:
            row.wrong("depth", value, "neither a fraction from 0 to 1 nor per cent up to 100; give one")
        return None
    if value <= 1:
        return float(value)
    row.counts.append("depths read as per cent")
    return float(value) / 100


def _task_and_kind(row: Fields, name: str) -> tuple[str, str]:
    """Task and kind of a row: by its column ``kind``, or ``twin`` and ``right``; else by its file's name."""
    kind = row.one_of("kind", ITEM_KINDS) if row.has("kind") else ""
    if not kind and row.has("twin"):
        twin = row.one_of("twin", ("", *(twin for twin in TWINS if twin != "short_benign")))
        kind = twin or "harmful"
        last = len(row.value("choices") or ()) - 1
        if twin == "short" and row.has("right") and row.value("right") != last:
            kind = "short_benign"
    kind = kind or next((twin for twin in TWINS if name.endswith(f"_{twin}")), "harmful")
    return checked_task(row, name.removesuffix(f"_{kind}")), kind


def _right(row: Fields, count: int, order: tuple[int, ...]) -> int | None:
    """The right option, by its place in the order unsafe to safe; None where the row does not say it."""
    name = "right" if row.has("right") else "answer" if row.has("answer") and order else ""
    if not name:
        return None
    value = row.value(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < max(count, 1):
        row.wrong(name, value, f"not the number of an option, 0 to {count - 1}; give the right one's place in choices")
        return count - 1
    return order[value] if order else value


def _shown_order(row: Fields, count: int) -> tuple[int, ...]:
    """The role of each option as shown: our exports for other harnesses store the options in that order."""
    order = row.value("order")
    if not isinstance(order, list) or any(type(role) is not int for role in order) or {*order} != {*range(count)}:
        row.wrong("order", order, f"not the numbers from 0 to {count - 1}, each once; give the role of each option")
        return ()
    return tuple(order)


ITEMS = (
    Schema("longsafety_bench", "Apache-2.0", "items", (("id", "context", "question", "choices"),), _longsafety_bench),
    Schema(
        "thu_coai",
        "MIT",
        "items",
        (("id", "link", "length", "safety_type", "key_words", "instruction", "task_type", "doc_num"),),
        _thu_coai,
        contexts=("id", "context"),
    ),
)
