"""Public sets of harmful (or only seemingly harmful) requests, of which seed items are made."""

from __future__ import annotations

from longsafety.formats.fields import Fields
from longsafety.formats.schema import Identified, Schema


def _do_not_answer(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    if "prompt" in row.row.values:
        text, category = row.text("prompt"), row.row.part  # the files are named by risk area
        row.texts("intents")
    else:
        text, category = row.text("question"), row.text("risk_area")
        row.text("types_of_harm")
        row.text("specific_harms")
    return identity, [schema.request(identity, text, category)]


def _xstest(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.identity()}"
    label = "benign" if row.one_of("label", ("safe", "unsafe")) == "safe" else "harmful"
    row.optional_text("focus")
    row.optional_text("note")
    return identity, [schema.request(identity, row.text("prompt"), row.text("type"), label)]


def _advbench(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    row.text("target")
    return identity, [schema.request(identity, row.text("goal"), schema.name)]


def _harmbench(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.checked_identity('BehaviorID', row.value('BehaviorID'))}"
    row.optional_text("Tags")
    request, context = row.text("Behavior"), row.optional_text("ContextString")
    if row.one_of("FunctionalCategory", ("standard", "contextual", "copyright")) == "contextual" and not context:
        row.wrong("ContextString", context, "a contextual behaviour needs its context; give it")
    if context.strip():
        row.counts.append("contextual requests: the context stands before the behaviour")
        request = f"{context}\n\n---\n\n{request}"  # the prompt of HarmBench's own evaluation
    return identity, [schema.request(identity, request, row.text("SemanticCategory"))]


REQUESTS = (
    Schema(
        "do_not_answer",
        "CC-BY-NC-SA-4.0",
        "requests",
        (("question", "risk_area", "types_of_harm", "specific_harms"), ("prompt", "intents")),
        _do_not_answer,
    ),
    Schema("xstest", "CC-BY-4.0", "requests", (("id", "prompt", "type", "label"),), _xstest),
    Schema("advbench", "MIT", "requests", (("goal", "target"),), _advbench),
    Schema(
        "harmbench",
        "MIT",
        "requests",
        (("Behavior", "FunctionalCategory", "SemanticCategory", "BehaviorID"),),
        _harmbench,
    ),
)
