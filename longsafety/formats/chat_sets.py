"""Public sets of training chats: how a row becomes a sample with turns and an answer."""

from __future__ import annotations

from typing import Any

from longsafety.formats.fields import Fields
from longsafety.formats.schema import LATER_SYSTEM, UNSAFE, Identified, Made, Schema, checked_task

_HARM_CATEGORIES = 14
_SHAREGPT = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
"""ShareGPT's names of roles (``conversations``, with ``from`` and ``value``)."""


def _longsafety_17k(schema: Schema, row: Fields) -> Identified:
    task = checked_task(row, row.text("task"))
    identity = f"{task}/{row.identity()}"
    turns = [
        (
            row.checked_text(f"content[{index}].prompt", turn.get("prompt")),
            row.checked_text(f"content[{index}].output", turn.get("output")),
        )
        for index, turn in enumerate(row.objects("content"))
    ]
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
    system, turns = _turns(row)
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


def _turns(row: Fields) -> tuple[str, list[tuple[str, str]]]:
    """The system message that opens the chat, and user and assistant turns; a later system message is put before the
    user turn that follows it."""
    turns: list[tuple[str, str]] = []
    system = ""
    opening: list[str] = []
    asked: str | None = None
    column = "messages" if row.has("messages") else "conversations"
    messages: list[dict[str, Any]] = row.objects(column)
    for index, message in enumerate(messages):
        theirs = "from" in message and "role" not in message
        key, said = f"{column}[{index}]", "value" if theirs else "content"
        role = _SHAREGPT.get(str(message["from"]), message["from"]) if theirs else message.get("role")
        text = row.checked_text(f"{key}.{said}", message.get(said))
        due = ("system", "user") if asked is None else ("assistant",)
        if role not in due:
            row.wrong(f"{key}.role", role, f"turns alternate, and {' or '.join(due)} is due here; fix the order")
            return "", []
        if role == "system" and index == 0:
            system = text
        elif role == "system":
            row.counts.append(LATER_SYSTEM)
            opening.append(text)
        elif role == "user":
            asked, opening = "\n\n".join([*opening, text]), []
        else:
            turns.append((asked or "", text))
            asked = None
    if messages and (asked is not None or opening):
        row.wrong(f"{column}[{len(messages) - 1}].role", role, "the last turn is the assistant's; add its answer")
    return system, turns


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
