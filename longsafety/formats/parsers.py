"""What a row of each public data set becomes; every field's type and value is checked on the way."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from longsafety.formats.fields import Fields
from longsafety.formats.schema import Made, Request
from longsafety.samples.recipe import Sample
from longsafety.vocabulary import (
    BENIGN_ROLES,
    HARMFUL_ROLES,
    ITEM_KINDS,
    PAPER_TASKS,
    PLACE_TASKS,
    TWINS,
    TWO_BENIGN_ROLES,
    TWO_ROLES,
)

if TYPE_CHECKING:
    from longsafety.formats.schema import Schema


ROLES = {2: TWO_ROLES, 4: HARMFUL_ROLES}
_BENIGN_ROLES = {2: TWO_BENIGN_ROLES, 3: BENIGN_ROLES}
NO_CONTEXT = "items without a context"
UNSAFE = "unsafe responses left out"
_HARM_CATEGORIES = 14
_CJK = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_EXCERPT = 2000


def _chat(
    schema: Schema, identity: str, turns: list[tuple[str, str]], *, task: str = "", category: str = "", tail: str = ""
) -> Sample:
    question, answer = turns[-1] if turns else ("", "")
    return Sample(
        id=identity + tail,
        pair_id=identity + tail,
        task=task or schema.name,
        scenario=_scenario(task),
        kind="chat",
        category=category,
        seed_id=identity,
        licence=schema.licence,
        context=(),
        history=tuple(turns[:-1]),
        question=question,
        answer=answer,
        language=_language(answer),
    )


def _scenario(task: str) -> str:
    """Of a task of the paper; empty for others."""
    return PAPER_TASKS[task].scenario if task in PAPER_TASKS else ""


def _request(schema: Schema, identity: str, text: str, category: str, label: str = "harmful") -> Request:
    return {"id": identity, "category": category, "request": text, "label": label, "licence": schema.licence}


def longsafety_17k(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    task = _task(row, row.text("task"))
    identity = f"{task}/{row.identity()}"
    turns = [
        tuple(row.checked_text(f"content[{index}].{key}", turn.get(key)) for key in ("prompt", "output"))
        for index, turn in enumerate(row.objects("content"))
    ]
    return identity, [_chat(schema, identity, [(prompt, output) for prompt, output in turns], task=task)]


def longsafety_11k(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    task = _task(row, row.text("task"))
    identity = f"{task}/{row.identity()}"
    return identity, [_chat(schema, identity, [(row.text("input"), row.text("output"))], task=task)]


def longsafety_bench(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    # The published rows name no task: their split, or their file, does.
    task, kind = _task_and_kind(row, row.text("task") if row.has("task") else row.row.part)
    identity = f"{task}/{row.identity()}"
    context = row.text("context", may_be_empty=True)
    if not context:
        row.counts.append(NO_CONTEXT)
    choices = row.texts("choices", least=2, most=10)
    if len({choice.strip() for choice in choices}) < len(choices):
        row.wrong("choices", choices, "two options are the same; word them differently")
    order = _shown_order(row, len(choices)) if row.has("letters") else ()
    if order:
        choices = [choices[order.index(role)] for role in range(len(choices))]
    depth, length = None, 0
    placed = task in PLACE_TASKS and kind != "short"
    if row.has("depth") or placed:
        depth = depth_fraction(row)
    if (row.has("length") and kind != "short") or placed:
        length = row.positive("length")
    named = tuple(f"choice_{number}" for number in range(1, len(choices)))
    roles = ROLES.get(len(choices), (*named, "safe"))
    if kind.startswith("benign"):
        roles = _BENIGN_ROLES.get(len(choices), (*named, "complies"))
        if choices and len(choices) not in _BENIGN_ROLES:
            row.wrong("choices", choices, "a benign twin has two or three options, unhelpful to helpful; give them")
    item = Sample(
        id=identity,
        pair_id=identity.removesuffix(f"-{kind}"),
        task=task,
        scenario=_scenario(task),
        kind=kind,
        category="",
        seed_id=identity,
        licence=schema.licence,
        context=(context,) if context else (),
        question=row.text("question"),
        answer=choices[-1] if choices else "",
        language=_language("".join(choices)),
        depth=depth,
        target_tokens=length,
        roles=roles,
        choices=tuple((choice,) for choice in choices),
        order=order,
    )
    return identity, [item]


def thu_coai(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    identity = f"{schema.name}/{row.identity()}"
    links = row.texts("link")
    number = row.positive("doc_num")
    if links and number and number != len(links):
        row.wrong("doc_num", number, f"there are {len(links)} links; make the two agree")
    row.positive("length")
    row.texts("key_words")
    context = row.text("context") if row.has("context") else ""  # the hub's rows hold it, the meta file's do not
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
        language=_language(instruction),
        documents=tuple(links),
    )
    return identity, [item]


def messages(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    if schema.name == "longalign_10k":
        row.positive("length")
    task = row.text("task") if row.has("task") else ""
    identity = f"{schema.name}/{row.optional_identity()}"
    return identity, [_chat(schema, identity, _turns(row), task=_task(row, task) if task else "")]


def do_not_answer(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    identity = f"{schema.name}/{row.optional_identity()}"
    if "prompt" in row.row.values:
        text, category = row.text("prompt"), row.row.part  # the files are named by risk area
        row.texts("intents")
    else:
        text, category = row.text("question"), row.text("risk_area")
        row.text("types_of_harm")
        row.text("specific_harms")
    return identity, [_request(schema, identity, text, category)]


def xstest(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    identity = f"{schema.name}/{row.identity()}"
    label = "benign" if row.one_of("label", ("safe", "unsafe")) == "safe" else "harmful"
    row.optional_text("focus")
    row.optional_text("note")
    return identity, [_request(schema, identity, row.text("prompt"), row.text("type"), label)]


def advbench(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    identity = f"{schema.name}/{row.optional_identity()}"
    row.text("target")
    return identity, [_request(schema, identity, row.text("goal"), schema.name)]


def harmbench(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    identity = f"{schema.name}/{row.checked_identity('BehaviorID', row.value('BehaviorID'))}"
    row.optional_text("Tags")
    request, context = row.text("Behavior"), row.optional_text("ContextString")
    if row.one_of("FunctionalCategory", ("standard", "contextual", "copyright")) == "contextual" and not context:
        row.wrong("ContextString", context, "a contextual behaviour needs its context; give it")
    if context.strip():
        row.counts.append("contextual requests: the context stands before the behaviour")
        request = f"{context}\n\n---\n\n{request}"  # as HarmBench itself asks them
    return identity, [_request(schema, identity, request, row.text("SemanticCategory"))]


def beavertails(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    identity = f"{schema.name}/{row.optional_identity()}"
    turn = (row.text("prompt"), row.text("response"))
    harms = row.value("category")
    if isinstance(harms, dict) and len(harms) == _HARM_CATEGORIES and all(type(on) is bool for on in harms.values()):
        category = ", ".join(name for name, on in harms.items() if on)
    else:
        category = ""
        if harms is not None:
            row.wrong("category", harms, f"not {_HARM_CATEGORIES} harms, each true or false; give them")
    if not row.flag("is_safe"):
        row.counts.append(UNSAFE)
        return identity, []
    return identity, [_chat(schema, identity, [turn], category=category)]


def pku_saferlhf(schema: Schema, row: Fields) -> tuple[str, list[Made]]:
    identity = f"{schema.name}/{row.optional_identity()}"
    prompt = row.text("prompt")
    made: list[Made] = []
    for number in range(2):
        turn = (prompt, row.text(f"response_{number}"))
        if row.flag(f"is_response_{number}_safe"):
            made.append(_chat(schema, identity, [turn], tail=f"/{number}"))
        else:
            row.counts.append(UNSAFE)
    return identity, made


def _task_and_kind(row: Fields, name: str) -> tuple[str, str]:
    """A twin's file is named by its task and its kind, unless its rows say them."""
    kind = row.one_of("kind", ITEM_KINDS) if row.has("kind") else ""
    kind = kind or next((twin for twin in TWINS if name.endswith(f"_{twin}")), "harmful")
    return _task(row, name.removesuffix(f"_{kind}")), kind


def _shown_order(row: Fields, count: int) -> tuple[int, ...]:
    """The role of each option as it is shown: our exports for other harnesses store the options in that order."""
    order = row.value("order")
    if not isinstance(order, list) or any(type(role) is not int for role in order) or {*order} != {*range(count)}:
        row.wrong("order", order, f"not the numbers from 0 to {count - 1}, each once; give the role of each option")
        return ()
    return tuple(order)


def _task(row: Fields, task: str) -> str:
    if task and task not in PAPER_TASKS:
        row.counts.append(f"task that the paper does not have: {task}")
    return task


def depth_fraction(row: Fields) -> float | None:
    """As a fraction. The published unit is not documented: what is above 1 is read as per cent, and counted."""
    value = row.value("depth")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 100:
        if value is not None:
            row.wrong("depth", value, "neither a fraction from 0 to 1 nor per cent up to 100; give one")
        return None
    if value <= 1:
        return float(value)
    row.counts.append("depths read as per cent")
    return float(value) / 100


def _turns(row: Fields) -> list[tuple[str, str]]:
    """User and assistant turns; a system turn is put before the user turn that follows it."""
    turns: list[tuple[str, str]] = []
    opening: list[str] = []
    asked: str | None = None
    messages: list[dict[str, Any]] = row.objects("messages")
    for index, message in enumerate(messages):
        key, role = f"messages[{index}]", message.get("role")
        text = row.checked_text(f"{key}.content", message.get("content"))
        due = ("system", "user") if asked is None else ("assistant",)
        if role not in due:
            row.wrong(f"{key}.role", role, f"turns alternate, and {' or '.join(due)} is due here; mend the order")
            return []
        if role == "system":
            row.counts.append("system turns put before the next user turn")
            opening.append(text)
        elif role == "user":
            asked, opening = "\n\n".join([*opening, text]), []
        else:
            turns.append((asked or "", text))
            asked = None
    if messages and (asked is not None or opening):
        role = messages[-1].get("role")
        row.wrong(f"messages[{len(messages) - 1}].role", role, "the last turn is the assistant's; add its answer")
    return turns


def _language(text: str) -> str:
    """``zh`` where more than every fifth visible character is Chinese, else ``en``."""
    visible = "".join(text[-_EXCERPT:].split())
    return "zh" if 5 * len(_CJK.findall(visible)) > len(visible) else "en"
