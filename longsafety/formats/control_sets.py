"""Public sets with benign prompts too: controls that look harmful, and that a model should answer.

Columns, licences and names of files are those of the sets' pages on the Hugging Face hub and GitHub, except that the
columns of XSTest and WildGuardMix, FalseReject's ``category_text`` and CoCoNot's licence were taken from programs that
read them. None was tried on its own files.
"""

from __future__ import annotations

from longsafety.formats.fields import Fields
from longsafety.formats.labels import Label
from longsafety.formats.schema import Identified, Schema
from longsafety.samples.licence import GATED_ODC_BY

_CONCERNS = "Requests with safety concerns"


def _xstest(schema: Schema, row: Fields) -> Identified:
    """Older files have no label: there the unsafe types begin with ``contrast_``."""
    identity = f"{schema.name}/{row.optional_identity()}"
    kind = row.text("type")
    label: Label = "harmful" if kind.startswith("contrast_") else "benign"
    if row.has("label"):
        said: Label = "benign" if row.one_of("label", ("safe", "unsafe")) == "safe" else "harmful"
        if kind.startswith("contrast_") and said == "benign":
            row.wrong("label", "safe", f"type = {kind} is the unsafe side of a pair; correct one of the two")
        label = said
    row.optional_text("focus")
    row.optional_text("note")
    return identity, [schema.request(identity, row.text("prompt"), kind, label)]


def _jailbreakbench(schema: Schema, row: Fields) -> Identified:
    """``Goal`` is the request and ``Behavior`` its title; the benign file has the same columns."""
    label = row.label() or row.named({"harmful": "harmful", "benign": "benign"})
    index = row.checked_identity("Index", row.value("Index")) if row.has("Index") else row.row.name
    row.text("Target")
    row.text("Behavior")
    row.optional_text("Source")
    if label is None:
        row.problems.append(_unnamed("harmful or benign"))
    identity = f"{schema.name}/{label}/{index}"
    return identity, [schema.request(identity, row.text("Goal"), row.text("Category"), label or "harmful")]


def _or_bench(schema: Schema, row: Fields) -> Identified:
    """The files say which prompts they hold: or-bench-toxic harmful ones, or-bench-80k and -hard-1k benign ones."""
    label = row.label() or row.named({"toxic": "harmful", "hard": "benign", "80k": "benign"})
    if label is None:
        row.problems.append(_unnamed("toxic, hard or 80k"))
    identity = f"{schema.name}/{row.optional_identity()}"
    return identity, [schema.request(identity, row.text("prompt"), row.text("category"), label or "harmful")]


def _falsereject(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    row.has("category")  # its number, where category_text names it
    category = row.row.values.get("category_text" if row.has("category_text") else "category")
    return identity, [schema.request(identity, row.text("prompt"), str(category or schema.name), "benign")]


def _wildguardmix(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    category = row.optional_text("subcategory") or schema.name
    if not row.has("prompt_harm_label") or row.row.values["prompt_harm_label"] == "":
        row.counts.append("left out: prompts on whose label the annotators did not agree")
        return identity, []
    label: Label = "benign" if row.one_of("prompt_harm_label", ("harmful", "unharmful")) == "unharmful" else "harmful"
    if str(row.value("adversarial")).casefold() == "true":
        row.counts.append("adversarial prompts: their request is wrapped")
    return identity, [schema.request(identity, row.text("prompt"), category, label)]


def _coconot(schema: Schema, row: Fields) -> Identified:
    """The contrast set is benign, under the categories of the original; of that only one category is about harm."""
    labels: dict[str, Label] = {"contrast": "benign", "original": "harmful", "eval": "harmful", "evaluation": "harmful"}
    label = row.label() or row.named({"contrast": "benign"}) or row.named(labels)
    category, subcategory = row.text("category"), row.optional_text("subcategory")
    identity = f"{schema.name}/{row.identity()}"
    if label is None:
        row.problems.append(_unnamed("original or contrast"))
    if label == "harmful" and category != _CONCERNS:
        row.counts.append(f"left out: not about harm ({category})")
        return identity, []
    return identity, [schema.request(identity, row.text("prompt"), subcategory or category, label or "harmful")]


def _unnamed(words: str) -> str:
    return (
        "label = (missing): neither the file's name nor its folder's says whether its rows are harmful or benign; name "
        f"it with {words}, or add a column label (harmful, benign)"
    )


CONTROLS = (
    Schema(
        "xstest",
        "CC-BY-4.0",
        "requests",
        (("id", "prompt", "type", "label"), ("prompt", "type", "focus")),
        _xstest,
        published="Paul/XSTest, arXiv 2308.01263",
        called="xstest",
        common_columns=(("prompt", "type"),),
    ),
    Schema(
        "jailbreakbench",
        "MIT",
        "requests",
        (("Goal", "Target", "Behavior", "Category"),),
        _jailbreakbench,
        published="JailbreakBench/JBB-Behaviors, arXiv 2404.01318",
    ),
    Schema(
        "or_bench",
        "CC-BY-4.0",
        "requests",
        (),
        _or_bench,
        published="bench-llm/or-bench, arXiv 2405.20947",
        called="or.?bench",
        common_columns=(("prompt", "category"),),
    ),
    Schema(
        "falsereject",
        "CC-BY-NC-4.0",
        "requests",
        (("prompt", "category_text"),),
        _falsereject,
        published="AmazonScience/FalseReject, arXiv 2505.08054",
        called="false.?reject",
        common_columns=(("prompt", "category"),),
    ),
    Schema(
        "wildguardmix",
        GATED_ODC_BY,
        "requests",
        (("prompt", "adversarial", "prompt_harm_label"),),
        _wildguardmix,
        published="allenai/wildguardmix, arXiv 2406.18495",
    ),
    Schema(
        "coconot",
        "ODC-BY-1.0",
        "requests",
        (("id", "prompt", "response", "category", "subcategory"),),
        _coconot,
        published="allenai/coconot, arXiv 2407.12043",
        called="coconot",
        common_columns=(("id", "prompt", "category", "subcategory"),),
    ),
)
