"""Public layouts of preference pairs, and of prompts with an answer: read as chats with their worse answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from longsafety.formats.fields import Fields
from longsafety.formats.messages import assistant_text, dialogue, opening_system
from longsafety.formats.schema import Identified, Schema, checked_task

_Asked = tuple[str, list[tuple[str, str]]]
"""The system message, and the turns of a prompt, the last without a reply."""


def _trl(schema: Schema, row: Fields) -> Identified:
    """TRL, explicit prompt: texts, or lists of messages."""
    prompt = row.value("prompt")
    if isinstance(prompt, str):
        asked: _Asked = (opening_system(row), [(row.checked_text("prompt", prompt), "")])
    else:
        asked = dialogue(row, "prompt", answered=False)
    return _pair(schema, row, asked, *(_reply(row, key) for key in ("chosen", "rejected")))


def _sharegpt(schema: Schema, row: Fields) -> Identified:
    """LLaMA-Factory, several turns."""
    asked = dialogue(row, "conversations", answered=False)
    return _pair(schema, row, asked, *(_reply(row, key) for key in ("chosen", "rejected")))


def _alpaca(schema: Schema, row: Fields) -> Identified:
    """LLaMA-Factory, one turn: it puts the input below the instruction."""
    given = [row.text("instruction"), row.optional_text("input")]
    asked = opening_system(row), [("\n".join(filter(None, given)), "")]
    return _pair(schema, row, asked, row.text("chosen"), row.text("rejected"))


def _verl(schema: Schema, row: Fields) -> Identified:
    """The answer is the ground truth where that is a text; what else we write about a row is in extra_info."""
    asked = dialogue(row, "prompt", answered=False)
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
    if rejected and rejected.strip() == chosen.strip():
        row.counts.append("pairs of two equal answers: read without the rejected one")
        rejected = ""
    system, before = asked
    turns = [*before[:-1], (before[-1][0], chosen)] if before else []
    made = schema.chat(identity, turns, task=checked_task(row, task), system=system)
    return identity, [replace(made, rejected=rejected)]


def _reply(row: Fields, key: str) -> str:
    """A reply: a text, an assistant's message, or a list of one."""
    value = row.value(key)
    if value is None:
        return ""
    if isinstance(value, str):
        return row.checked_text(key, value)
    messages = value if isinstance(value, list) else [value]
    problems = len(row.problems)
    text = assistant_text(row, key, messages[0]) if len(messages) == 1 else None
    if text is None and len(row.problems) == problems:
        row.wrong(key, value, "not a text or one assistant message; give the reply alone, and all before it as prompt")
    return text or ""


PREFERENCES = (
    Schema("trl_preference", "unknown", "chats", (("prompt", "chosen", "rejected"),), _trl),
    Schema("llama_factory_preference", "unknown", "chats", (("conversations", "chosen", "rejected"),), _sharegpt),
    Schema("alpaca_preference", "unknown", "chats", (("instruction", "chosen", "rejected"),), _alpaca),
    Schema("verl", "unknown", "chats", (("data_source", "prompt", "ability", "reward_model"),), _verl),
)
