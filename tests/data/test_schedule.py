"""The schedule covers every sample once an epoch, whatever shares a forward pass; packs keep to their budget."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from longsafety.data.schedule import FILLER, Entry, Schedule
from longsafety.data.trie import Trie
from longsafety.settings import Training

Steps = list[list[list[list[Entry]]]]
ANSWERS = [number % 7 + 1 for number in range(21)]
PACKINGS = ("none", "length_sorted", "packed")
LONGEST = 400


def rows(count: int) -> list[np.ndarray]:
    """Of 100 to 400 tokens; every third begins as the one before it, 100 tokens long."""
    made = []
    for number in range(count):
        family = number - number % 3 // 2
        tail = np.random.default_rng(number).integers(0, 99, 37 * number % 200)
        made.append(np.concatenate([np.random.default_rng(1000 + family).integers(0, 99, 200), tail]).astype(np.int32))
    return made


def plan(count: int = 20, ranks: int = 1, seed: int = 0, **changes: Any) -> Schedule:
    training = Training(**{"batch_size": 8, "micro_batch_size": 2, **changes})
    return Schedule.plan(rows(count), ANSWERS[:count], training, ranks=ranks, seed=seed, longest=LONGEST)


def entries(step: list[list[list[Entry]]]) -> list[Entry]:
    return [entry for rank in step for batch in rank for entry in batch]


def counting(step: list[list[list[Entry]]]) -> list[Entry]:
    return sorted(entry for entry in entries(step) if entry[1] > 0)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("count", [3, 16, 20, 21])
def test_every_epoch_covers_every_sample_once(packing: str, ranks: int, count: int) -> None:
    schedule = plan(count, ranks, epochs=3, packing=packing)
    used = Counter(index for step in schedule.steps for index, weight in entries(step) if weight > 0)
    assert used == dict.fromkeys(range(count), 3)
    assert schedule.num_tokens == 3 * sum(len(row) for row in rows(count))
    assert [len(counting(step)) for step in schedule.steps[:-1]] == [8] * (len(schedule.steps) - 1)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(("reduction", "power"), [("sample", 0), ("sqrt", 0.5), ("token", 1)])
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_weights_of_a_step_are_shares_of_it(packing: str, reduction: str, power: float, ranks: int) -> None:
    for step in plan(21, ranks, epochs=2, packing=packing, loss_reduction=reduction).steps:
        members = counting(step)
        total = sum(ANSWERS[index] ** power for index, _ in members)
        for index, weight in members:
            assert weight == pytest.approx(ANSWERS[index] ** power / total)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("count", [3, 16, 20, 21])
def test_ranks_keep_pace(packing: str, count: int) -> None:
    steps = plan(count, 2, epochs=2, packing=packing).steps
    each = [{len(rank) for rank in step} for step in steps]
    assert all(len(sizes) == 1 for sizes in each)
    assert len(set().union(*each[:-1])) <= 1, "only the last step may have fewer"
    assert all(batch for step in steps for rank in step for batch in rank)


@pytest.mark.parametrize("ranks", [1, 2])
def test_packing_does_not_change_the_steps(ranks: int) -> None:
    for one, other in zip(plan(21, packing="none").steps, plan(21, ranks, packing="packed").steps, strict=True):
        assert counting(one) == counting(other)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("budget", [400, 650, 5000])
def test_packs_keep_to_their_budget(share: bool, budget: int) -> None:
    chats = rows(21)
    schedule = plan(21, packing="packed", pack_tokens=budget, share_prefixes=share, epochs=2)
    sizes = [
        Trie.of([chats[index] for index, _ in pack], share=share).num_tokens
        for step in schedule.steps for rank in step for pack in rank
    ]  # fmt: skip
    assert max(sizes) <= budget
    assert sum(sizes) >= schedule.num_computed
    assert (schedule.num_computed < schedule.num_tokens) == share


@pytest.mark.parametrize("batch_size", [3, 4, 8, 9])
@pytest.mark.parametrize("epochs", [1, 3])
def test_samples_of_one_beginning_stay_in_one_step(batch_size: int, epochs: int) -> None:
    """Seven pairs and seven others: one of the others takes the place that a pair would leave open."""
    together = 0
    for step in plan(21, batch_size=batch_size, micro_batch_size=1, epochs=epochs).steps:
        members = [index for index, _ in counting(step)]
        together += sum(min(members.count(index), members.count(index + 1)) for index in range(1, 21, 3))
    assert together == 7 * epochs


def test_an_item_and_its_twin_share_a_pack_at_micro_batches_of_one() -> None:
    """Eight pairs of the training length that differ in their ends, and eight that differ from their half on."""
    draw = np.random.default_rng(0)
    chats = []
    for number in range(16):
        common = draw.integers(0, 99, 380 if number < 8 else 210)
        chats += [np.concatenate([common, draw.integers(0, 99, LONGEST - len(common))]) for _ in range(2)]
    made = [
        Schedule.plan(chats, [1] * 32, Training(batch_size=8, micro_batch_size=1), ranks=ranks, seed=0, longest=LONGEST)
        for ranks in (1, 2, 8)
    ]
    for schedule in made:
        assert 1 - schedule.num_computed / schedule.num_tokens == pytest.approx((380 + 210) / LONGEST / 4, abs=0.01)
        assert schedule.pack_tokens == 1.5 * LONGEST
        for step in schedule.steps:
            packs = [[index for index, weight in pack if weight] for rank in step for pack in rank]
            assert all({index ^ 1 for index in pack} == {*pack} for pack in packs)
    fillers = [pack for step in made[2].steps for rank in step for pack in rank if pack == [(FILLER, 0.0)]]
    assert len(fillers) == 4 * len(made[2].steps), "eight samples are four packs for eight ranks"


def test_packs_of_samples_that_share_nothing_keep_the_micro_batch_s_budget() -> None:
    chats = [np.random.default_rng(number).integers(0, 99, 300) for number in range(8)]
    made = Schedule.plan(chats, [1] * 8, Training(micro_batch_size=1), ranks=1, seed=0, longest=LONGEST)
    assert made.pack_tokens == LONGEST


def test_packs_are_balanced_over_ranks() -> None:
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(6, 0.8, 64), 64, 4096).astype(int)
    chats = [generator.integers(0, 99, size).astype(np.int32) for size in lengths]
    training = Training(batch_size=64, micro_batch_size=2, packing="packed")
    schedule = Schedule.plan(chats, [1] * 64, training, ranks=4, seed=0, longest=4096)
    [step] = schedule.steps
    tokens = [sum(lengths[index] for pack in rank for index, _ in pack) for rank in step]
    assert max(tokens) / np.mean(tokens) < 1.05


def test_length_sorted_batches_hold_neighbours_in_random_order() -> None:
    chats = rows(20)
    steps = plan(20, batch_size=4, packing="length_sorted").steps
    spans = [sorted(len(chats[index]) for index, _ in counting(step)) for step in steps]
    apart = sorted(spans)
    assert all(one[-1] <= other[0] for one, other in pairwise(apart))
    assert spans != apart


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_order_follows_the_seed_and_changes_with_the_epoch(packing: str) -> None:
    changes: dict[str, Any] = {"packing": packing, "batch_size": 2}
    assert plan(16, epochs=2, **changes) == plan(16, epochs=2, **changes)
    assert plan(16, **changes).steps != plan(16, seed=1, **changes).steps
    steps = plan(16, epochs=2, **changes).steps
    assert [entries(step) for step in steps[:8]] != [entries(step) for step in steps[8:]]
