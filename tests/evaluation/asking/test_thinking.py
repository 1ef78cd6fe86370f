"""Templates of reasoning models: their switch, the ends of prompts, and what a model that thinks is asked."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from longsafety.errors import DataError
from longsafety.evaluation.asking.answer import CUT_IN_THOUGHT, answer_row
from longsafety.evaluation.asking.backend import Question, TokenBackend
from longsafety.evaluation.asking.trials import trials_of
from longsafety.evaluation.asking.truncation import UNKNOWN
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.template import switched, undated
from longsafety.settings import Evaluation
from tests.evaluation.asking.stubs import ITEMS

TURNS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + BEFORE + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
)
EMPTY = "<think>\n\n</think>\n\n"


def template(before: str = "", prompt: str = "", switch: str = "") -> str:
    """``before``: what the template writes before the last answer; ``prompt``: after the generation prompt;
    ``switch``: the variable that, where it is false, makes it write an empty thought there."""
    last = f"('{before}' if m['role'] == 'assistant' and loop.last else '')"
    off = f"{{% if {switch} is defined and {switch} is false %}}{{{{ '{EMPTY}' }}}}{{% endif %}}" if switch else ""
    opening = "{{ '<|im_start|>assistant\n" + prompt + "' }}"
    return TURNS.replace("BEFORE", last) + "{% if add_generation_prompt %}" + opening + off + "{% endif %}"


QWEN = template(before=EMPTY, switch="enable_thinking")
OPENS = template(prompt="<think>\n")
KINDS = {  # kind, thinking → what a reply, and options, are written after
    ("a switch", "auto"): (QWEN, EMPTY, EMPTY),
    ("a switch", "on"): (QWEN, "", EMPTY),
    ("a switch", "off"): (QWEN, EMPTY, EMPTY),
    ("another switch", "on"): (template(before=EMPTY, switch="thinking"), "", EMPTY),
    ("another switch", "off"): (template(before=EMPTY, switch="thinking"), EMPTY, EMPTY),
    ("an empty thought, no switch", "on"): (template(before=EMPTY), "", EMPTY),
    ("an empty thought, no switch", "off"): (template(before=EMPTY), EMPTY, EMPTY),
    ("an open thought", "auto"): (OPENS, "<think>\n", "<think>\n\n</think>\n\n"),
    ("an open thought", "on"): (OPENS, "<think>\n", "<think>\n\n</think>\n\n"),
    ("an open thought", "off"): (OPENS, "<think>\n\n</think>\n\n", "<think>\n\n</think>\n\n"),
    ("brackets", "off"): (template(prompt="[THINK]"), "[THINK]\n[/THINK]\n\n", "[THINK]\n[/THINK]\n\n"),
    ("no thoughts", "auto"): (template(), "", ""),
    ("no thoughts", "off"): (template(), "", ""),
}  # fmt: skip


def told(encoder: ChatEncoder, text: str, thinking: str) -> ChatEncoder:
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.chat_template = switched(text, thinking)
    return ChatEncoder(tokenizer, encoder.store)


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
def test_where_replies_and_options_begin(tiny_encoder: ChatEncoder, kind: tuple[str, str]) -> None:
    text, reply, options = KINDS[kind]
    made = told(tiny_encoder, text, kind[1])
    start = "<|im_start|>assistant\n"
    assert made.prompt_text((), "What?", end="reply").partition(start)[2] == reply
    assert made.prompt_text((), "What?", end="options").partition(start)[2] == options
    assert made.template.options_after == ("a closed empty thought" if options else "the prompt")
    assert undated(made.tokenizer.chat_template) == text
    for end in ("reply", "options"):
        ids = made.prompt_ids((), "What?", end=end)
        assert ids.tolist() == made.literal_ids(made.prompt_text((), "What?", end=end)).tolist()
        assert len(ids) == made.prompt_length((), "What?", end=end)


def test_a_trained_answer_follows_the_empty_thought_whatever_the_switch(tiny_encoder: ChatEncoder) -> None:
    for thinking in ("auto", "on", "off"):
        made = told(tiny_encoder, QWEN, thinking)
        assert made.prompt_text((), "What?").endswith(f"assistant\n{EMPTY}")
        assert made.answer_text("What?", "No.") == "No.<|im_end|>"


def test_a_model_without_thoughts_cannot_be_told_to_think(tiny_encoder: ChatEncoder) -> None:
    with pytest.raises(DataError, match=r"^model\.thinking = on: the chat template has no switch"):
        told(tiny_encoder, template(), "on").prompt_ids((), "What?", end="reply")


class Says(TokenBackend):
    """Replies with given texts in turn, and remembers how many tokens it was allowed."""

    def __init__(self, encoder: ChatEncoder, *texts: str) -> None:
        self.encoder, self.texts, self.allowed = encoder, list(texts), 0

    def replies(
        self, prompts: Sequence[np.ndarray], *, max_new_tokens: int, end_ids: Sequence[int], pad_id: int
    ) -> Iterable[np.ndarray]:
        self.allowed = max_new_tokens
        return [self.encoder.literal_ids(self.texts.pop(0)) for _ in prompts]

    def loglikelihoods(self, questions: Sequence[Question]) -> list[np.ndarray]:
        raise AssertionError("no scorer that reads likelihoods")

    def facts(self) -> dict[str, int | str]:
        return {}


def test_thoughts_are_kept_apart_from_the_reply_and_a_cut_one_is_no_reply(
    tiny_encoder: ChatEncoder,
) -> None:
    made = told(tiny_encoder, QWEN, "on")
    evaluation = Evaluation(scorers=["generate"], max_new_tokens=9, max_thought_tokens=20)
    trial = trials_of(ITEMS[0], evaluation)[0]
    letter = "ABCDEFGHIJ"[trial.order.index(0)]  # type: ignore[union-attr]
    backend = Says(made, f"<think>\nIs it another? No.\n</think>\n\n{letter}", f"<think>\nThe answer is {letter}, or")
    rows: list[dict[str, Any]] = []
    for group in backend.answers([[trial], [trial]], made, evaluation):
        rows += [answer_row(one, answer, UNKNOWN, 256) for one, answer in group]
    assert backend.allowed == 29
    assert (rows[0]["reply"], rows[0]["thoughts"], rows[0]["chosen"]) == (letter, "Is it another? No.", 0)
    assert rows[0]["thought_tokens"] == len(made.literal_ids("Is it another? No."))
    assert (rows[1]["reply"], rows[1]["status"], rows[1]["reason"]) == ("", "unparsed", CUT_IN_THOUGHT)
    assert rows[1]["chosen"] == -1
    assert rows[1]["thoughts"] == f"The answer is {letter}, or"
