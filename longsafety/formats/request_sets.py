"""Public sets of harmful requests, of which seed items are made.

Columns and licences are those of the sets' pages on the Hugging Face hub and GitHub, except that SORRY-Bench's and
HarmfulQA's columns were taken from programs that read them, and CategoricalHarmfulQA's were not checked. Only
do-not-answer was tried on its own files.
"""

from __future__ import annotations

from longsafety.formats.fields import Fields
from longsafety.formats.schema import Identified, Schema
from longsafety.samples.licence import SORRY_BENCH, UNKNOWN


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


def _advbench(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    row.text("target")  # how a model that complies begins; not used
    return identity, [schema.request(identity, row.text("goal" if row.has("goal") else "prompt"), schema.name)]


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


def _strongreject(schema: Schema, row: Fields) -> Identified:
    """Its own questions (source ``custom``) are under MIT, those of others under their own licences."""
    identity = f"{schema.name}/{row.optional_identity()}"
    text = row.text("forbidden_prompt" if row.has("forbidden_prompt") else "prompt")
    licence = ""
    if row.text("source") != "custom":
        row.counts.append("requests taken from other sets: their licences are not known")
        licence = UNKNOWN
    return identity, [schema.request(identity, text, row.text("category"), licence=licence)]


def _sorry_bench(schema: Schema, row: Fields) -> Identified:
    """Only ``base`` rows become requests: the others are the same in other words, codes and languages."""
    style = row.text("prompt_style")
    identity = f"{schema.name}/{style}/{row.checked_identity('question_id', row.value('question_id'))}"
    turns, category = row.texts("turns", most=1), str(row.value("category"))
    if style != "base":
        row.counts.append("left out: other wordings of base requests (prompt_style)")
        return identity, []
    return identity, [schema.request(identity, turns[0] if turns else "", category)]


def _harmful_qa(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    catqa = row.has("Question")
    row.optional_text("Subcategory" if catqa else "subtopic")
    category = row.text("Category" if catqa else "topic")
    return identity, [schema.request(identity, row.text("Question" if catqa else "question"), category)]


REQUESTS = (
    Schema(
        "do_not_answer",
        "CC-BY-NC-SA-4.0",
        "requests",
        (("question", "risk_area", "types_of_harm", "specific_harms"), ("prompt", "intents")),
        _do_not_answer,
        published="LibrAI/do-not-answer, arXiv 2308.13387",
    ),
    Schema(
        "advbench",
        "MIT",
        "requests",
        (("goal", "target"),),
        _advbench,
        published="github.com/llm-attacks/llm-attacks, arXiv 2307.15043",
        called="adv.?bench",
        common_columns=(("prompt", "target"),),
    ),
    Schema(
        "harmbench",
        "MIT",
        "requests",
        (("Behavior", "FunctionalCategory", "SemanticCategory", "BehaviorID"),),
        _harmbench,
        published="github.com/centerforaisafety/HarmBench, arXiv 2402.04249",
    ),
    Schema(
        "strongreject",
        "MIT",
        "requests",
        (("category", "source", "forbidden_prompt"),),
        _strongreject,
        published="github.com/alexandrasouly/strongreject, arXiv 2402.10260",
        called="strong.?reject",
        common_columns=(("prompt", "category", "source"),),
    ),
    Schema(
        "sorry_bench",
        SORRY_BENCH,
        "requests",
        (("question_id", "category", "turns", "prompt_style"),),
        _sorry_bench,
        published="sorry-bench/sorry-bench-202503, arXiv 2406.14598",
    ),
    Schema(
        "harmful_qa",
        "Apache-2.0",
        "requests",
        (("question", "topic", "subtopic"), ("Question", "Category", "Subcategory")),
        _harmful_qa,
        published="declare-lab/HarmfulQA and declare-lab/CategoricalHarmfulQA, arXiv 2308.09662",
    ),
)
