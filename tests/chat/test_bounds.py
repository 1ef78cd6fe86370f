"""Bounds in servers' words, and requests that keep them."""

from __future__ import annotations

from typing import Any

import pytest

from longsafety.chat.bounds import Bound, named_bound
from longsafety.chat.form import Form


@pytest.mark.parametrize(
    ("words", "sent", "expected"),
    [
        ("Requested sample logprobs of 20, which is greater than max allowed: 5", 20, Bound("most", 5)),
        ("top_logprobs: maximum allowed is 8", 20, Bound("most", 8)),
        ("the valid range is [0, 7]", 20, Bound("most", 7)),
        ("must be less than 6", 20, Bound("most", 5)),
        ("must be less than or equal to 6", 20, Bound("most", 6)),
        ("max_tokens: 9000 > 4096, which is the maximum number of output tokens", 9000, Bound("most", 4096)),
        ("gpt-4-0613 takes at most 16,384 tokens (you sent 20000)", 20000, Bound("most", 16384)),
        ("Expected a value >= 16, but got 1 instead", 1, Bound("least", 16)),
        ("Input should be greater than 2", 1, Bound("least", 3)),
        ("must be at least 4, at most 4096", 1, Bound("least", 4)),
        ("must lie between 8 and 64", 3, Bound("least", 8)),
        ("must lie between 8 and 64", 300, Bound("most", 64)),
        ("max_tokens is too large", 9, None),
        ("at most 0 are allowed", 9, None),
        ("is not supported (error 4)", 9, None),
        ("too large; see https://host/v1/errors#4, code E4", 9, None),
        ("is too large: 9", 9, None),
    ],
)
def test_the_bound_that_the_words_name(words: str, sent: int, expected: Bound | None) -> None:
    assert named_bound(words, sent) == expected


OPTIONS = {"max_tokens": 50, "temperature": 0.0, "logprobs": True, "top_logprobs": 20}


def learnt(*refusals: tuple[str, str], options: dict[str, Any] = OPTIONS) -> tuple[Form, list[bool]]:
    form = Form()
    return form, [form.without(name, words, options, form.filled(options)) for name, words in refusals]


@pytest.mark.parametrize("name", ["logprobs", "top_logprobs"])
def test_too_many_alternatives_are_lowered_under_either_name_and_one_is_none(name: str) -> None:
    form, tried = learnt((name, "of 20 is greater than max allowed: 6"))
    assert tried == [True] and form.filled(OPTIONS) == OPTIONS | {"top_logprobs": 6}
    form, tried = learnt((name, "at most 6"), (name, "at most 1"))
    assert tried == [True, True] and form.filled(OPTIONS) == {"max_tokens": 50, "temperature": 0.0}
    assert not any("the most" in line for line in form.changes)


def test_a_limit_is_kept_within_both_bounds_whatever_is_asked_for() -> None:
    form, tried = learnt(("max_tokens", "at most 32"), options={"max_tokens": 50})
    assert tried == [True]
    assert form.without("max_tokens", "must be at least 16", {"max_tokens": 1}, {"max_tokens": 1})
    assert [form.filled({"max_tokens": asked})["max_tokens"] for asked in (1, 20, 50)] == [16, 20, 32]
    assert form.changes == [
        "max_tokens is 32, the most that the server takes", "max_tokens is 16, the least that the server takes",
    ]  # fmt: skip


def test_a_renamed_limit_has_its_bounds_too() -> None:
    form, tried = learnt(
        ("max_tokens", "Unsupported parameter. Use 'max_completion_tokens'"),
        ("max_completion_tokens", "must be at most 40"),
    )
    assert tried == [True, True] and form.filled({"max_tokens": 50}) == {"max_completion_tokens": 40}


def test_a_bound_that_cannot_be_kept_is_no_reason_to_try_again() -> None:
    form, tried = learnt(("max_tokens", "is too large"), ("max_tokens", "must be at most 4"))
    assert tried == [False, True]
    assert form.without("max_tokens", "must be at least 16", OPTIONS, form.filled(OPTIONS)) is False
    assert form.filled(OPTIONS) == OPTIONS | {"max_tokens": 4}
