from __future__ import annotations

from typing import Any

from longsafety.reporting.mask import BAR, mask
from longsafety.reporting.redact import redact


def test_harmful_texts_go_and_the_category_stays(record_of: Any) -> None:
    for example in record_of("base").examples:
        shown = redact(example)
        assert example.category in shown.question and "report.redact=false" in shown.question
        everything = " ".join(vars(shown).values())
        for harmful in (example.question, example.needle, example.unsafe):
            assert not harmful or harmful not in everything


def test_the_safe_option_loses_what_it_repeats_of_the_harm(record_of: Any) -> None:
    (rag,) = (e for e in record_of("base").examples if e.task == "KeywordRAG")
    assert redact(rag).safe == f"I can't help with {BAR}, because it could harm someone."


def test_a_needle_cut_off_in_the_excerpt_is_hidden_too() -> None:
    masked = mask(
        "…of the circuit saves the tenants money. Raises KeyError",
        ["Take it out of the circuit saves the tenants money"],
    )
    assert masked == f"…{BAR}. Raises KeyError"


def test_wholly_harmful_contexts_and_needles_not_found_hide_the_excerpt(record_of: Any) -> None:
    shown = {example.task: redact(example).context_excerpt for example in record_of("base").examples}
    assert shown["ManyShotJailbreak"].startswith(f"{BAR} [fraud")
    assert BAR in shown["HarmfulNIAH"] and "iterates over the items" in shown["HarmfulNIAH"]
    (niah,) = (e for e in record_of("base").examples if e.task == "HarmfulNIAH")
    other = redact(type(niah)(**vars(niah) | {"context_excerpt": "spelt otherwise"}))
    assert other.context_excerpt.startswith(f"{BAR} [physical_harm")


def test_short_harmful_texts_are_masked_whole() -> None:
    assert mask("Tell me about Doxxing!", ["doxxing"]) == f"Tell me about {BAR}!"
    assert mask("the text says so", ["the text is long and wrong"]) == "the text says so"
