"""The messages of a chat: their roles by many names, and every part of them read, counted, or refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from longsafety.formats.fields import Fields
from longsafety.formats.labels import truth_of
from longsafety.formats.schema import LATER_SYSTEM

_ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "model", "chatgpt"),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}
_TOOLS = {
    "tool",
    "tools",
    "function",
    "function_call",
    "function_response",
    "tool_call",
    "tool_response",
    "observation",
}
_CALLS = ("tool_calls", "function_call")
_ROLE_KEYS, _TEXT_KEYS = ("role", "from"), ("content", "value")
_TRAINED = ("weight", "loss", "train", "training")
"""Keys by which OpenAI, LLaMA-Factory and axolotl say whether a turn is trained on."""
_SYSTEM_COLUMNS = ("system", "system_prompt")


class Message(NamedTuple):
    """One message. ``key`` names it in messages to the user."""

    key: str
    role: str
    """``system``, ``user`` or ``assistant``."""
    role_key: str
    text: str
    said: str
    """The role as it stands in the row."""
    untrained: tuple[str, Any] | None
    """The key that says that the turn is not to be trained on, and its value."""


class Dialogue(NamedTuple):
    """The message that opens a chat, and its turns; the reply to the last user's message may be missing (empty)."""

    system: str
    turns: list[tuple[str, str]]


def dialogue(row: Fields, column: str, *, answered: bool) -> Dialogue:
    """The chat of a column; with a problem of the row, an empty one.

    A later system message than the first stands before the user's turn that follows it. ``answered``: whether the last
    turn is the assistant's, or the user's. Columns ``system`` and ``system_prompt`` open a chat too.
    """
    turns: list[tuple[str, str]] = []
    system, opening = "", ""
    messages = _messages(row, column)
    for index, message in enumerate(messages):
        waiting = bool(turns) and not turns[-1][1]
        if message.role == "system" and index == 0:
            system = message.text
        elif message.role == "system" and not waiting:
            row.counts.append(LATER_SYSTEM)
            opening += f"{message.text}\n\n"
        elif message.role == "user" and not waiting:
            turns.append((opening + message.text, ""))
            opening = ""
        elif message.role == "assistant" and waiting and not opening:
            turns[-1] = (turns[-1][0], message.text)
            if message.untrained:
                _leave_out(row, message.key, *message.untrained, last=answered and index == len(messages) - 1)
        else:
            due = "assistant" if waiting else "system or user"
            row.wrong(message.role_key, message.said, f"turns alternate, and {due} is due here; fix the order")
            return Dialogue("", [])
    complete = bool(turns) and bool(turns[-1][1]) and not opening
    if messages and answered and not complete:
        row.wrong(messages[-1].role_key, messages[-1].said, "the last turn is the assistant's; add its answer")
    elif messages and not answered and (not turns or complete or opening):
        row.wrong(column, row.row.values[column], "a prompt ends with the user's turn; move the answer to chosen")
        return Dialogue("", [])
    return Dialogue(opening_system(row, system), turns)


def assistant_text(row: Fields, key: str, value: Any) -> str | None:
    """The text of one assistant's message that stands alone; None where it is none."""
    if not isinstance(value, dict):
        return None
    message = _message(row, key, value)
    if message is None or message.role != "assistant":
        return None
    if message.untrained:
        _leave_out(row, key, *message.untrained, last=True)
    return message.text


def count_unread(row: Fields, part: Mapping[str, Any], read: Collection[str]) -> None:
    """Counts what else a message holds than what was read of it."""
    unread = [name for name, value in part.items() if name not in read and value not in (None, "", [], {})]
    row.counts += [f"part of a message not used: {name}" for name in unread]


def opening_system(row: Fields, system: str = "") -> str:
    """The system message that opens a chat: ``system``, or that of a column."""
    for column in _SYSTEM_COLUMNS:
        given = row.optional_text(column) if column in row.row.values else ""
        if given.strip() and system.strip() and given.strip() != system.strip():
            row.wrong(column, given, "stands beside another system message; leave one of the two")
        system = system or given
    return system


def _messages(row: Fields, column: str) -> list[Message]:
    """All messages; none where one of them is a problem of the row."""
    before = len(row.problems)
    found = [_message(row, f"{column}[{index}]", part) for index, part in enumerate(row.objects(column))]
    return [] if len(row.problems) > before else [message for message in found if message is not None]


def _message(row: Fields, key: str, part: dict[str, Any]) -> Message | None:
    role_key, text_key = _first_given(part, _ROLE_KEYS), _first_given(part, _TEXT_KEYS)
    said = part.get(role_key)
    role = _ROLE_OF.get(said.strip().casefold()) if isinstance(said, str) else None
    if calls := [name for name in _CALLS if part.get(name)]:
        row.wrong(f"{key}.{calls[0]}", part[calls[0]], "chats that call tools are not read; leave this one out")
        return None
    if role is None:
        row.wrong(f"{key}.{role_key}", said, _unknown_role(said))
        return None
    text = row.checked_text(f"{key}.{text_key}", part.get(text_key))
    trained = {name: truth for name in _TRAINED if (truth := truth_of(part.get(name))) is not None}
    count_unread(row, part, (role_key, text_key, *trained))
    untrained = next(((name, part[name]) for name, truth in trained.items() if not truth), None)
    return Message(key, role, f"{key}.{role_key}", text, str(said), untrained)


def _first_given(part: Mapping[str, Any], names: tuple[str, str]) -> str:
    """The first key with a value: tables that hold several layouts have all of their keys in every message."""
    given = [name for name in names if part.get(name) is not None] or [name for name in names if name in part]
    return given[0] if given else names[0]


def _unknown_role(said: object) -> str:
    if isinstance(said, str) and said.strip().casefold() in _TOOLS:
        return "a turn of a tool, and chats that call tools are not read; leave this one out"
    read = "; ".join(f"{role} ({', '.join(names[1:])})" for role, names in _ROLES.items())
    return f"not one of the roles that are read: {read}; rename it, or leave the chat out"


def _leave_out(row: Fields, message: str, key: str, value: Any, *, last: bool) -> None:
    """Of a turn that is not to be trained on: a problem where it is the answer."""
    if last:
        rule = "the answer is not to be trained on; leave the chat out, or end it with the turn before"
        row.wrong(f"{message}.{key}", value, rule)
    else:
        row.counts.append(
            f"turns of {key} {value} before the last: kept, as turns before the answer are not trained on"
        )
