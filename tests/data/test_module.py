"""The schedule covers every sample once an epoch and can begin anywhere; batches are padded on the left."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from longsafety.data.module import Chats, Encoded, Entry, MixModule, Schedule
from longsafety.scenarios.encode import ChatEncoder
from longsafety.scenarios.recipe import Sample, Span
from longsafety.settings import Training

ANSWERS = [number % 7 + 1 for number in range(20)]


def plan(ranks: int = 1, seed: int = 0, answers: list[int] = ANSWERS, **changes: Any) -> Schedule:
    return Schedule.plan(
        answers, Training(**{"batch_size": 8, "micro_batch_size": 2, **changes}), ranks=ranks, seed=seed
    )


def entries(step: list[list[list[Entry]]]) -> list[Entry]:
    return [entry for rank in step for batch in rank for entry in batch]


LAYOUTS = [
    (reduction, ranks, count) for reduction in ("sample", "token") for ranks in (1, 2) for count in (3, 16, 20, 21)
]


@pytest.mark.parametrize(("reduction", "ranks", "count"), LAYOUTS)
def test_every_epoch_covers_every_sample_once(reduction: str, ranks: int, count: int) -> None:
    schedule = plan(ranks, answers=ANSWERS[:count] + [3] * (count - 20), epochs=3, loss_reduction=reduction)
    used = Counter(index for step in schedule.steps for index, weight in entries(step) if weight > 0)
    assert used == dict.fromkeys(range(count), 3)
    one = plan(ranks, answers=ANSWERS[:16], epochs=2)
    for epoch in (one.steps[:2], one.steps[2:]):
        assert sorted(index for step in epoch for index, weight in entries(step) if weight > 0) == list(range(16))


@pytest.mark.parametrize(("reduction", "ranks", "count"), LAYOUTS)
def test_the_weights_of_a_step_sum_to_one(reduction: str, ranks: int, count: int) -> None:
    answers = ANSWERS[:count] + [3] * (count - 20)
    for step in plan(ranks, answers=answers, epochs=2, loss_reduction=reduction).steps:
        members = [(index, weight) for index, weight in entries(step) if weight > 0]
        assert sum(weight for _, weight in members) == pytest.approx(1)
        total = sum(answers[index] for index, _ in members)
        for index, weight in members:
            expected = 1 / len(members) if reduction == "sample" else answers[index] / total
            assert weight == pytest.approx(expected)


@pytest.mark.parametrize("count", [3, 16, 20, 21, 23])
def test_ranks_have_as_many_batches_each_of_the_declared_size(count: int) -> None:
    for step in plan(2, answers=[1] * count, epochs=2).steps:
        assert len(step) == 2
        assert len(step[0]) == len(step[1])
        assert {len(batch) for rank in step for batch in rank} == {2}


def test_one_rank_is_not_filled_up() -> None:
    steps = plan(1, answers=[1] * 21).steps
    assert [len(entries(step)) for step in steps] == [8, 8, 5]
    assert [len(batch) for batch in steps[-1][0]] == [2, 2, 1]


def test_ranks_share_the_step_that_one_rank_would_do() -> None:
    """The same samples in a step, whatever the number of devices."""
    for one, two in zip(plan(1).steps, plan(2).steps, strict=True):
        assert set(entries(one)) == {entry for entry in entries(two) if entry[1] > 0}


def test_the_order_follows_the_seed_and_changes_with_the_epoch() -> None:
    assert plan(epochs=2) == plan(epochs=2)
    assert plan().steps != plan(seed=1).steps
    schedule = plan(answers=[1] * 16, epochs=2)
    first, second = (
        [index for step in part for index, _ in entries(step)] for part in (schedule.steps[:2], schedule.steps[2:])
    )
    assert sorted(first) == sorted(second)
    assert first != second


# Batches


@pytest.fixture(scope="module")
def chats(tiny_encoder: ChatEncoder) -> Chats:
    plain: dict[str, Any] = dict.fromkeys(("task", "scenario", "kind", "category", "seed_id", "licence"), "x")
    samples = [
        Sample(
            id=str(number), pair_id=str(number), **plain, context=(Span(number, 0, 20 + 7 * number),), question="What?",
            answer="word " * (number % 4) + f"number {number}.", goal="before" if number % 3 else "after",
            history=(("First?", "Yes."), ("Then?", f"No {number}."))[: number % 3],
        )
        for number in range(20)
    ]  # fmt: skip
    return Chats(samples, tiny_encoder)


def loaded(chats: Chats, schedule: Schedule, start: int) -> list[dict[str, torch.Tensor]]:
    return list(MixModule(chats, schedule, pad_id=2, start_step=start).train_dataloader())


@pytest.mark.parametrize("start", [0, 1, 2, 4, 5])
def test_beginning_at_a_step_gives_exactly_the_remaining_batches(chats: Chats, start: int) -> None:
    schedule = plan(answers=[chats[number, 1.0].num_answer for number in range(20)], epochs=2)
    assert len(schedule.steps) == 5
    everything, rest = loaded(chats, schedule, 0), loaded(chats, schedule, start)
    before = sum(len(step[0]) for step in schedule.steps[:start])
    assert len(everything) == 20
    assert len(rest) == 20 - before
    for first, second in zip(everything[before:], rest, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_loader_tells_the_length_of_the_whole_schedule(chats: Chats) -> None:
    """Lightning, which counts the batches that a checkpoint has behind it, is to come out at the end."""
    assert len(MixModule(chats, plan(epochs=2), pad_id=2, start_step=2).train_dataloader()) == 20


def test_batches_are_padded_on_the_left_and_supervise_the_answer_alone(chats: Chats) -> None:
    keys = [(3, 0.5), (0, 0.25), (19, 0.25)]
    batch = MixModule(chats, plan(), pad_id=2).collate([chats[key] for key in keys])
    width = max(len(chats[key].ids) for key in keys)
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "input_ids": (3, width), "attention_mask": (3, width), "labels": (3, width), "weights": (3,)
    }  # fmt: skip
    assert {batch[name].dtype for name in ("input_ids", "attention_mask", "labels")} == {torch.int64}
    assert batch["weights"].tolist() == [0.5, 0.25, 0.25]
    tokenizer = chats.encoder.tokenizer
    for row, (index, _) in enumerate(keys):
        sample, mask = chats.samples[index], batch["attention_mask"][row].bool()
        size = int(mask.sum())
        assert mask[width - size :].all()
        assert set(batch["input_ids"][row, : width - size].tolist()) <= {2}
        prompt = chats.encoder.prompt_text(sample.context, sample.question, sample.history, sample.goal)
        text = prompt + sample.answer + "<|im_end|>"
        assert all(turn in text for pair in sample.history for turn in pair)
        assert batch["input_ids"][row, mask].tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
        supervised = batch["labels"][row] != -100
        assert tokenizer.decode(batch["labels"][row, supervised]) == sample.answer + "<|im_end|>"
        assert torch.equal(batch["labels"][row, supervised], batch["input_ids"][row, supervised])
        assert supervised[-int(supervised.sum()) :].all()


def test_a_row_may_be_all_answer() -> None:
    chat = Encoded(np.arange(5), 5, 1.0)
    module = MixModule(None, plan(), pad_id=0)  # type: ignore[arg-type]
    assert module.collate([chat])["labels"].tolist() == [[0, 1, 2, 3, 4]]
