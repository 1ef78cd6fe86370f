"""The loss at the supervised positions equals the one computed from all logits; the schedule of the learning rate."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longsafety.data.module import Encoded, MixModule, Schedule
from longsafety.model.load import load_model
from longsafety.model.module import learning_rate, supervised_loss
from longsafety.settings import Model, Training

pytestmark = pytest.mark.usefixtures("tiny_one_thread")
SIZES = [(30, 5), (12, 9), (41, 1), (17, 17), (22, 8), (30, 5), (9, 2), (35, 20)]
"""Tokens of a chat, and how many of them are its answer."""


@pytest.fixture(scope="module")
def original(tiny_cache: Path, tiny_model: Model) -> Any:
    return load_model(tiny_model, tiny_cache, seed=3).train()


@pytest.fixture
def network(original: Any) -> Any:
    return copy.deepcopy(original)


@pytest.fixture(scope="module")
def chats() -> list[Encoded]:
    generator = np.random.default_rng(0)
    return [
        Encoded(generator.integers(3, 1900, size), answer, weight)
        for (size, answer), weight in zip(SIZES, (0.05, 0.2, 0.1, 0.15, 0.12, 0.08, 0.25, 0.05), strict=True)
    ]


def batched(chats: list[Encoded]) -> dict[str, torch.Tensor]:
    module = MixModule(None, Schedule([]), pad_id=2)  # type: ignore[arg-type]
    return module.collate(chats)


def reference(network: Any, chats: list[Encoded]) -> torch.Tensor:
    """Each chat alone and unpadded, by transformers' own loss over its full logits."""
    total = torch.zeros(())
    for chat in chats:
        ids = torch.from_numpy(chat.ids)[None]
        labels = ids.clone()
        labels[:, : len(chat.ids) - chat.num_answer] = -100
        total = total + chat.weight * network(input_ids=ids, labels=labels).loss
    return total


def gradients(network: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    torch.autograd.backward(loss)
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def assert_close(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert max(float(value.abs().max()) for value in second.values()) > 1e-3
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6, msg=name)


# A chat that is all answer has no token before its first one; transformers' loss leaves that token out as well, so
# such a chat (17, 17) is compared apart, below.
WITH_PROMPT = [place for place, (size, answer) in enumerate(SIZES) if answer < size]


def test_the_loss_and_its_gradients_are_those_of_the_full_logits(network: Any, chats: list[Encoded]) -> None:
    members = [chats[place] for place in WITH_PROMPT]
    loss, expected = supervised_loss(network, batched(members)), reference(network, members)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
    assert_close(gradients(network, loss), gradients(network, expected))


@pytest.mark.parametrize("place", WITH_PROMPT)
def test_one_chat_without_padding(network: Any, chats: list[Encoded], place: int) -> None:
    torch.testing.assert_close(
        supervised_loss(network, batched([chats[place]])), reference(network, [chats[place]]), rtol=0, atol=1e-5
    )


def test_the_longest_answer_may_belong_to_the_shortest_chat(network: Any, chats: list[Encoded]) -> None:
    """The kept positions then reach into another row's padding and prompt."""
    members = [chats[1], chats[2]]
    torch.testing.assert_close(
        supervised_loss(network, batched(members)), reference(network, members), rtol=0, atol=1e-5
    )


def test_the_head_runs_on_the_supervised_positions_only(network: Any, chats: list[Encoded]) -> None:
    shapes: list[torch.Size] = []
    network.lm_head.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    supervised_loss(network, batched([chats[0], chats[2]]))
    assert [tuple(shape[:2]) for shape in shapes] == [(2, 6)]


def test_positions_begin_with_the_chat_not_with_its_padding(network: Any, chats: list[Encoded]) -> None:
    """Relative positions forgive it; models with a table of positions do not."""
    given: list[torch.Tensor] = []
    network.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs["position_ids"]), with_kwargs=True
    )
    members = [chats[0], chats[2], chats[6]]
    supervised_loss(network, batched(members))
    for row, chat in enumerate(members):
        assert given[0][row, -len(chat.ids) :].tolist() == list(range(len(chat.ids)))


def test_micro_batches_add_up_to_the_whole_batch(network: Any, chats: list[Encoded]) -> None:
    members = [chats[place] for place in (0, 1, 2, 4)]
    whole = gradients(network, supervised_loss(network, batched(members)))
    network.zero_grad()
    for pair in (members[:2], members[2:]):
        torch.autograd.backward(supervised_loss(network, batched(pair)))
    parts = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    assert_close(parts, whole)


def test_a_chat_of_weight_zero_counts_nothing(network: Any, chats: list[Encoded]) -> None:
    nothing = Encoded(chats[7].ids, chats[7].num_answer, 0.0)
    alone, filled = (
        gradients(network, supervised_loss(network, batched(part))) for part in ([chats[0]], [chats[0], nothing])
    )
    assert_close(filled, alone)


def test_what_pads_a_row_counts_nothing(network: Any, chats: list[Encoded]) -> None:
    batch = batched([chats[0], chats[2]])
    before = supervised_loss(network, batch)
    batch["input_ids"] = torch.where(batch["attention_mask"].bool(), batch["input_ids"], 77)
    torch.testing.assert_close(supervised_loss(network, batch), before, rtol=0, atol=1e-6)


# The learning rate


def rates(num_steps: int, **changes: Any) -> list[float]:
    factor = learning_rate(Training(**changes), num_steps)
    return [factor(step) for step in range(num_steps + 1)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_a_linear_warm_up_that_trains_from_the_first_step(schedule: str) -> None:
    shares = rates(100, warmup_ratio=0.1, schedule=schedule)
    assert shares[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert shares[10] == pytest.approx(1)
    assert max(shares) == pytest.approx(1)
    assert all(share > 0 for share in shares[:100])


def test_cosine_and_linear_fall_to_zero_and_constant_stays() -> None:
    cosine, linear, constant = (
        rates(100, warmup_ratio=0.1, schedule=name) for name in ("cosine", "linear", "constant")
    )
    for shares in (cosine, linear):
        assert all(first > second for first, second in pairwise(shares[10:]))
        assert shares[100] == pytest.approx(0)
        assert shares[55] == pytest.approx(0.5)
    assert linear[11:14] == pytest.approx([1 - step / 90 for step in (1, 2, 3)])
    assert cosine[11] > linear[11] and cosine[99] < linear[99]
    assert set(constant[10:]) == {1.0}


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("ratio", [0.0, 0.03, 1.0])
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_very_short_trainings_have_a_rate_in_every_step(schedule: str, ratio: float, num_steps: int) -> None:
    shares = rates(num_steps, warmup_ratio=ratio, schedule=schedule)
    assert all(0 < share <= 1 for share in shares[:num_steps])
    assert 0 <= shares[num_steps] <= 1
