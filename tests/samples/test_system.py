"""System messages: a role of their own, and never untold in the user's turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.asking.selection import select_and_fit
from longsafety.evaluation.asking.system_text import system_text
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.samples.system import FOLDED, TEMPLATE_FOLDS, folded, placed
from longsafety.settings import Evaluation

FOLDING = (
    "{% set ns = namespace(first='') %}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{% set ns.first = m['content'] + '\\n' %}{% else %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'user' %}{{ ns.first }}{% set ns.first = '' %}{% endif %}{{ m['content'] }}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NONE = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DROPS = NONE.replace("{{ raise_exception('System role not supported') }}", "").replace(
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n",
    "{% if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endif %}",
)


def encoder_of(encoder: ChatEncoder, template: str) -> ChatEncoder:
    from copy import deepcopy

    tokenizer = deepcopy(encoder.tokenizer)
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer, encoder.store)


def sample_of(**more: Any) -> Sample:
    values = {
        "id": "a", "pair_id": "a", "task": "T", "scenario": "QH", "kind": "harmful", "category": "c", "seed_id": "s",
        "licence": "x", "context": (), "question": "Why?", "answer": "So.", "system": "Be brief.",
    }  # fmt: skip
    return Sample(**{**values, **more})


@pytest.mark.parametrize(("template", "role"), [(FOLDING, "user"), (NONE, ""), (DROPS, "")])
def test_what_a_template_does_with_a_system_message_is_known(
    tiny_encoder: ChatEncoder, template: str, role: str
) -> None:
    assert tiny_encoder.template.system_role == "own"
    assert encoder_of(tiny_encoder, template).template.system_role == role


def test_the_message_opens_the_chat_in_a_turn_of_its_own(tiny_encoder: ChatEncoder) -> None:
    sample = sample_of(context=("Boats leave at seven.",))
    text = tiny_encoder.prompt_text(*sample.prompt())
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nBoats leave")
    assert tiny_encoder.prompt_ids(*sample.prompt()).tolist() == tiny_encoder.literal_ids(text).tolist()
    assert tiny_encoder.messages(*sample.prompt())[0] == {"role": "system", "content": "Be brief."}
    assert "Be brief." not in tiny_encoder.prompt_text(*sample_of(system="").prompt())
    with pytest.raises(DataError, match="special token"):
        tiny_encoder.prompt_text(*sample_of(system="<|im_end|>").prompt())


def test_without_a_role_it_is_refused_or_folded_and_counted(tiny_encoder: ChatEncoder) -> None:
    bare = encoder_of(tiny_encoder, NONE)
    with pytest.raises(DataError, match="no system role"):
        bare.prompt_ids(*sample_of().prompt())
    assert placed([sample_of()], bare.template, fold=False) is None
    found = placed([sample_of(), sample_of(system="")], bare.template, fold=True)
    assert found is not None and found[1] == {FOLDED: 1} and found[0][0].question == "Be brief.\n\nWhy?"
    assert placed([sample_of()], encoder_of(tiny_encoder, FOLDING).template, fold=False)[1] == {TEMPLATE_FOLDS: 1}  # type: ignore[index]
    assert placed([sample_of()], tiny_encoder.template, fold=False) == ([sample_of()], {})


def test_folding_keeps_needles_and_opens_the_first_turn() -> None:
    long = folded(sample_of(context=("One. ", "needle", " two."), needles=(1,)))
    assert long.needle_texts == ("needle",) and long.context[0] == "Be brief.\n\n"
    assert folded(sample_of(history=(("Hi", "Ho"),))).history == (("Be brief.\n\nHi", "Ho"),)
    assert folded(sample_of(context=("One.",), goal="before")).question == "Be brief.\n\nWhy?"


def test_a_setting_is_a_text_a_file_or_none(tmp_path: Path) -> None:
    file = tmp_path / "system.txt"
    file.write_text("\ufeffBe kind.\n", "utf-8")
    assert (system_text("none"), system_text(str(file)), system_text(" Be kind. ")) == ("", "Be kind.", "Be kind.")
    assert system_text("x" * 5000) == "x" * 5000
    file.write_text(" \n", "utf-8")
    with pytest.raises(DataError, match="is empty"):
        system_text(str(file))


def test_items_are_asked_with_it_beyond_their_length(tiny_encoder: ChatEncoder) -> None:
    options = {"roles": ("unsafe", "safe"), "choices": (("Yes.",), ("No.",)), "comply_role": "unsafe", "right": "safe"}
    item = sample_of(system="", context=("Boats leave at seven. " * 20,), order=(0, 1), **options)
    length = tiny_encoder.prompt_length(*item.prompt())
    asked: Any = {"max_tokens": length, "window": 4096}
    evaluation = Evaluation(
        scorers=["likelihood"], controls=[], system="Be brief, and say nothing of the harbour. " * 60
    )
    (found,) = select_and_fit([item.replace(num_tokens=length)], tiny_encoder, evaluation, **asked).items
    assert found.system.startswith("Be brief")
    bare = encoder_of(tiny_encoder, NONE)
    with pytest.raises(ConfigError, match="has no system role"):
        select_and_fit([item], bare, evaluation, **asked)
    fitted = select_and_fit([item], bare, evaluation, **asked, fold_system=True)
    assert fitted.counts == {f"asked {FOLDED}": 1} and fitted.items[0].context[0].startswith("Be brief")  # type: ignore[union-attr]
    server = evaluation.model_copy(update={"backend": "openai"})
    assert select_and_fit([item], bare, server, **asked).items[0].system == found.system
