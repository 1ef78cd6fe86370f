"""Public sets of training chats: how a row becomes a sample with turns and an answer."""

from __future__ import annotations

from longsafety.formats.fields import Fields
from longsafety.formats.messages import count_unread, dialogue
from longsafety.formats.schema import UNSAFE, Identified, Made, Schema, checked_task

_HARM_CATEGORIES = 14


def _longsafety_17k(schema: Schema, row: Fields) -> Identified:
    task = checked_task(row, row.text("task"))
    identity = f"{task}/{row.identity()}"
    turns = []
    for index, turn in enumerate(row.objects("content")):
        asked = row.checked_text(f"content[{index}].prompt", turn.get("prompt"))
        turns.append((asked, row.checked_text(f"content[{index}].output", turn.get("output"))))
        count_unread(row, turn, ("prompt", "output"))
    return identity, [schema.chat(identity, turns, task=task)]


def _longsafety_11k(schema: Schema, row: Fields) -> Identified:
    task = checked_task(row, row.text("task"))
    identity = f"{task}/{row.identity()}"
    return identity, [schema.chat(identity, [(row.text("input"), row.text("output"))], task=task)]


def _longalign_10k(schema: Schema, row: Fields) -> Identified:
    row.positive("length")
    return _chat(schema, row)


def _chat(schema: Schema, row: Fields) -> Identified:
    task = row.text("task") if row.has("task") else ""
    identity = f"{schema.name}/{row.optional_identity()}"
    column = "conversations" if not row.has("messages") and row.has("conversations") else "messages"
    system, turns = dialogue(row, column, answered=True)
    return identity, [schema.chat(identity, turns, task=checked_task(row, task), system=system)]


def _beavertails(schema: Schema, row: Fields) -> Identified:
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
    return identity, [schema.chat(identity, [turn], category=category)]


def _pku_saferlhf(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    prompt = row.text("prompt")
    made: list[Made] = []
    for number in range(2):
        turn = (prompt, row.text(f"response_{number}"))
        if row.flag(f"is_response_{number}_safe"):
            made.append(schema.chat(identity, [turn], suffix=f"/{number}"))
        else:
            row.counts.append(UNSAFE)
    return identity, made


CHATS = (
    Schema("longsafety_17k", "unknown", "chats", (("id", "task", "content"),), _longsafety_17k),
    Schema("longsafety_11k", "Apache-2.0", "chats", (("id", "task", "input", "output"),), _longsafety_11k),
    Schema("longalign_10k", "Apache-2.0", "chats", (("messages", "length"),), _longalign_10k),
    Schema("chat", "unknown", "chats", (("messages",), ("conversations",)), _chat),
    Schema("beavertails", "CC-BY-NC-4.0", "chats", (("prompt", "response", "category", "is_safe"),), _beavertails),
    Schema(
        "pku_saferlhf",
        "CC-BY-NC-4.0",
        "chats",
        (("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"),),
        _pku_saferlhf,
    ),
)
