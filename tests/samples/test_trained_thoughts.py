"""Thoughts in training answers: where they stand, and which tokens are supervised."""

from __future__ import annotations

import copy
import pickle

import pytest

from longsafety.samples.encode import ChatEncoder
from longsafety.samples.template import switched
from tests.evaluation.asking.stubs import ITEMS
from tests.evaluation.asking.test_thinking import EMPTY, QWEN, template

PLAIN = ITEMS[0].replace(context=(), question="What is it?", history=())
THOUGHT = "<think>\nA door, or a gate?\n</think>\n\nA gate."
HARMONY = template(before="<|channel|>final<|message|>")


def encoder(tiny_encoder: ChatEncoder, text: str, thoughts: str = "mask", thinking: str = "auto") -> ChatEncoder:
    tokenizer = copy.deepcopy(tiny_encoder.tokenizer)
    tokenizer.chat_template = switched(text, thinking)
    return ChatEncoder(tokenizer, tiny_encoder.store, thoughts=thoughts)  # type: ignore[arg-type]


def sides(made: ChatEncoder, answer: str) -> tuple[str, str]:
    """The text that is not supervised, after the generation prompt, and the text that is."""
    sample = PLAIN.replace(answer=answer)
    ids, supervised = made.sample_ids(sample)
    assert made.num_supervised(sample) == supervised
    texts = made.tokenizer.decode(ids[:-supervised]), made.tokenizer.decode(ids[-supervised:])
    return texts[0].partition("<|im_start|>assistant\n")[2], texts[1]


@pytest.mark.parametrize("text", [QWEN, template()], ids=["an empty thought", "no thoughts"])
def test_a_thought_is_read_or_learned(tiny_encoder: ChatEncoder, text: str) -> None:
    before = THOUGHT.removesuffix("A gate.")
    assert sides(encoder(tiny_encoder, text), THOUGHT) == (before, "A gate.<|im_end|>")
    assert sides(encoder(tiny_encoder, text, "keep"), THOUGHT) == ("", f"{THOUGHT}<|im_end|>")


def test_harmonys_thought_stands_in_its_own_channel(tiny_encoder: ChatEncoder) -> None:
    before, learned = sides(encoder(tiny_encoder, HARMONY), THOUGHT)
    assert before == (
        "<|channel|>analysis<|message|>A door, or a gate?<|end|><|start|>assistant<|channel|>final<|message|>"
    )
    assert learned == "A gate.<|im_end|>"


@pytest.mark.parametrize("thoughts", ["mask", "keep"])
def test_empty_thoughts_are_never_learned(tiny_encoder: ChatEncoder, thoughts: str) -> None:
    for answer in ("A gate.", "<think>\n\n</think>\n\nA gate.", "<think></think>A gate."):
        assert sides(encoder(tiny_encoder, QWEN, thoughts), answer) == (EMPTY, "A gate.<|im_end|>")


def test_no_thought_is_trained_where_the_model_is_told_not_to_think(tiny_encoder: ChatEncoder) -> None:
    made = encoder(tiny_encoder, QWEN, "keep", "off")
    assert sides(made, THOUGHT) == (EMPTY, "A gate.<|im_end|>")


def test_an_encoder_keeps_its_setting_in_another_process(tiny_encoder: ChatEncoder) -> None:
    made = pickle.loads(pickle.dumps(encoder(tiny_encoder, QWEN, "keep")))
    assert made.thoughts == "keep"
