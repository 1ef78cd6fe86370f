"""An arm's mix: exact shares, the same pairs for items and twins, and nothing short without a word."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from longsafety.data.mix import Mix, compose_mix
from longsafety.errors import DataError
from longsafety.samples.licence import LICENCE_ORDER
from longsafety.samples.recipe import Sample, SampleFile, write_samples
from longsafety.settings import DataMix, Source

COUNTS = {"HarmfulNIAH": 33, "KeywordRAG": 25, "ManyShotJailbreak": 20}
TOTAL = sum(COUNTS.values())


def sample(task: str, number: int, kind: str, **changes: object) -> Sample:
    name = f"{task}-{number:03d}"
    values: dict[str, object] = {
        "id": name if kind in ("harmful", "long_align", "short_safety") else f"{name}-{kind}",
        "pair_id": name, "task": task, "scenario": "s", "kind": kind, "category": "c", "seed_id": f"seed-{number}",
        "licence": "Apache-2.0", "context": (), "question": f"q {number}", "answer": "a " * (number % 5 + 1),
        "documents": () if kind.startswith("short") else ("d",), "num_tokens": 100,
    }  # fmt: skip
    return Sample(**{**values, **changes})  # type: ignore[arg-type]


SAMPLES = [
    sample(task, number, kind)
    for task, count in COUNTS.items()
    for number in range(count)
    for kind in ("harmful", "short", "benign_needle" if task == "HarmfulNIAH" else "benign_query", "short_benign")
] + [
    sample(task, number, kind, seed_id="" if kind == "long_align" else f"s-{number}")
    for task, kind in (("LongAlign", "long_align"), ("ShortSafety", "short_safety"))
    for number in range(TOTAL)
]


def answer_tokens(sample: Sample) -> int:
    return len(sample.answer.split())


def compose(
    budget: int,
    unit: str = "samples",
    samples: list[Sample] = SAMPLES,
    seed: int = 0,
    order_seed: int = 0,
    files: list[SampleFile | list[Sample]] | None = None,
    **shares: Any,
) -> Mix:
    mix = DataMix(
        name="m",
        sources={kind: Source(kind=kind, share=share) for kind, share in shares.items()},  # type: ignore[arg-type]
        budget=budget,
        budget_unit=unit,  # type: ignore[arg-type]
    )
    return compose_mix(mix, files or [samples], answer_tokens, licence="CC0-1.0", draw_seed=seed, seed=order_seed)


def alone(kind: str) -> dict[str, Any]:
    """The shares of an arm with one source."""
    return {kind: 1.0}


@pytest.mark.parametrize(
    "shares",
    [
        {"longsafety": 1.0},
        {"longsafety_short": 1.0},
        {"longsafety": 0.5, "benign_twins": 0.5},
        {"longsafety_short": 0.5, "benign_short": 0.5},
        {"short_safety": 0.25, "long_align": 0.75},
        {"short_safety": 0.125, "long_align": 0.5, "longsafety": 0.375},
    ],
)
def test_shares_are_exact(shares: dict[str, Any]) -> None:
    mix = compose(64, **shares)
    assert len(mix.samples) == len({sample.id for sample in mix.samples}) == 64
    assert {row["source"]: row["samples"] for row in mix.rows} == {name: 64 * share for name, share in shares.items()}
    assert all(row["share"] == shares[row["source"]] for row in mix.rows)
    kinds = {name: {name} if name in ("short_safety", "long_align") else set() for name in shares}
    kinds |= {
        "longsafety": {"harmful"},
        "longsafety_short": {"short"},
        "benign_twins": {"benign_query", "benign_needle"},
        "benign_short": {"short_benign"},
    }
    assert all(sample.kind in kinds[source] for sample, source in zip(mix.samples, mix.sources, strict=True))


@pytest.mark.parametrize("budget", [7, 10, 33, 65])
def test_every_arm_sees_as_many_samples_whatever_its_shares(budget: int) -> None:
    mixes: list[dict[str, Any]] = [
        {"longsafety": 1.0},
        {"longsafety": 0.5, "benign_twins": 0.5},
        {"short_safety": 0.3, "long_align": 0.7},
    ]
    for shares in mixes:
        assert len(compose(budget, **shares).samples) == budget, shares


def test_a_source_draws_its_kind_alone() -> None:
    kinds = {
        "longsafety": {"harmful"},
        "longsafety_short": {"short"},
        "benign_twins": {"benign_query", "benign_needle"},
        "benign_short": {"short_benign"},
        "short_safety": {"short_safety"},
        "long_align": {"long_align"},
    }
    for name, expected in kinds.items():
        assert {sample.kind for sample in compose(32, **alone(name)).samples} == expected


def test_a_draw_keeps_the_tasks_proportions() -> None:
    for budget in (12, 26, 39, 64):
        for kind in ("longsafety", "longsafety_short"):
            drawn = Counter(sample.task for sample in compose(budget, **alone(kind)).samples)
            assert all(abs(drawn[task] - budget * count / TOTAL) <= 1 for task, count in COUNTS.items())


def test_harmful_items_and_short_twins_are_drawn_of_the_same_pairs() -> None:
    """So that the arms with and without context learn from the same questions and answers."""
    long, short = (compose(32, **alone(kind)) for kind in ("longsafety", "longsafety_short"))
    assert {sample.pair_id for sample in long.samples} == {sample.pair_id for sample in short.samples}
    texts = [{(sample.question, sample.answer) for sample in mix.samples} for mix in (long, short)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("first", "second"), [("longsafety", "benign_twins"), ("longsafety_short", "benign_short")])
def test_items_and_benign_twins_are_drawn_of_the_same_pairs(first: str, second: str) -> None:
    shares: dict[str, Any] = {first: 0.5, second: 0.5}
    mix = compose(64, **shares)
    pairs = {
        name: {sample.pair_id for sample, source in zip(mix.samples, mix.sources, strict=True) if source == name}
        for name in (first, second)
    }
    assert len(pairs[first] & pairs[second]) >= 30  # a share's last sample may be of another task


def test_a_larger_budget_keeps_what_a_smaller_one_drew() -> None:
    small, large = ({sample.id for sample in compose(budget, longsafety=1.0).samples} for budget in (20, 40))
    assert small < large


def test_budgets_in_answer_tokens() -> None:
    mix = compose(100, "tokens", longsafety=0.6, benign_twins=0.4)
    for row, wanted in zip(mix.rows, (60, 40), strict=True):  # to the nearest sample, of at most five tokens
        assert abs(row["supervised_tokens"] - wanted) <= 2.5
    assert sum(row["supervised_tokens"] for row in mix.rows) == sum(answer_tokens(sample) for sample in mix.samples)
    assert sum(row["tokens"] for row in mix.rows) == 100 * len(mix.samples)


def test_a_draw_depends_on_the_seed_and_on_nothing_else() -> None:
    first = compose(30, longsafety=1.0)
    shuffled = random.Random(5).sample(SAMPLES, len(SAMPLES))
    assert compose(30, longsafety=1.0, samples=shuffled) == first
    other = compose(30, longsafety=1.0, seed=1)
    assert {sample.id for sample in other.samples} != {sample.id for sample in first.samples}
    assert other.rows[0]["fingerprint"] != first.rows[0]["fingerprint"]


def test_another_order_is_of_the_same_samples() -> None:
    first, other = (compose(30, longsafety=1.0, order_seed=seed) for seed in (0, 1))
    assert first.rows == other.rows
    assert [sample.id for sample in first.samples] != [sample.id for sample in other.samples]


def test_seed_items_and_distinct_samples_are_counted() -> None:
    pair = [sample("KeywordRAG", 0, "harmful"), sample("KeywordRAG", 1, "harmful", seed_id="seed-0")]
    again = pair[0].replace(id="again", pair_id="again")
    [row] = compose(3, samples=[*pair, again], longsafety=1.0).rows
    assert (row["samples"], row["seeds"], row["distinct"]) == (3, 1, 2)


def test_sources_are_shuffled_together() -> None:
    kinds = [sample.kind for sample in compose(64, longsafety=0.5, long_align=0.5).samples]
    changes = sum(first != second for first, second in pairwise(kinds))
    assert changes > 15


def test_fingerprints_follow_the_content() -> None:
    before = compose(TOTAL, longsafety=1.0).rows[0]["fingerprint"]
    changed = [sample.replace(answer="other") if sample.id == "KeywordRAG-003" else sample for sample in SAMPLES]
    assert compose(TOTAL, longsafety=1.0, samples=changed).rows[0]["fingerprint"] != before
    for change in ({"context": ("x",)}, {"history": (("a", "b"),)}, {"goal": "before"}, {"question": "other"}):
        changed = [SAMPLES[0].replace(**change), *SAMPLES[1:]]
        assert compose(TOTAL, longsafety=1.0, samples=changed).rows[0]["fingerprint"] != before, change
    assert compose(TOTAL, longsafety=1.0, samples=SAMPLES[::-1]).rows[0]["fingerprint"] == before


@pytest.mark.parametrize(("unit", "budget"), [("samples", TOTAL + 1), ("tokens", 100_000)])
def test_a_source_that_has_too_few_samples_is_told(unit: str, budget: int) -> None:
    pattern = (
        rf"^data_mix\.sources\.longsafety: {TOTAL} longsafety samples do not fill its share 1 of {budget} {unit}; "
        r"raise scenario\.train_samples or lower data_mix\.budget$"
    )
    with pytest.raises(DataError, match=pattern):
        compose(budget, unit, longsafety=1.0)
    assert len(compose(TOTAL, longsafety=1.0).samples) == TOTAL


def test_a_source_without_any_sample_is_told() -> None:
    with pytest.raises(DataError, match=re.escape("data_mix.sources.long_align: 0 long_align samples")):
        compose(8, long_align=1.0, samples=[sample for sample in SAMPLES if sample.kind != "long_align"])


# Files


def test_files_give_what_lists_give(tmp_path: Path) -> None:
    """However the samples are spread over files."""
    parts = [SAMPLES[:100], SAMPLES[100:]]
    for number, part in enumerate(parts):
        write_samples(part, tmp_path / f"{number}.parquet")
    files = [SampleFile(tmp_path / f"{number}.parquet") for number in range(2)]
    shares: dict[str, Any] = {"longsafety": 0.5, "benign_twins": 0.25, "short_safety": 0.25}
    for unit, budget in (("samples", 64), ("tokens", 90)):
        expected = compose(budget, unit, **shares)
        assert compose(budget, unit, files=[*files], **shares) == expected
        assert compose(budget, unit, files=[parts[1], files[0]], **shares) == expected


def test_only_what_is_drawn_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of many long samples must not pass through memory for the sake of a few."""
    write_samples(SAMPLES, tmp_path / "samples.parquet")
    read: list[int] = []
    original = SampleFile.__getitem__

    def noted(file: SampleFile, index: Any) -> Any:
        read.append(index)
        return original(file, index)

    monkeypatch.setattr(SampleFile, "__getitem__", noted)
    mix = compose(8, files=[SampleFile(tmp_path / "samples.parquet")], longsafety=1.0)
    assert len(read) == len(mix.samples) == 8
    assert read == sorted(read)  # row groups are read once, one after the other


def chat(number: int, source: str) -> Sample:
    return sample("Chat", number, "chat", id=f"{source}/{number}", pair_id=f"{source}/{number}", documents=())


def test_each_source_of_chats_draws_its_own() -> None:
    read = {name: [chat(number, name) for number in range(20)] for name in ("first", "second")}
    mix = DataMix(
        name="m",
        sources={name: Source(kind="chats", path=f"{name}.jsonl", share=0.25) for name in read}
        | {"ours": Source(kind="longsafety", share=0.5)},
        budget=32,
        budget_unit="samples",
    )
    found = compose_mix(mix, [SAMPLES], answer_tokens, licence="CC0-1.0", draw_seed=0, seed=0, chats=read)
    drawn = Counter(one.id.partition("/")[0] if one.kind == "chat" else one.kind for one in found.samples)
    assert drawn == {"first": 8, "second": 8, "harmful": 16}
    assert {row["source"]: row["samples"] for row in found.rows} == {"first": 8, "second": 8, "ours": 16}
    pattern = (
        r"^data_mix\.sources\.second: 3 chats samples do not fill its share 0\.25 of 32 samples; add chats .* to 12 "
    )
    with pytest.raises(DataError, match=pattern):
        few = {**read, "second": read["second"][:3]}
        compose_mix(mix, [SAMPLES], answer_tokens, licence="CC0-1.0", draw_seed=0, seed=0, chats=few)


def test_chats_carry_their_own_licence() -> None:
    mix = DataMix(
        name="m", sources={"x": Source(kind="chats", path="x.jsonl", share=1.0)}, budget=2, budget_unit="samples"
    )
    found = compose_mix(
        mix, [], answer_tokens, licence="CC-BY-NC-4.0", draw_seed=0, seed=0,
        chats={"x": [chat(0, "x"), chat(1, "x").replace(licence="CC-BY-4.0")]},
    )  # fmt: skip
    assert found.rows[0]["licence"] == "CC-BY-4.0"


# Licences


def licence(samples: list[Sample], kind: str = "longsafety", corpus: str = "CC0-1.0") -> str:
    source = Source(kind=kind, share=1.0)  # type: ignore[arg-type]
    mix = DataMix(name="m", sources={"x": source}, budget=len(samples), budget_unit="samples")
    return str(compose_mix(mix, [samples], answer_tokens, licence=corpus, draw_seed=0, seed=0).rows[0]["licence"])


def test_a_mix_carries_the_strictest_licence_of_its_parts() -> None:
    for strict, loose in pairwise(LICENCE_ORDER):
        pair = [sample("KeywordRAG", number, "harmful", licence=one) for number, one in enumerate((loose, strict))]
        assert licence(pair) == licence(pair[::-1]) == strict
        assert licence([sample("KeywordRAG", 0, "harmful", licence=loose)], corpus=strict) == strict


def test_a_licence_that_is_not_known_counts_as_the_strictest() -> None:
    pair = [sample("KeywordRAG", number, "harmful", licence=one) for number, one in enumerate(("MIT", "Custom-1"))]
    assert licence(pair) == "Custom-1"


def test_the_corpus_counts_where_its_text_is() -> None:
    short = sample("KeywordRAG", 0, "short")
    assert licence([short], "longsafety_short", corpus="CC-BY-NC-4.0") == "Apache-2.0"
    assert (
        licence([sample("LongAlign", 0, "long_align", seed_id="")], "long_align", corpus="CC-BY-NC-4.0")
        == "CC-BY-NC-4.0"
    )


def test_a_many_shot_context_carries_the_seeds_licence_alone() -> None:
    """Its exchanges are the seed items' own, not the corpus's."""
    item = sample("ManyShotJailbreak", 0, "harmful", documents=("exchange:a", "exchange:b"))
    assert licence([item], corpus="CC-BY-NC-4.0") == "Apache-2.0"
