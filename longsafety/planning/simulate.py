"""The memory of a training step, simulated: the step's own code on tensors that have shapes and no contents.

The network, its attention's GPU operators, recomputation, loss and gradients are those of the training; torch's memory
tracker counts what lives at the peak, under the rules of its GPU kernels. All layers but the last are alike, so few are
run, and the peak of all follows from how it grows with each. Gradients of an earlier micro-batch exist before the step.

What the trainer shards is divided among the devices; optimiser states are counted, not run. Neither the allocator's
blocks nor communication buffers are in it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed._tools.mem_tracker import MemTracker

from longsafety.data.module import packed
from longsafety.data.tokens import TokenRow
from longsafety.model.attention import VARLEN
from longsafety.model.lora import add_lora
from longsafety.model.loss import supervised_loss
from longsafety.model.recompute import recompute
from longsafety.model.shape import Shape
from longsafety.model.tiles import tile_mlps
from longsafety.planning.memory import ANSWER_TOKENS
from longsafety.planning.training import Plan
from longsafety.settings import Settings, full_layers

_LAYERS = (3, 4)
"""Numbers of layers that are run."""


class _Tracker(MemTracker):  # type: ignore[no-untyped-call]
    """torch's, without its hooks on parameters, which it cannot set on frozen ones; they only name gradients."""

    def _track_module_params_and_buffers(self, module: Any, install_grad_hooks: bool = True) -> tuple[int, int]:
        found: tuple[int, int] = super()._track_module_params_and_buffers(module, install_grad_hooks=False)
        return found


def simulated_memory(settings: Settings, shape: Shape, made: Plan) -> dict[str, float]:
    """Part → bytes on one device at the peak of a step over ``made``'s pack: weights, gradients, optimiser from the
    plan; the activations simulated. ``attention=auto`` is taken to be the flash calls of a GPU."""
    assert made.memory is not None
    first = full_layers(settings.model.gradient_checkpointing)
    few, more = _LAYERS
    if first is None:
        low, high = (activations(settings, shape, layers, made) for layers in _LAYERS)
        whole = low + (high - low) * (shape.layers - few)
    else:
        first = min(first, shape.layers)
        base = activations(settings, shape, few, made, first=1)
        recomputed = activations(settings, shape, more, made, first=2) - base
        kept = activations(settings, shape, more, made, first=1) - base
        whole = base + recomputed * (first - 1) + kept * (shape.layers - first - few + 1)
    parts = {name: made.memory[name] for name in ("weights", "gradients", "optimiser")}
    return {**parts, "activations and logits": whole / settings.trainer.sequence_parallel}


def chats(settings: Settings, made: Plan, vocabulary: int) -> list[tuple[TokenRow, float]]:
    """A full pack: an item and its twin from where they part, or chats that share nothing."""
    draw, tokens = np.random.default_rng(0), settings.length.training_tokens
    answer = min(ANSWER_TOKENS, tokens // 4)
    first = draw.integers(3, vocabulary, min(tokens, made.pack_tokens)).astype(np.int32)
    rows, left = [first], made.pack_tokens - len(first)
    while left > answer:
        size = min(left, tokens)
        shared = tokens - size if made.sharing.saved and len(rows) == 1 else 0
        own = draw.integers(3, vocabulary, size).astype(np.int32)
        rows.append(np.concatenate([first[:shared], own]))
        left -= size
    return [(TokenRow(row, answer), 1 / len(rows)) for row in rows]


def activations(settings: Settings, shape: Shape, layers: int, made: Plan, first: int | None = None) -> float:
    """Bytes beyond weights and gradients at the peak of forward and backward pass, of ``layers`` layers."""
    model, training = settings.model, settings.training
    half = made.precision == "bf16-true" or (settings.trainer.strategy == "deepspeed" and made.precision != "32-true")
    network = _network(shape, layers, torch.bfloat16 if half else torch.float32)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    network.set_attn_implementation(VARLEN)
    if model.mlp_tile_tokens is not None:
        tile_mlps(network, model.mlp_tile_tokens)
    recompute(network, model.gradient_checkpointing if first is None else f"layers={first}")
    batch = packed(chats(settings, made, shape.vocabulary), share=training.share_prefixes)
    if model.tune == "lora":
        network = add_lora(network, model.lora, 0)
        network = network.to(torch.bfloat16) if half else network  # peft makes them in float32, the trainer casts them
    network.train()
    with mode:
        network.to_empty(device="cpu")
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
        batch = {name: torch.empty_like(value) if torch.is_tensor(value) else value for name, value in batch.items()}
    tracker = _Tracker()
    tracker.track_external(network)
    autocast = made.precision == "bf16-mixed" and not half
    with _collected(), mode, tracker, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        with _elsewhere() if settings.trainer.offload_activations else nullcontext():
            loss = supervised_loss(network, batch)
        loss.backward()  # type: ignore[no-untyped-call]
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    kinds = {getattr(kind, "value", str(kind)): size for kind, size in peak.items()}
    held = sum(part.numel() * part.element_size() for part in network.parameters())
    held += sum(part.numel() * part.element_size() for part in network.parameters() if part.requires_grad)
    return float(kinds["Total"] - held)


def _network(shape: Shape, layers: int, kind: torch.dtype) -> Any:
    """A Llama of ``shape`` with so many layers, without contents."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(  # type: ignore[call-arg]
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=1 << 20, tie_word_embeddings=shape.tied,
        attention_bias=shape.qkv_bias, attn_implementation="sdpa",
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        with torch.device("meta"):
            return LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _collected() -> Iterator[None]:
    """Python frees what hangs in circles at once, as if they were none: the tracker's own references make some, and in
    a process with many objects what they hold would stay, and count."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()  # so that a collection looks at what is made from here on only
    gc.set_threshold(100, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@contextmanager
def _elsewhere() -> Iterator[None]:
    """What the forward pass saves leaves the device, as with ``save_on_cpu``, and comes back when it is needed."""

    def pack(tensor: torch.Tensor) -> Any:
        return tensor if isinstance(tensor, torch.nn.Parameter) else (tensor.shape, tensor.stride(), tensor.dtype)

    def unpack(kept: Any) -> torch.Tensor:
        return kept if torch.is_tensor(kept) else torch.empty_strided(kept[0], kept[1], dtype=kept[2])

    with saved_tensors_hooks(pack, unpack):
        yield
