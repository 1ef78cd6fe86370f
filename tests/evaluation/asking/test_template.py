"""Weights are asked in the chat template that they were trained with, unless another is allowed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from longsafety.errors import ConfigError
from longsafety.model.tokenizer import template_hash
from longsafety.pipeline.corpus import tokenizer

if TYPE_CHECKING:
    from tests.conftest import Place

TRAINED = [
    "scenario=keyword_rag",
    "scenario.bench_items=2",
    "scenario.train_samples=4",
    "data_mix.budget=4",
    "data_mix.budget_unit=samples",
    "training.batch_size=4",
    "length=512",
]


@pytest.mark.slow
def test_the_template_is_kept_with_weights_and_answers_and_checked(place: Place) -> None:
    run = place.execute(*TRAINED)
    own = template_hash(tokenizer(run))
    told = place.stage("weights") / "chat_template.json"
    assert json.loads(told.read_text("utf-8")) == own
    kept = json.loads((place.stage("answers") / "evaluation.json").read_text("utf-8"))
    assert kept["chat_template"] == own

    told.write_text('"0123456789ab"', "utf-8")
    shutil.rmtree(place.stage("answers"))
    with pytest.raises(ConfigError, match=rf"mismatch = false: the weights of longsafety.* 0123456789ab.* {own} now; "):
        place.execute(*TRAINED)
    assert not place.stages("answers")
    place.execute(*TRAINED, "evaluation.allow_template_mismatch=true")
    assert place.stage("answers")


def test_a_changed_template_has_another_hash(tiny_tokenizer: Any) -> None:
    class Other:
        chat_template: Any = tiny_tokenizer.chat_template + " "

    before = template_hash(tiny_tokenizer)
    assert template_hash(Other) != before
    Other.chat_template = {"default": "a", "tool_use": "b"}
    several = template_hash(Other)
    Other.chat_template = {"tool_use": "b", "default": "a"}
    assert template_hash(Other) == several
