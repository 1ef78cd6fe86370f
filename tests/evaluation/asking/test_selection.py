"""What is asked is what was declared; what is left out is counted, and nothing left is an error that names the rule."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest

from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.asking.selection import select_and_fit, select_items
from longsafety.evaluation.asking.trials import letter_question
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span
from longsafety.settings import OPTION_ROOM_TOKENS, Evaluation, Select


def item(number: int, kind: str = "harmful", **changes: Any) -> Sample:
    name = f"{changes.get('task', 'DocAttack')}-{number}"
    return Sample(
        id=name if kind == "harmful" else f"{name}-{kind}", pair_id=name, task="DocAttack", scenario="PH", kind=kind,
        category="c", seed_id="s", licence="MIT", context=() if kind == "short" else (Span(0, 0, 100),),
        question=f"What about {number}?", answer="", num_tokens=5 if kind == "short" else 100 * number,
        depth=None if kind == "short" else number / 10, roles=("unsafe", "safe"), choices=(("a",), ("b",)),
        comply_role="unsafe", order=(0, 1),
    ).replace(**changes)  # fmt: skip


KINDS = ("harmful", "benign_query", "short")
ITEMS = [
    item(number, kind, task=task, scenario=scenario, language=language)
    for number in range(1, 6)
    for task, scenario, language in (("DocAttack", "PH", "en"), ("LawQA", "QH", "zh"))
    for kind in KINDS
]


def chosen(**rules: Any) -> tuple[set[str], dict[str, int]]:
    found = select_items(ITEMS, Evaluation(select=Select(**rules), controls=[]))
    return {one.id for one in found.items}, found.left_out


@pytest.mark.parametrize(
    ("rules", "keeps"),
    [
        ({"tasks": ["LawQA"]}, lambda pair: pair.task == "LawQA"),
        ({"scenarios": ["PH"]}, lambda pair: pair.scenario == "PH"),
        ({"languages": ["zh"]}, lambda pair: pair.language == "zh"),
        ({"min_tokens": 300}, lambda pair: pair.num_tokens >= 300),
        ({"max_tokens": 300}, lambda pair: pair.num_tokens <= 300),
        ({"min_depth": 0.2}, lambda pair: pair.depth >= 0.2),
        ({"max_depth": 0.2}, lambda pair: pair.depth <= 0.2),
        ({"tasks": ["LawQA"], "min_tokens": 400}, lambda pair: pair.task == "LawQA" and pair.num_tokens >= 400),
    ],
)
def test_a_rule_looks_at_the_item_and_takes_its_twins_along(rules: dict[str, Any], keeps: Any) -> None:
    pairs = {one.pair_id for one in ITEMS if one.kind == "harmful" and keeps(one)}
    ids, left_out = chosen(**rules)
    assert ids == {one.id for one in ITEMS if one.pair_id in pairs}
    assert sum(left_out.values()) == len(ITEMS) - len(ids) > 0
    assert [name.split(" = ")[0] for name in left_out] == [f"select.{name}" for name in rules]


def test_kinds_and_limit() -> None:
    ids, left_out = chosen(kinds=["benign_query"])
    assert ids == {one.id for one in ITEMS if one.kind == "benign_query"}
    assert left_out == {"select.kinds = [benign_query]": 20}
    ids, left_out = chosen(limit=3)
    assert {name for name in ids if "-benign" not in name and "-short" not in name} == {
        "DocAttack-1", "DocAttack-2", "LawQA-1",
    }  # fmt: skip
    assert len(ids) == 9 and left_out == {"select.limit = 3": 21}
    assert chosen() == ({one.id for one in ITEMS}, {})


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        ({"min_tokens": 900}, "evaluation.select.min_tokens = 900: leaves none of 30 items; relax it"),
        ({"tasks": ["LawQA"], "scenarios": ["PH"]}, "evaluation.select.scenarios = [PH]: leaves none of 15 items; "),
        ({"tasks": ["Lawqa"]}, "evaluation.select.tasks = [Lawqa]: no item is of it; choose from DocAttack, LawQA"),
    ],
)
def test_a_rule_that_leaves_nothing_is_named(rules: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)):
        chosen(**rules)


def test_blind_controls_follow_their_items() -> None:
    items = [one.replace(seed_id=f"s{one.pair_id}") for one in ITEMS]
    found = select_items(items, Evaluation(select=Select(tasks=["LawQA"], limit=2))).items
    assert [one.kind for one in found] == ["harmful", "benign_query", "short", "no_question", "other_question"] * 2
    for at in (0, 5):
        item, *_, without, other = found[at : at + 5]
        assert (without.question, other.question != item.question) == ("", True)
        assert {one.pair_id for one in found[at : at + 5]} == {item.id}
        assert {one.seed_id for one in (without, other)} == {item.seed_id}, "a control is of its item's seed item"
        assert (without.choices, without.order, without.context) == (item.choices, item.order, item.context)
        assert other.question in {
            one.question for one in items if one.seed_id != item.seed_id and one.task == item.task
        }
    one_seed = select_items(ITEMS, Evaluation(select=Select(limit=1))).items
    assert [one.kind for one in one_seed] == ["harmful", "benign_query", "short", "no_question"], "no other seed item"


def test_twins_that_no_item_has_are_an_error() -> None:
    only = [one for one in ITEMS if one.kind == "benign_query"]
    with pytest.raises(ConfigError, match=r"evaluation\.twins = \[short\]: leaves none of 10 items; "):
        select_items(only, Evaluation(twins=["short"]))


def test_items_without_options_need_a_scorer_that_reads_none() -> None:
    bare = [*ITEMS, item(9, roles=(), choices=(), order=())]
    with pytest.raises(ConfigError, match=r"scorers = \[likelihood, letter\]: DocAttack-9 \(of 1 such items\) has no "):
        select_items(bare, Evaluation())
    assert len(select_items(bare, Evaluation(select=Select(max_tokens=500), controls=[])).items) == len(ITEMS)


@pytest.mark.parametrize(
    ("scorer", "shown", "reply"),
    [("likelihood", False, None), ("letter", True, 1), ("generate", True, 90), ("open", False, 70)],
)
def test_room_is_left_for_the_options_and_the_reply(
    tiny_encoder: ChatEncoder,
    scorer: Literal["likelihood", "letter", "generate", "open"],
    shown: bool,
    reply: int | None,
) -> None:
    """The longest prompt and what comes behind it decide: the last token that fits does, one less does not."""
    one = item(1, choices=((" river" * 400,), ("b",)))
    wording = len(tiny_encoder.literal_ids(" river" * 400))
    question = letter_question(one, one.order) if shown else one.question
    prompt = tiny_encoder.prompt_length(one.context, question)
    behind = wording if reply is None else reply

    def fits(max_tokens: int, window: int, asked: Sample = one) -> bool:
        evaluation = Evaluation(scorers=[scorer], max_new_tokens=90, max_open_tokens=70)
        try:
            select_and_fit([asked], tiny_encoder, evaluation, max_tokens=max_tokens, window=window)
        except DataError:
            return False
        return True

    assert fits(prompt, prompt + behind) and not fits(prompt, prompt + behind - 1)
    long = 10_000
    assert fits(1, long), "options count for the window alone, however long they are"
    wordy = one.replace(question="Where is the river? " * 200)
    least = tiny_encoder.prompt_length(*wordy.prompt()) - OPTION_ROOM_TOKENS
    assert fits(least, long, wordy) and not fits(least - 1, long, wordy)
