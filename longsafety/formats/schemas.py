"""The public data sets' schemas: by which columns each is recognised, its licence, and what it yields."""

from __future__ import annotations

from longsafety.formats import parsers
from longsafety.formats.schema import Schema

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
