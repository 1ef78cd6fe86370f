"""Label columns: what they say, in every spelling, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from longsafety.formats.fields import label_by_name
from longsafety.formats.labels import label_of, name_labels
from longsafety.formats.row import Row


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"label": "safe"}, "benign"),
        ({"Label": "UNSAFE"}, "harmful"),
        ({"Prompt Label": "Non-toxic"}, "benign"),
        ({"prompt_harm_label": "unharmful"}, "benign"),
        ({"harmful": "false"}, "benign"),
        ({"is_safe": 0}, "harmful"),
        ({"benign": True}, "benign"),
        ({"toxicity": "1"}, "harmful"),
        ({"type": "safe"}, "benign"),
        ({"data_type": "adversarial_benign"}, "benign"),
        ({"isUnsafe": False}, "benign"),
        ({"SafetyLabel": "Not harmful"}, "benign"),
        ({"gold_verdict": "malicious"}, "harmful"),
        ({"prompt_category": "Harmless"}, "benign"),
        ({"must_refuse": "n"}, "benign"),
        ({"should_comply": 0}, "harmful"),
        ({"is_not_safe": "yes"}, "harmful"),
        ({"labels_0": "unsafe", "labels_1": "harmful"}, "harmful"),
        ({"toxic_request": 0.0}, "benign"),
        ({"expected": "refuse"}, "harmful"),
        ({"类型": "安全"}, "benign"),
        ({"type": "homonyms", "category": "theft"}, None),
        ({"harm_type": "theft", "unsafe_text": "I will tell you how to do it."}, None),
        ({"response_is_harmful": 0, "answer_label": "safe", "refusal": True}, None),
        ({"Qwen2_unsafe": 0, "Qwen2_response": "No."}, None),
        ({"harm_agreement": 1, "safety_score": 0}, None),
        ({"prompt": "safe", "note": "unsafe"}, None),
        ({"jailbreak": True}, "harmful"),
        ({"isAttack": "true", "jailbreak": 0}, "harmful"),
        ({"prompt_injection": 1}, "harmful"),
        ({"is_allowed": False}, "harmful"),
        ({"jailbreak": False, "toxicity": 0}, "benign"),
        ({"jailbreaking": 0, "toxicity": 1}, "harmful"),
        ({"attack": "DAN", "attack_success": True, "violation_count": 0, "response_flagged": 0}, None),
        ({"is_safe": True, "response": "No.", "prompt_label": "unsafe"}, "harmful"),
        ({"should_refuse": True, "output": "No."}, "harmful"),
        ({"label": "refuse", "output": "No."}, "harmful"),
        ({"type": "benign", "answer": "Yes."}, "benign"),
        ({"is_safe": False, "response": ""}, "harmful"),
        ({"is_safe": False, "response": None, "target": "Sure"}, "harmful"),
    ],
)
def test_what_a_label_says(row: dict[str, Any], label: str | None) -> None:
    found = label_of(row)
    assert (found.label, found.problems) == (label, ())
    assert bool(found.columns) == (label is not None)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"label": "theft"}, "label = 'theft': says neither harmful nor benign"),
        ({"label": 1}, "label = 1: says neither harmful nor benign"),
        ({"label": ""}, "label = '': says neither"),
        ({"is_safe": "perhaps"}, "is_safe = 'perhaps': is neither true nor false, harmful nor benign; write one"),
        ({"prompt_safety": "S4"}, "prompt_safety = 'S4': says neither harmful nor benign"),
        ({"labels": ["safe"]}, "labels = ['safe']: says neither harmful nor benign"),
        ({"labels_0": "Needs Caution", "labels_1": "Safe"}, "labels_0 = 'Needs Caution': says neither harmful nor"),
        ({"label": "a text of some length"}, "label = 'a text of some length': says neither"),
        ({"prompt_harm": {"score": 1}}, "prompt_harm = {'score': 1}: is neither true nor false"),
        ({"isHarmful": None}, "isHarmful = None: is neither true nor false"),
        ({"qwen2_unsafe": 0}, "qwen2_unsafe = 0: its name does not say whether it is of the request or of an answer"),
        ({"harm_category": "none"}, "harm_category = 'none': may mean that the row is benign, or that nobody looked"),
        (
            {"jailbreak": False},
            "jailbreak = False: may mean that the row is benign, or that it is harmful in another way",
        ),
        ({"attack": "0"}, "attack = '0': may mean that the row is benign, or that it is harmful in another way; add"),
        ({"allowed": True}, "allowed = True: may mean that the row is benign, or that it is harmful in another way"),
        ({"is_safe": True, "response": "No."}, "is_safe = True: stands beside response, and its name does not say"),
        ({"toxicity": 0, "model_output": "No."}, "toxicity = 0: stands beside model_output, and its name does not"),
        ({"label": "safe", "harmful": "yes"}, "label = safe, harmful = yes: contradict each other; correct one"),
    ],
)
def test_a_label_that_says_neither_or_both_is_a_mistake(row: dict[str, Any], problem: str) -> None:
    (found,) = label_of(row).problems
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("row", "harmful"),
    [
        ({"isSafe": False}, ("isSafe",)),
        ({"label": "unsafe", "safety": "safe"}, ("label",)),
        ({"response_harm_label": "harmful"}, ("response_harm_label",)),
        ({"toxic": "true"}, ("toxic",)),
        ({"answer_label": "unsafe"}, ("answer_label",)),
        ({"safe": True}, ()),
        ({"prompt_harm_label": "harmful", "should_refuse": True, "kind": "harmful"}, ()),
        ({"label": "refuse", "refusal": True, "rejected_unsafe": True}, ()),
        ({"label": 3, "toxicity": 0.2}, ()),
    ],
)
def test_what_a_label_says_of_an_answer(row: dict[str, Any], harmful: tuple[str, ...]) -> None:
    found = label_of(row, about="answer")
    assert (found.harmful, found.problems) == (harmful, ())


@pytest.mark.parametrize(
    ("name", "whole", "labels"),
    [
        ("harmless-questions-v2", False, {"benign"}),
        ("TOXIC_prompts", False, {"harmful"}),
        ("not_harmful", False, {"benign"}),
        ("harmful_with_safe_answers", False, {"harmful"}),
        ("safe_and_unsafe", False, {"harmful", "benign"}),
        ("SafeMTData", False, set()),
        ("benign-test-prompts", True, {"benign"}),
        ("our-safe-lab", True, set()),
    ],
)
def test_what_a_name_says(name: str, whole: bool, labels: set[str]) -> None:
    assert name_labels(name, whole=whole) == labels


@pytest.mark.parametrize(
    ("place", "name", "label"),
    [
        ("/a/set/safe/train.jsonl:3", "safe/train.jsonl:3", "benign"),
        ("/a/benign_prompts/train.jsonl:3", "train.jsonl:3", "benign"),
        ("/a/my safe folder/train.jsonl:3", "train.jsonl:3", None),
        ("/safe/a/train.jsonl:3", "train.jsonl:3", None),
        ("owner/unsafe-requests (train):1", "train:1", "harmful"),
        ("/a/safe/toxic.jsonl:1", "safe/toxic.jsonl:1", None),
    ],
)
def test_the_names_around_a_row(place: str, name: str, label: str | None) -> None:
    found, problem = label_by_name(Row(place, name, "train"))
    assert found == label
    assert bool(problem) == ("toxic" in name)
