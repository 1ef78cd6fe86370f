"""The memory that a training takes on one device, by part, estimated from its settings."""

from __future__ import annotations

import os
from math import ceil

from longsafety.model.shape import Shape
from longsafety.settings import Settings, full_layers

MEMORY = {"A100-80G": 80e9, "H100-80G": 80e9, "H200-141G": 141e9}
PEAK_FLOPS = {"A100-80G": 312e12, "H100-80G": 989e12, "H200-141G": 989e12}
"""Dense bfloat16, from the vendor's data sheets."""
USABLE = 0.92
"""Share of a GPU's memory left after the CUDA context, communication buffers and fragmentation; assumed."""
_HEAD_POSITIONS = 1024
"""Most supervised positions whose logits exist at once."""
ANSWER_TOKENS = 64
"""Supervised tokens of a chat with a template's answer (at most 62). Answers of a teacher and of other sources are
longer."""
_GATHERED = 1_000_000_000
"""Parameters that ZeRO-3 keeps gathered at once (DeepSpeed's default)."""
PARTS = ("weights", "gradients", "optimiser", "activations", "logits")


def on_cpu(settings: Settings) -> bool:
    """Whether the training runs on the CPU; ``trainer=auto`` is taken to."""
    return settings.trainer.accelerator == "cpu" or settings.trainer.name == "auto"


def available_memory(settings: Settings) -> float | None:
    """Bytes of one device; ``None`` if unknown."""
    if not on_cpu(settings):
        return MEMORY[settings.trainer.gpu] * USABLE
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None


def training_memory(
    settings: Settings, shape: Shape, trainable: int, precision: str, devices: int, pack: int
) -> dict[str, float]:
    """Part → bytes on one of ``devices``, at the peak of a step over packs of ``pack`` tokens."""
    trainer, number = settings.trainer, float(shape.parameters)
    number += trainable if settings.model.tune == "lora" else 0
    if trainer.strategy == "deepspeed":
        low = 4.0 if precision == "32-true" else 2.0
        weights, gradients = low * number, low * trainable
        optimiser = 12.0 * trainable  # Adam's two states, and float32 weights, also where the weights are
        stage = trainer.zero.stage
        optimiser /= devices
        if stage >= 2:
            gradients /= devices
        if stage == 3:
            weights = weights / devices + low * min(number, _GATHERED)
        if trainer.zero.offload_optimizer:
            optimiser = 0.0
        if trainer.zero.offload_parameters:
            weights = low * min(number, _GATHERED)
    else:
        low = 2.0 if precision == "bf16-true" else 4.0
        weights, gradients, optimiser = low * number, low * trainable, 2 * low * trainable
        if precision == "bf16-mixed":
            weights += 2 * shape.matrices  # the bfloat16 copies for the backward pass
        if settings.training.optimizer == "adamw_8bit":
            optimiser = 2 * (1 + 4 / 256) * trainable  # a byte each, and a float32 scale per 256
    logits, gradient = _logits(settings, shape, precision, pack)
    # The logits are freed before the layers' backward passes begin.
    low = 4.0 if precision == "32-true" else 2.0
    backward = low * (3 * shape.intermediate * _tile(settings, pack) + 2 * shape.hidden * pack)
    return {
        "weights": weights,
        "gradients": gradients,
        "optimiser": optimiser,
        "activations": (_activations(settings, shape, precision, pack) + max(backward - logits, 0.0))
        / trainer.sequence_parallel,
        "logits": logits + gradient,
    }


def _logits(settings: Settings, shape: Shape, precision: str, tokens: int) -> tuple[float, float]:
    """A chunk's logits with their float32 log-probabilities; and the gradient of the head, if it is trained."""
    teacher, length = settings.teacher, settings.length
    answer = ANSWER_TOKENS if teacher.kind == "template" else teacher.max_reply_tokens
    mean = round(length.training_lengths.average)
    positions = min(_HEAD_POSITIONS, ceil(tokens / mean) * answer)
    if {source.kind for source in settings.data_mix.sources.values()} & {"long_align", "chats"}:
        positions = min(_HEAD_POSITIONS, tokens)
    low = 4.0 if precision == "32-true" else 2.0
    kept = 2.0 if precision == "bf16-true" or settings.trainer.strategy == "deepspeed" else 4.0
    gradient = (low + min(kept, 4.0)) * shape.vocabulary * shape.hidden if settings.model.tune == "full" else 0.0
    return positions * shape.vocabulary * (8.0 if precision == "32-true" else 10.0), gradient


def _activations(settings: Settings, shape: Shape, precision: str, tokens: int) -> float:
    """Bytes that a forward pass keeps for the backward pass."""
    low = 4.0 if precision == "32-true" else 2.0
    half = precision == "bf16-true" or (settings.trainer.strategy == "deepspeed" and precision != "32-true")
    stream = 2.0 if half else 4.0  # between the layers; DeepSpeed's bf16-mixed has bfloat16 weights
    lora = settings.model.tune == "lora"
    trie = settings.training.packing == "packed" and settings.model.attention in (
        ("auto", "sdpa") if on_cpu(settings) else ("sdpa",)
    )
    # The CPU's kernel needs the grouped heads repeated; its output is copied from head-major to token-major order.
    heads = 4 if trie and on_cpu(settings) else 2
    attention = low * (heads * shape.query + (0 if heads == 4 else 2 * shape.key_value) + (shape.query if trie else 0))
    norm = shape.hidden * (4.0 + (0.0 if lora else stream))  # its input; if its weights are trained, also normalised
    taken = 2 * stream if stream == low else 5 * low  # autocast makes a copy for each of its five matrices
    per_layer = (
        2 * norm
        + taken * shape.hidden
        + attention
        + 4 * shape.heads  # log-sum-exp of each query
        + (low * settings.model.lora.r * 7 if lora else 0)
    )
    wide, tile = low * 4 * shape.intermediate, _tile(settings, tokens)  # gate, its activation, up, their product
    if tile == tokens:
        per_layer += wide
    beside = stream * 3 * shape.hidden + 8.0 * shape.head_dim  # last norm and embedding; cosines and sines
    kept = per_layer * shape.layers
    first = full_layers(settings.model.gradient_checkpointing)
    if first is not None:
        first = min(first, shape.layers)
        kept = stream * shape.hidden * first + per_layer * (shape.layers - first)
    elif settings.model.gradient_checkpointing == "full":
        kept = stream * shape.hidden * shape.layers + per_layer
    elif settings.model.gradient_checkpointing == "selective":
        kept = (stream * shape.hidden + low * shape.query + 4 * shape.heads) * shape.layers + per_layer
    if settings.trainer.offload_activations:
        selective = settings.model.gradient_checkpointing == "selective"  # which keeps what it keeps on the device
        kept = per_layer + (low * shape.query * shape.layers if selective else 0.0)
    return (kept + beside) * tokens + (wide * tile if tile < tokens else 0.0)


def _tile(settings: Settings, tokens: int) -> int:
    """Tokens whose feed-forward intermediates exist at once."""
    return min(settings.model.mlp_tile_tokens or tokens, tokens)
