"""Public layouts of preference pairs, and of prompts with an answer: read as chats with their worse answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from longsafety.formats.fields import Fields
from longsafety.formats.schema import LATER_SYSTEM, Identified, Schema, checked_task

_Asked = tuple[str, list[tuple[str, str]]]
"""The system message, and the turns of a prompt, the last without a reply."""
_USERS, _ASSISTANTS = ("user", "human"), ("assistant", "gpt")


def _trl(schema: Schema, row: Fields) -> Identified:
    """TRL, explicit prompt: texts, or lists of messages."""
    prompt = row.value("prompt")
    whole = isinstance(prompt, str)
    asked = ("", [(row.checked_text("prompt", prompt), "")]) if whole else _dialogue(row, "prompt", "role", "content")
    return _pair(schema, row, asked, *(_reply(row, key, "role", "content") for key in ("chosen", "rejected")))


def _sharegpt(schema: Schema, row: Fields) -> Identified:
    """LLaMA-Factory, several turns."""
    asked = _dialogue(row, "conversations", "from", "value")
    asked = (row.optional_text("system") or asked[0], asked[1])
    return _pair(schema, row, asked, *(_reply(row, key, "from", "value") for key in ("chosen", "rejected")))


def _alpaca(schema: Schema, row: Fields) -> Identified:
    """LLaMA-Factory, one turn: it puts the input below the instruction."""
    given = [row.text("instruction"), row.optional_text("input")]
    asked = row.optional_text("system"), [("\n".join(filter(None, given)), "")]
    return _pair(schema, row, asked, row.text("chosen"), row.text("rejected"))


def _verl(schema: Schema, row: Fields) -> Identified:
    """The answer is the ground truth where that is a text; what else we write about a row is in extra_info."""
    asked = _dialogue(row, "prompt", "role", "content")
    row.text("data_source"), row.text("ability")
    reward, extra = row.value("reward_model"), row.row.values.get("extra_info")
    row.has("extra_info")
    answer = reward.get("ground_truth") if isinstance(reward, dict) else None
    about: dict[str, Any] = extra if isinstance(extra, dict) else {}
    identity = row.checked_identity("extra_info.id", about["id"]) if about.get("id") else row.row.name
    rejected = row.checked_text("extra_info.rejected", about.get("rejected") or "", may_be_empty=True)
    task = row.checked_text("extra_info.task", about.get("task") or "", may_be_empty=True)
    return _chat(schema, row, identity, task, asked, row.checked_text("reward_model.ground_truth", answer), rejected)


def _pair(schema: Schema, row: Fields, asked: _Asked, chosen: str, rejected: str) -> Identified:
    task = row.text("task") if row.has("task") else ""
    return _chat(schema, row, row.optional_identity(), task, asked, chosen, rejected)


def _chat(schema: Schema, row: Fields, name: str, task: str, asked: _Asked, chosen: str, rejected: str) -> Identified:
    identity = f"{schema.name}/{name}"
    system, before = asked
    turns = [*before[:-1], (before[-1][0], chosen)] if before else []
    made = schema.chat(identity, turns, task=checked_task(row, task), system=system)
    return identity, [replace(made, rejected=rejected)]


def _dialogue(row: Fields, key: str, role_key: str, text_key: str) -> _Asked:
    """A later system message than the first stands before the user's turn that follows it."""
    turns: list[tuple[str, str]] = []
    system = ""
    opening: list[str] = []
    for index, message in enumerate(row.objects(key)):
        role, place = message.get(role_key), f"{key}[{index}]"
        text = row.checked_text(f"{place}.{text_key}", message.get(text_key))
        answers = bool(turns) and not turns[-1][1] and not opening
        if role == "system" and index == 0:
            system = text
        elif role == "system" and not answers:
            row.counts.append(LATER_SYSTEM)
            opening.append(text)
        elif role in _USERS and not answers:
            turns.append(("\n\n".join([*opening, text]), ""))
            opening = []
        elif role in _ASSISTANTS and answers:
            turns[-1] = (turns[-1][0], text)
        else:
            due = "assistant" if answers else "system or user"
            row.wrong(f"{place}.{role_key}", role, f"turns alternate, and {due} is due here; fix the order")
            return "", []
    if opening or (turns and turns[-1][1]):
        row.wrong(key, row.row.values[key], "a prompt ends with the user's turn; move the answer to chosen")
        return "", []
    return system, turns


def _reply(row: Fields, key: str, role_key: str, text_key: str) -> str:
    """A reply: a text, an assistant's message, or a list of one."""
    value = row.value(key)
    if value is None:
        return ""
    if isinstance(value, str):
        return row.checked_text(key, value)
    messages = value if isinstance(value, list) else [value]
    if len(messages) != 1 or not isinstance(messages[0], dict) or messages[0].get(role_key) not in _ASSISTANTS:
        row.wrong(key, value, "not a text or one assistant message; give the reply alone, and all before it as prompt")
        return ""
    return row.checked_text(f"{key}.{text_key}", messages[0].get(text_key))


PREFERENCES = (
    Schema("trl_preference", "unknown", "chats", (("prompt", "chosen", "rejected"),), _trl),
    Schema("llama_factory_preference", "unknown", "chats", (("conversations", "chosen", "rejected"),), _sharegpt),
    Schema("alpaca_preference", "unknown", "chats", (("instruction", "chosen", "rejected"),), _alpaca),
    Schema("verl", "unknown", "chats", (("data_source", "prompt", "ability", "reward_model"),), _verl),
)
