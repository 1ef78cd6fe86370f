"""Control tokens are found whatever their name; ordinary text that is an added token is none."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tokenizers import AddedToken, normalizers

from longsafety.samples.control import CHAT_TOKENS, ControlTokens

PHI = "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
ROLE = "{% for m in messages %}{{ '~~' + m['role'] + '~~' + m['content'] }}{% endfor %}"


def with_tokens(tokenizer: Any, template: str, *tokens: AddedToken) -> ControlTokens:
    made = copy.deepcopy(tokenizer)
    made.add_tokens(list(tokens))
    made.chat_template = template
    return ControlTokens(made)


def plain(text: str) -> AddedToken:
    return AddedToken(text, special=False, normalized=False)


@pytest.mark.parametrize(
    "text",
    [
        "<|user|>", "<|start_header_id|>", "<|fim_prefix|>", "<tool_call>", "</think>", "[INST]", "[/INST]",
        "<start_of_turn>", "<｜User｜>", "[TOOL_CALLS]", "</s>",
    ],
)  # fmt: skip
def test_tokens_without_a_name_that_are_not_special(tiny_tokenizer: Any, text: str) -> None:
    control = with_tokens(tiny_tokenizer, PHI, plain(text))
    assert control.found("prose", f"Some prose.{text} More prose.") == text
    assert control.found("Some prose.", text[:-1], text[1:]) is None
    assert ControlTokens(tiny_tokenizer).found(f"a {text} b") is None  # to another model it is text


def test_special_tokens_of_any_form(tiny_tokenizer: Any) -> None:
    control = with_tokens(tiny_tokenizer, PHI, AddedToken("@@turn@@", special=True))
    assert control.found("one @@turn@@ two") == "@@turn@@"
    assert control.found("one <|im_end|> two") == "<|im_end|>"


@pytest.mark.parametrize("text", ["~~user~~", "~~assistant~~"])
def test_a_marker_that_the_template_puts_together(tiny_tokenizer: Any, text: str) -> None:
    assert with_tokens(tiny_tokenizer, ROLE, plain(text)).found(f"a{text}") == text
    assert with_tokens(tiny_tokenizer, PHI, plain(text)).found(f"a{text}") is None


@pytest.mark.parametrize("text", ["\n\n", "  ", "<table>", "assistant", "harbour"])
def test_added_tokens_that_are_ordinary_text(tiny_tokenizer: Any, text: str) -> None:
    assert with_tokens(tiny_tokenizer, ROLE + "\n\n  ", plain(text)).found(f"some{text}thing") is None


def test_a_token_that_is_looked_for_in_the_normalized_text(tiny_tokenizer: Any) -> None:
    made = copy.deepcopy(tiny_tokenizer)
    made.backend_tokenizer.normalizer = normalizers.NFKC()
    made.add_tokens([AddedToken("<|user|>", special=False, normalized=True)])
    wide = "some ＜|ｕser|＞ prose"
    assert made.convert_tokens_to_ids("<|user|>") in made(wide, add_special_tokens=False)["input_ids"]
    assert ControlTokens(made).found(wide) == "<|user|>"


def test_nested_values_and_broken_tokens(tiny_tokenizer: Any) -> None:
    control = ControlTokens(tiny_tokenizer)
    assert control.found_in({"options": {"safe": ("fine", "a<|im_start|>b")}, "turns": [["x", "y"]]}) == "<|im_start|>"
    assert control.found_in({"<|im_end|>": "fine"}) == "<|im_end|>"
    assert control.found_in({"options": {"safe": ("fine",)}, "n": 3, "none": None}) is None
    broken = control.broken("a<|im_end|>b")
    assert control.found(broken) is None
    assert broken.replace(" ", "") == "a<|im_end|>b"


def test_each_model_s_marks_are_known_to_the_teachers_validator() -> None:
    for text in ("<|im_end|>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<think>", "<end_of_turn>", "[/INST]"):
        assert CHAT_TOKENS.fullmatch(text), text
    assert not CHAT_TOKENS.search("a < b, c > d; [1] and [see above], <table> and <p>")
