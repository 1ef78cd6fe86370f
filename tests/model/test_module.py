"""The loss at the supervised positions equals the one computed from all logits; the schedule of the learning rate."""

from __future__ import annotations

import copy
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longsafety.data.module import Batch, Member, packed, padded
from longsafety.data.tokens import TokenRow
from longsafety.model.attention import NAME, VARLEN
from longsafety.model.frozen import cast_frozen
from longsafety.model.fused import fuse
from longsafety.model.last_layer import ROWS
from longsafety.model.load import load_model
from longsafety.model.lora import add_lora
from longsafety.model.loss import supervised_loss, training_problem
from longsafety.model.module import learning_rate
from longsafety.model.recompute import recompute
from longsafety.model.tiles import tile_mlps, tiles_problem
from longsafety.settings import Lora, Model, Training

pytestmark = pytest.mark.usefixtures("tiny_one_thread")
RECOMPUTED = ("none", "full", "selective", "layers=1")
SIZES = [(30, 5), (12, 9), (41, 1), (22, 8), (30, 5), (9, 2), (35, 20)]
"""Tokens of a chat, and how many of them are its answer."""


@pytest.fixture(scope="module")
def original(tiny_cache: Path, tiny_model: Model) -> Any:
    return load_model(tiny_model, tiny_cache, seed=3).train()


@pytest.fixture
def network(original: Any) -> Any:
    return copy.deepcopy(original)


@pytest.fixture
def trie_network(network: Any) -> Any:
    network.set_attn_implementation(NAME)
    return network


@pytest.fixture(scope="module")
def chats() -> list[Member]:
    generator = np.random.default_rng(0)
    weights = (0.05, 0.2, 0.1, 0.12, 0.23, 0.25, 0.05)
    return [
        (TokenRow(generator.integers(3, 1900, size).astype(np.int32), answer), weight)
        for (size, answer), weight in zip(SIZES, weights, strict=True)
    ]


@pytest.fixture(scope="module")
def family() -> list[Member]:
    """An item, its benign query, its other needle at half depth, and a chat of its own."""
    generator = np.random.default_rng(1)
    first, second, other = (generator.integers(3, 1900, size).astype(np.int32) for size in (700, 150, 140))
    tails = [generator.integers(3, 1900, size).astype(np.int32) for size in (30, 25, 28)]
    rows = [
        np.concatenate(parts)
        for parts in ((first, second, tails[0]), (first, second, tails[1]), (first, other, tails[2]), (other,))
    ]
    return [(TokenRow(row, 12 + number), 0.1 + 0.1 * number) for number, row in enumerate(rows)]


def reference(network: Any, chats: list[Member]) -> torch.Tensor:
    """Each chat alone and unpadded, by transformers' own loss over its full logits."""
    total = torch.zeros(())
    for chat, weight in chats:
        ids = torch.from_numpy(chat.ids.astype(np.int64))[None]
        labels = ids.clone()
        labels[:, : len(chat.ids) - chat.num_answer] = -100
        total = total + weight * network(input_ids=ids, labels=labels).loss
    return total


def gradients(network: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    torch.autograd.backward(loss)
    named = network.named_parameters()
    return {name: parameter.grad.clone() for name, parameter in named if parameter.grad is not None}


def assert_close(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert max(float(value.abs().max()) for value in second.values()) > 1e-3
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6, msg=name)


def assert_same_training(network: Any, loss: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
    assert_close(gradients(network, loss), gradients(network, expected))


# Equal to the loss over the full logits of each chat alone


def test_padded_chats(network: Any, chats: list[Member]) -> None:
    assert_same_training(network, supervised_loss(network, padded(chats, 2)), reference(network, chats))


@pytest.mark.parametrize("share", [True, False])
def test_packed_chats(trie_network: Any, original: Any, chats: list[Member], share: bool) -> None:
    expected = reference(copied := copy.deepcopy(original), chats)
    loss = supervised_loss(trie_network, packed(chats, share=share))
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
    assert_close(gradients(trie_network, loss), gradients(copied, expected))


@pytest.mark.slow
@pytest.mark.parametrize("recomputed", RECOMPUTED)
@pytest.mark.parametrize("tune", ["full", "lora"])
@pytest.mark.parametrize("attention", [NAME, VARLEN])
def test_chats_of_one_context(
    original: Any, family: list[Member], tiny_model: Model, recomputed: str, tune: str, attention: str
) -> None:
    """The shared beginning is computed once, and its gradients are the sum of what all its chats ask for."""
    networks = [copy.deepcopy(original) for _ in range(2)]
    if tune == "lora":
        networks = [add_lora(network, Lora(), 0).train() for network in networks]
        for network in networks:
            for name, parameter in network.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(len(name)), std=0.1)
    alone, shared = networks
    base = shared.get_base_model() if tune == "lora" else shared
    base.set_attn_implementation(attention)
    recompute(base, recomputed)
    batch = packed(family, share=True)
    assert batch["input_ids"].shape[1] == 700 + 150 + 140 + 140 + 30 + 25 + 28
    loss, expected = supervised_loss(shared, batch), reference(alone, family)
    assert getattr(base.model.layers[-1].self_attn, ROWS).size == batch["input_ids"].shape[1]  # only what is read
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
    assert_close(gradients(shared, loss), gradients(alone, expected))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_fused_norms_and_activations(original: Any, family: list[Member]) -> None:
    """For packs of two lengths; tiles and recomputation around them."""
    fused, plain = (copy.deepcopy(original) for _ in range(2))
    assert fuse(fused) == 3 * len(fused.model.layers) + 1
    tile_mlps(fused, 64)
    for network in (fused, plain):
        network.set_attn_implementation(VARLEN)
        recompute(network, "selective")
    for members in (family, family[:2]):
        batch = packed(members, share=True)
        losses = [supervised_loss(network, batch) for network in (fused, plain)]
        torch.testing.assert_close(*losses, rtol=0, atol=1e-5)
        assert_close(gradients(fused, losses[0]), gradients(plain, losses[1]))


@pytest.mark.slow
@pytest.mark.parametrize("recomputed", RECOMPUTED)
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_feed_forward_parts_in_tiles(original: Any, family: list[Member], recomputed: str, tune: str) -> None:
    """In the last layer, of what is read; nowhere more than a tile at once."""
    tiled, whole = (copy.deepcopy(original) for _ in range(2))
    widest: list[int] = []
    for layer in tiled.model.layers:
        layer.mlp.act_fn.register_forward_hook(lambda _, __, output: widest.append(output.shape[-2]))
    tile_mlps(tiled, 16)
    for network in (tiled, whole):
        network.set_attn_implementation(NAME)
        recompute(network, recomputed)
    if tune == "lora":
        tiled, whole = (add_lora(network, Lora(), 0).train() for network in (tiled, whole))
    batch = packed(family, share=True)
    losses = [supervised_loss(network, batch) for network in (tiled, whole)]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-6)
    assert_close(gradients(tiled, losses[0]), gradients(whole, losses[1]))
    rows = batch["input_ids"].shape[1]
    assert max(widest) == 16 and len(widest) > 2 * (rows // 16)


def test_tiles_need_a_plain_feed_forward_part(original: Any) -> None:
    assert tiles_problem(original) is None
    broken = copy.deepcopy(original)
    broken.model.layers[0].mlp.experts = torch.nn.ModuleList()
    assert "has no layers with a plain mlp" in str(tiles_problem(broken))


def test_a_long_end_is_computed_in_blocks(trie_network: Any, original: Any) -> None:
    generator = np.random.default_rng(2)
    first, *ends = (generator.integers(3, 1900, size).astype(np.int32) for size in (80, 600, 1100))
    members = [(TokenRow(np.concatenate([first, end]), 3), 0.5) for end in ends]
    copied = copy.deepcopy(original)
    loss, expected = supervised_loss(trie_network, packed(members, share=True)), reference(copied, members)
    assert_close(gradients(trie_network, loss), gradients(copied, expected))


@pytest.mark.parametrize("place", range(len(SIZES)))
def test_one_chat_without_padding(network: Any, chats: list[Member], place: int) -> None:
    loss = supervised_loss(network, padded([chats[place]], 2))
    torch.testing.assert_close(loss, reference(network, [chats[place]]), rtol=0, atol=1e-5)


def test_micro_batches_add_up_to_the_whole_batch(trie_network: Any, chats: list[Member]) -> None:
    members = [chats[place] for place in (0, 1, 2, 4)]
    whole = gradients(trie_network, supervised_loss(trie_network, packed(members, share=True)))
    trie_network.zero_grad()
    for pair in (members[:2], members[2:]):
        torch.autograd.backward(supervised_loss(trie_network, packed(pair, share=True)))
    parts = {name: parameter.grad.clone() for name, parameter in trie_network.named_parameters()}
    assert_close(parts, whole)


@pytest.mark.parametrize("packing", ["padded", "packed"])
def test_a_chat_of_weight_zero_counts_nothing(trie_network: Any, chats: list[Member], packing: str) -> None:
    def batch(members: list[Member]) -> Batch:
        return padded(members, 2) if packing == "padded" else packed(members, share=True)

    if packing == "padded":
        trie_network.set_attn_implementation("sdpa")
    nothing = (chats[6][0], 0.0)
    alone, filled = (
        gradients(trie_network, supervised_loss(trie_network, batch(part)))
        for part in ([chats[0]], [chats[0], nothing])
    )
    assert_close(filled, alone)


def test_what_pads_a_row_counts_nothing(network: Any, chats: list[Member]) -> None:
    batch = padded([chats[0], chats[2]], 2)
    before = supervised_loss(network, batch)
    batch["input_ids"] = torch.where(batch["attention_mask"].bool(), batch["input_ids"], 77)
    torch.testing.assert_close(supervised_loss(network, batch), before, rtol=0, atol=1e-6)


# Which networks can be trained so


def test_layers_that_see_a_window_cannot_be_packed(network: Any) -> None:
    assert training_problem(network, "packed") is None
    network.config.layer_types = ["full_attention", "sliding_attention"]
    assert "sliding_attention; set packing=none" in str(training_problem(network, "packed"))
    assert training_problem(network, "none") is None


def test_logits_that_are_changed_behind_the_head(network: Any) -> None:
    network.config.final_logit_softcapping = 30.0
    assert "final_logit_softcapping" in str(training_problem(network, "none"))


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


@pytest.mark.parametrize("share", [True, False])
def test_frozen_weights_cast_once_give_the_bits_of_autocast(original: Any, chats: list[Member], share: bool) -> None:
    batch, found = packed(chats, share=share), []
    for cast in (False, True):
        network: Any = add_lora(copy.deepcopy(original), Lora(), 0).train()
        for name, value in network.named_parameters():
            if "lora_B" in name:  # zero at first, and with it most gradients
                torch.nn.init.normal_(value, std=0.1, generator=torch.Generator().manual_seed(1))
        network.get_base_model().set_attn_implementation(NAME)
        if cast:
            assert cast_frozen(network, torch.bfloat16) == 7 * original.config.num_hidden_layers
            assert network.get_output_embeddings().weight.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            loss = supervised_loss(network, batch)
        found.append({"loss": loss.detach(), **gradients(network, loss)})
    plain, once = found
    assert plain.keys() == once.keys() and all(value.dtype == torch.float32 for value in once.values())
    assert all(torch.equal(plain[name], once[name]) for name in plain)
    assert max(float(value.abs().max()) for value in once.values()) > 1e-3
