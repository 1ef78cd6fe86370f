"""The public data sets' schemas: by which columns each is recognised, its licence, and what it yields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from longsafety.scenarios import parsers
from longsafety.scenarios.fields import Fields
from longsafety.scenarios.parsers import Made
from longsafety.scenarios.rows import Row

Yields = Literal["chats", "items", "requests"]


@dataclass(frozen=True)
class Parsed:
    """What a row became. With ``problems`` the row is bad, and ``made`` means nothing."""

    id: str
    """Unique in its set: one row of an id, no more."""
    made: list[Made]
    problems: list[str]
    """``key = value: rule; fix`` each."""
    counts: list[str]
    """What was handled on the way, one name a time."""


@dataclass(frozen=True)
class Schema:
    """A public set's layout."""

    name: str
    licence: str
    yields: Yields
    columns: tuple[tuple[str, ...], ...]
    """The columns by which it is recognised; more than one tuple where it is spread in several layouts."""
    build: Callable[[Schema, Fields], tuple[str, list[Made]]]
    """Row → (id, what it becomes)."""

    def fits(self, columns: set[str]) -> int:
        """How many columns speak for this schema; 0 if one of its own is lacking."""
        return max((len(layout) for layout in self.columns if columns.issuperset(layout)), default=0)

    def parse(self, row: Row) -> Parsed:
        """Checks every field of a row that is not damaged, and makes its samples or requests."""
        fields = Fields(row)
        identity, made = self.build(self, fields)
        counts = fields.counts + [f"column not used: {column}" for column in fields.unused()]
        return Parsed(identity, made, fields.problems, counts)


_PUBLIC = (
    Schema("longsafety_17k", "unknown", "chats", (("id", "task", "content"),), parsers.longsafety_17k),
    Schema("longsafety_11k", "Apache-2.0", "chats", (("id", "task", "input", "output"),), parsers.longsafety_11k),
    Schema(
        "longsafety_bench", "Apache-2.0", "items", (("id", "context", "question", "choices"),), parsers.longsafety_bench
    ),
    Schema(
        "thu_coai",
        "MIT",
        "items",
        (("id", "link", "length", "safety_type", "key_words", "instruction", "task_type", "doc_num"),),
        parsers.thu_coai,
    ),
    Schema("longalign_10k", "Apache-2.0", "chats", (("messages", "length"),), parsers.messages),
    Schema("chat", "unknown", "chats", (("messages",),), parsers.messages),
    Schema(
        "do_not_answer",
        "CC-BY-NC-SA-4.0",
        "requests",
        (("question", "risk_area", "types_of_harm", "specific_harms"), ("prompt", "intents")),
        parsers.do_not_answer,
    ),
    Schema("xstest", "CC-BY-4.0", "requests", (("id", "prompt", "type", "label"),), parsers.xstest),
    Schema("advbench", "MIT", "requests", (("goal", "target"),), parsers.advbench),
    Schema(
        "harmbench",
        "MIT",
        "requests",
        (("Behavior", "FunctionalCategory", "SemanticCategory", "BehaviorID"),),
        parsers.harmbench,
    ),
    Schema(
        "beavertails", "CC-BY-NC-4.0", "chats", (("prompt", "response", "category", "is_safe"),), parsers.beavertails
    ),
    Schema(
        "pku_saferlhf",
        "CC-BY-NC-4.0",
        "chats",
        (("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"),),
        parsers.pku_saferlhf,
    ),
)
SCHEMAS: dict[str, Schema] = {schema.name: schema for schema in _PUBLIC}
"""Name → schema, for every public set that is read."""
