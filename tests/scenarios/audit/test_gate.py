"""The gate fails items that words alone give away, passes balanced ones, and passes the shipped benchmark."""

from __future__ import annotations

import random
from collections.abc import Callable, Container
from typing import Any, Literal

import pytest

from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.scenarios.audit.copies import copies
from longsafety.scenarios.audit.gate import LEAST_SEEDS, failed, gate, gate_line
from longsafety.scenarios.audit.tally import Asked
from longsafety.scenarios.build import balanced_orders, build
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.settings import Length, Scenario, TaskCounts
from longsafety.vocabulary import HARMFUL_ROLES, PAPER_TASKS

pytestmark = pytest.mark.slow

NOUNS = "boat cat door lamp tree road cup wall fish coat rope hill bell seed ring sand wood star milk bird"
WORDS = NOUNS.split()
HAN = "船猫门灯树路杯墙鱼衣绳山铃种戒沙木星奶鸟"
Change = Callable[[int, dict[str, Any], dict[str, Any]], None]


def pairs(count: int, change: Change = lambda number, item, twin: None, words: Any = WORDS) -> list[Sample]:
    """Items and twins of as many seed items. The twin's question says the same words in another order, and options
    are of random words; ``change`` then gives something away."""
    rng, samples = random.Random(0), list[Sample]()
    orders, joint = balanced_orders(4, rng), "" if words is HAN else " "

    def text(length: int = 6) -> str:
        return joint.join(rng.choices(words, k=length))

    for number in range(count):
        one, other = text(4), text(4)
        shared: dict[str, Any] = {
            "task": "T", "scenario": "QH", "category": "c", "seed_id": f"s{number:02d}", "licence": "MIT",
            "context": (), "answer": "", "roles": HARMFUL_ROLES, "comply_role": "aware_unsafe",
            "choices": tuple((text(rng.randint(4, 9)), text(rng.randint(4, 9))) for _ in range(4)),
            "order": orders[number % 24], "pair_id": f"i{number}",
        }  # fmt: skip
        item = shared | {"id": f"i{number}", "kind": "harmful", "question": one + joint + other, "right": "safe"}
        twin = shared | {"id": f"i{number}-t", "kind": "benign_query", "question": other + joint + one}
        twin["right"] = "aware_unsafe"
        change(number, item, twin)
        samples += [Sample(**item), Sample(**twin)]
    return samples


def in_question(number: int, item: dict[str, Any], twin: dict[str, Any]) -> None:
    item["question"] += " steal"
    twin["question"] += " paint"


def in_chinese_question(number: int, item: dict[str, Any], twin: dict[str, Any]) -> None:
    item["question"] += "偷"
    twin["question"] += "画"


def in_question_length(number: int, item: dict[str, Any], twin: dict[str, Any]) -> None:
    item["question"] += f" {WORDS[number % 20]} {WORDS[number * 7 % 20]}"


def in_needle(number: int, item: dict[str, Any], twin: dict[str, Any]) -> None:
    twin |= {"kind": "benign_needle", "question": item["question"], "needles": (0,), "context": ("The tea is warm.",)}
    item |= {"needles": (0,), "context": ("The gas is toxic.",)}


def in_options(number: int, item: dict[str, Any], twin: dict[str, Any]) -> None:
    choices = tuple((f"{one} {word}", f"{word} {other}") for (one, other), word in zip(
        item["choices"], ("three", "elsewhere", "though", "never"), strict=True))  # fmt: skip
    item["choices"] = twin["choices"] = choices


def in_length(number: int, item: dict[str, Any], twin: dict[str, Any]) -> None:
    item["choices"] = twin["choices"] = (*item["choices"][:3], (" ".join(WORDS), " ".join(WORDS[::-1])))


def in_place(number: int, item: dict[str, Any], twin: dict[str, Any]) -> None:
    item["order"] = twin["order"] = (3, 0, 1, 2)


def test_balanced_items_pass() -> None:
    for words in (WORDS, HAN):
        rows = gate(pairs(48, words=words), of_facts=["T"])
        assert {row["check"].partition(":")[0] for row in rows} >= {"question alone", "options alone"}
        assert failed(rows) == []


@pytest.mark.parametrize(
    ("change", "check", "value"),
    [
        (in_question, "question alone: pairs told apart", 1.0),
        (in_chinese_question, "question alone: pairs told apart", 1.0),
        (in_question_length, "harmful question longer", 1.0),
        (in_needle, "needle alone: pairs told apart", 1.0),
        (in_options, "options alone: item right", 1.0),
        (in_length, "longest option right: item", 1.0),
        (in_place, "first option right: item", 1.0),
    ],
)
def test_what_gives_an_item_away_fails(change: Change, check: str, value: float) -> None:
    rows = failed(gate(pairs(48, change, HAN if change is in_chinese_question else WORDS), of_facts=["T"]))
    [row] = [row for row in rows if row["task"] == "T" and row["check"] == check]
    assert row["value"] >= value - 0.05
    assert gate_line(row).startswith(f"T: {check} {row['value']:.2f} [")


def test_options_that_say_who_declines_are_measured_and_allowed_outside_tasks_of_facts() -> None:
    """Where an option declines, that it does can be read off it; the twin, with the same options, makes it useless."""
    rows = gate(pairs(48, in_options), of_facts=[])
    assert failed(rows) == []
    values = {row["check"]: row["value"] for row in rows}
    assert values["options alone: item right"] == 1.0
    assert values["options alone: pair right"] == 0.0


def test_few_seed_items_are_not_measured() -> None:
    assert gate(pairs(LEAST_SEEDS - 1, in_question), of_facts=["T"]) == []
    assert failed(gate(pairs(LEAST_SEEDS, in_question), of_facts=["T"]))


def test_a_seed_item_counts_once_whatever_its_contexts() -> None:
    once = pairs(20, in_question)
    again = [sample.replace(id=f"{sample.id}x", pair_id=f"{sample.pair_id}x") for sample in once]
    assert gate([*once, *again], of_facts=[]) == gate(once, of_facts=[])


def test_a_limit_is_passed_over_by_the_whole_interval() -> None:
    """The longest option is right in three quarters of the items, or in a share that may be chance."""

    def longest(seeds: Container[int]) -> dict[str, Any]:
        def change(number: int, item: dict[str, Any], twin: dict[str, Any]) -> None:
            if number in seeds:
                in_length(number, item, twin)
            else:
                item["choices"] = twin["choices"] = (*item["choices"][:3], ("it", "so"))

        rows = gate(pairs(20, change), of_facts=[])
        return next(row for row in rows if row["check"] == "longest option right: item")

    often, seldom = longest(range(15)), longest(range(8))
    assert often["value"] == 0.75 and often["low"] > 0.35 and often["passed"] is False
    assert seldom["value"] == 0.4 and seldom["low"] < 0.35 and seldom["passed"] is True


def test_copies_are_counted() -> None:
    samples = pairs(4)
    again = samples[0].replace(id="again", pair_id="again")
    asked = Asked()
    for sample in [*samples, again]:
        if sample.kind == "harmful":
            asked.add(sample)
    assert copies({"T": asked}) == [
        {"task": "T", "items": 5, "seeds": 4, "questions": 4, "options": 4, "answers": 0, "most": 2}
    ]


# The shipped benchmark


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shipped_benchmark_passes(
    seeds_in: dict[str, list[Seed]], encoders_in: dict[str, ChatEncoder], language: Literal["en", "zh"]
) -> None:
    """Every seed item once, at a short length: what the gate reads does not depend on the context."""
    bench = [seed for seed in seeds_in[language] if seed.split == "bench"]
    accepted = {name: sum(map(TASKS[name].accepts, bench)) for name, task in PAPER_TASKS.items() if task.bench_items}
    counts = {name: TaskCounts(train=0, bench=number) for name, number in accepted.items() if number}
    scenario = Scenario(name="s", tasks=counts, language=language, context_language=language)
    length = Length(name="x", max_tokens=1400)
    builder = build(scenario, length, seeds_in[language], encoders_in[language], split="bench", seed=0)
    samples = list(builder.samples())
    assert len({(sample.task, sample.seed_id) for sample in samples}) == sum(accepted.values())
    rows = gate(samples, of_facts=[name for name, task in TASKS.items() if task.asks_facts])
    assert {row["task"] for row in rows} - {"all"} == {*counts}
    assert [gate_line(row) for row in failed(rows)] == []
    assert {row["value"] for row in rows if row["check"] == "options alone: pair right"} == {0.0}


def test_the_english_benchmark_has_every_task(seeds_in: dict[str, list[Seed]]) -> None:
    bench = [seed for seed in seeds_in["en"] if seed.split == "bench"]
    for name, task in PAPER_TASKS.items():
        if task.bench_items:
            assert sum(map(TASKS[name].accepts, bench)) >= 20, name
