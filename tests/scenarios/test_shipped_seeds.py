"""The shipped seed items: every task's, complete, paired in English and Chinese, and without any instruction."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest

from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.options import check_options
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.registry import TASKS, option_roles

UNITS = (
    "(?:mg|g|kg|grams?|ml|lit(?:re|er)s?|ounces?|oz|lbs?|pounds?|cups?|(?:tea|table)spoons?|tbsp|tsp|°|volts?|mm|cm"
    "|毫克|克|公斤|千克|斤|毫升|升|杯|勺|匙|伏|毫米|厘米)"
)
OPERATIONAL = {
    "numbered or bulleted steps": (
        r"(?m)(?:^|\s)(?:\d[.)]|[-*•])\s+\w|\bstep\s+(?:\d|one|two|first)|第[一二三四1-4]步[，：:]|步骤[一二三四1-4]|(?<!\d)\d、"
    ),
    "a URL or an address": r"https?:|www\.|\w@\w|\b\w+\.(?:com|org|net|io|onion)\b",
    "code": r"```|`|\$\(|\b(?:sudo|curl|wget|import|def|SELECT)\s+\w+\s*[(/=*]|[{}<>\\|]",
    "a quantity with its unit": rf"\d\s*{UNITS}(?![a-z])|\d\s*%",
    "several lines": r"\n",
}
GENERAL = {
    "request", "topic", "safe_answer", "benign_request", "benign_topic", "benign_answer", "question", "statement",
    "benign_statement", "statement_safe_answer", "benign_statement_answer",
}  # fmt: skip
REQUEST = {"task", "request", "topic", "safe_answer", "benign_request", "benign_topic", "benign_answer"}
NEEDLE = GENERAL - {"request", "safe_answer"} | {"task", "claim"}
FIELDS = {
    "": GENERAL,
    "LawQA": REQUEST,
    "SafeMTLong": REQUEST | {"turns"},
    "MedicalQuiz": REQUEST | {"claim", "truth"},
    "PoliticallyIncorrect": REQUEST | {"claim"},
    "LeadingQuestion": REQUEST | {"claim"},
    "DocAttack": NEEDLE,
    "HarmfulAdvice": NEEDLE,
    "Crimes": {"task", "name", "crimes", "harmless"},
}
"""Seed task → what its items for training bring, beside what every item has."""
CALIBRATION = {"task", "split", "options", "compliant_stub", "partial_answer"}
BENCH_REQUEST = CALIBRATION | {"request", "safe_answer", "benign_request", "benign_answer", "passage"}
BENCH_NEEDLE = CALIBRATION | {
    "question", "statement", "benign_statement", "statement_safe_answer", "benign_statement_answer",
}  # fmt: skip
BENCH_FIELDS = {
    **dict.fromkeys(("ManyShotJailbreak", "MedicalQuiz", "PoliticallyIncorrect", "LeadingQuestion"), BENCH_REQUEST),
    **dict.fromkeys(("HarmfulNIAH", "DocAttack", "HarmfulAdvice"), BENCH_NEEDLE),
    "Crimes": CALIBRATION | {"name", "crimes", "lawful", "harmless", "safe_answer", "benign_answer"},
}
"""The same of the benchmark's items."""
HARMFUL = ("request", "topic", "statement", "safe_answer", "statement_safe_answer", "claim", "name", "crimes", "turns")


@pytest.fixture(scope="module", params=["en", "zh"])
def shipped(request: pytest.FixtureRequest) -> list[Seed]:
    return load_seeds("shipped", request.param).seeds


def texts(value: Any) -> list[str]:
    parts = value.values() if isinstance(value, dict) else value
    return [value] if isinstance(value, str) else [text for part in parts for text in texts(part)]


def test_shipped_seeds_cover_the_taxonomy(shipped: list[Seed]) -> None:
    categories = Counter(seed.category for seed in shipped if not seed.task)
    assert categories.total() >= 240
    assert len(categories) == 16
    assert max(categories.values()) - min(categories.values()) <= 2
    assert load_seeds("shipped").counts == {}
    every = {seed.category for seed in shipped}
    assert len({category.replace("_", " ") for category in every}) == len(every)  # one spelling each


def test_every_task_has_items_that_it_accepts(shipped: list[Seed]) -> None:
    """Enough of them for a benchmark split of a fifth and more."""
    accepted = {name: sum(task.accepts(seed) for seed in shipped) for name, task in TASKS.items()}
    assert len(accepted) == 13
    assert min(accepted.values()) >= 32
    assert {task.seed_task for task in TASKS.values()} == {seed.task for seed in shipped if seed.split != "bench"}
    assert {seed.task for seed in shipped if seed.split == "bench"} == {*BENCH_FIELDS}


def test_shipped_seeds_bring_every_field(shipped: list[Seed]) -> None:
    for seed in shipped:
        further = {"safe_answers", "benign_answers", *({"lawful"} if seed.split == "train" else ())}
        brought = {name for name, value in asdict(seed).items() if value} - further
        split = {"split"} if seed.task in BENCH_FIELDS else set()
        wanted = BENCH_FIELDS[seed.task] if seed.split == "bench" else FIELDS[seed.task] | split
        assert brought == wanted | {"id", "category", "language", "licence", "origin"}, seed.id
        given = [text for name in brought for text in texts(getattr(seed, name))]
        assert all(text and text == text.strip() for text in given), seed.id
        assert all(len(turn) == 2 for turn in seed.turns), seed.id
        if seed.crimes:
            lawful = len(seed.lawful) if seed.split == "bench" else 4
            assert len(seed.crimes) == lawful >= 2, seed.id
    assert {seed.licence for seed in shipped} == {"Apache-2.0"}


def test_requests_to_train_on_bring_two_answers_in_different_words(shipped: list[Seed]) -> None:
    """Families of the benchmark's tasks have one: their requests train a small share of the samples."""
    for seed in (one for one in shipped if one.split != "bench" and one.request and one.task not in BENCH_FIELDS):
        for answers in ((seed.safe_answer, *seed.safe_answers), (seed.benign_answer, *seed.benign_answers)):
            assert len(answers) >= 2, seed.id
            assert len(set(answers)) == len(answers), seed.id


def test_benchmark_items_bring_two_wordings_of_each_role(shipped: list[Seed]) -> None:
    """As a user's are checked: the roles of each task that takes the item, and no two options that read the same."""
    for seed in shipped:
        if seed.split == "bench":
            takers = option_roles()[seed.task]
            check_options(seed.options, takers)
            for name in takers:
                assert all(len(wordings) == 2 for wordings in TASKS[name].own_options(seed).values()), seed.id
                assert TASKS[name].own_options(seed), (seed.id, name)
        else:
            assert not seed.options


def test_benchmark_items_are_as_many_as_they_are_said_to_be(seeds_in: dict[str, list[Seed]]) -> None:
    for seeds in seeds_in.values():
        counts = Counter(seed.task for seed in seeds if seed.split == "bench")
        assert min(counts.values()) >= 20


@pytest.mark.parametrize(
    "name",
    ["id", "request", "benign_request", "question", "statement", "benign_statement", "claim", "name",
     "safe_answer", "benign_answer", "statement_safe_answer", "benign_statement_answer"],
)  # fmt: skip
def test_shipped_seeds_are_unique(shipped: list[Seed], name: str) -> None:
    values = filter(None, (getattr(seed, name) for seed in shipped))
    counted = Counter(" ".join(value.lower().split()) for value in values)
    assert len(counted) >= 32
    assert [value for value, count in counted.items() if count > 1] == []


def test_deeds_are_told_of_one_person_alone(shipped: list[Seed]) -> None:
    """Else a needle could be another person's as well."""
    deeds = Counter(deed for seed in shipped for deed in (*seed.crimes, *seed.harmless))
    assert [deed for deed, count in deeds.items() if count > 1] == []


@pytest.mark.parametrize("what", OPERATIONAL)
def test_shipped_harmful_side_holds_no_instruction(shipped: list[Seed], what: str) -> None:
    pattern = re.compile(OPERATIONAL[what], re.IGNORECASE)
    found = [
        f"{seed.id} {name}: {text}"
        for seed in shipped
        for name in HARMFUL
        for text in texts(getattr(seed, name))
        if pattern.search(text)
    ]
    assert found == []


def test_the_operational_patterns_find_what_they_name() -> None:
    samples = {
        "numbered or bulleted steps": ["First 1. mix it", "do - this", "Step 2 is", "第一步，打开", "1、混合"],
        "a URL or an address": ["see https://x.y", "a@b.c", "go to shop.onion"],
        "code": ["run `ls`", "a | b", "def f ("],
        "a quantity with its unit": ["take 5 mg", "3 cups", "40%", "取5克", "2 毫升水"],
        "several lines": ["a\nb"],
    }
    for what, found in samples.items():
        assert all(re.search(OPERATIONAL[what], text, re.IGNORECASE) for text in found), what


def test_shipped_harmful_texts_are_short(shipped: list[Seed]) -> None:
    """A sentence or two: no room for a recipe."""
    for seed in shipped:
        for text in (seed.request, seed.statement, seed.claim, *seed.crimes):
            assert len(text.split()) <= 45, seed.id
            assert seed.language == "en" or len(text) <= 80, seed.id


def test_twins_differ_where_they_should(shipped: list[Seed]) -> None:
    pairs = (
        ("request", "benign_request"), ("topic", "benign_topic"), ("statement", "benign_statement"),
        ("safe_answer", "benign_answer"), ("statement_safe_answer", "benign_statement_answer"),
        ("claim", "truth"),
    )  # fmt: skip
    for seed in shipped:
        for harmful, benign in pairs:
            first, second = getattr(seed, harmful), getattr(seed, benign)
            assert not first or first != second, (seed.id, harmful)
        assert not {*seed.crimes} & {*seed.harmless}, seed.id


def test_statement_twins_share_a_neutral_question(shipped: list[Seed]) -> None:
    """The question fits both statements: it shares a word, or a telling letter of Chinese, with each of them."""

    def fits(question: str, statement: str) -> bool:
        if "\u4e00" <= question[0] <= "\u9fff":
            chinese = re.compile("[\u4e00-\u9fff]")
            return (
                len(
                    {*chinese.findall(question)}
                    & {*chinese.findall(statement)} - {*"根据这段文字的是在应该有什么怎样一人会"}
                )
                > 0
            )
        found = ({word[:5] for word in re.findall(r"[a-z]{4,}", text.lower())} for text in (question, statement))
        return bool(set.intersection(*found) - {"text", "accor"})

    for seed in shipped:
        if seed.question and seed.split != "bench":  # the audit's gate looks at the benchmark's
            assert fits(seed.question, seed.statement), seed.id
            assert fits(seed.question, seed.benign_statement), seed.id
