"""What a run will cost, from its settings alone: steps, FLOPs, hours, memory a device, disk. Loads no weights.

FLOPs of a trained token: 6 a weight of the layers' matrices (forward 2, to activations 2, to weights 2; 4 where the
weights are frozen), and of causal attention 6 · layers · heads · head size · context tokens (half of the square, there
and back). Checkpointing does the forward pass again. The head is left out: it sees supervised tokens only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from longsafety.model.sequence import heads_problem
from longsafety.model.shape import Shape, shape_of
from longsafety.planning.asking import Asking, asking
from longsafety.settings import Settings

UTILISATION = 0.4
"""Share of a GPU's bfloat16 peak that is reckoned with; assumed."""
PEAK_FLOPS = {"A100-80G": 312e12, "H100-80G": 989e12, "H200-141G": 989e12}
"""Dense bfloat16, from the vendor's data sheets."""
MEMORY = {"A100-80G": 80e9, "H100-80G": 80e9, "H200-141G": 141e9}
USABLE = 0.92
"""Share of a GPU's memory that is left beside the context, communication buffers and fragments; assumed."""
_HEAD_POSITIONS = 1024
"""Supervised positions whose logits exist at once, at most."""
ANSWER_TOKENS = 64
"""Supervised tokens of a chat whose answer is a template's (at most 62); a teacher's and other sources' are longer."""
_GATHERED = 1_000_000_000
"""Parameters that ZeRO-3 keeps gathered at once (DeepSpeed's default)."""
_EIGHT_BIT, _TILE = "training.optimizer=adamw_8bit", 8192
PARTS = ("weights", "gradients", "optimiser", "activations", "logits")


@dataclass(frozen=True)
class Plan:
    """One job's figures; ``None`` is unknown, and ``unknowns`` says why."""

    label: str
    length: int
    devices: int
    precision: str
    samples: int
    steps: int
    tokens: int
    pack_tokens: int
    parameters: int | None
    trainable: int | None
    flops: float | None
    hours: dict[str, float | None]
    """GPU → hours of wall time for the training, on all devices."""
    memory: dict[str, float] | None
    """Part → bytes on one device."""
    available: float | None
    """Bytes of one device."""
    disk: dict[str, float] | None
    asking: Asking
    evaluation_hours: dict[str, float | None]
    """GPU → hours on one device; replies as if they were prompts, which they are slower than."""
    unknowns: tuple[str, ...]
    fix: str | None
    """Overrides that make it fit, the fewest first; ``None`` where it fits, or nothing was found."""

    @property
    def peak(self) -> float | None:
        return None if self.memory is None else sum(self.memory.values())

    @property
    def fits(self) -> bool | None:
        if self.memory is None or self.available is None:
            return None
        return sum(self.memory.values()) <= self.available


def plan(settings: Settings) -> Plan:
    """The figures of one job, and how to make it fit where it does not."""
    made = _plan(settings)
    if made.fits is False:
        changed = settings
        for name, change in _changes(settings):
            alone = change(settings)
            if _plan(alone).fits:
                return replace(made, fix=name)
        names: list[str] = []
        for name, change in _changes(settings):
            changed = change(changed)
            if name.startswith("trainer=deepspeed"):  # which neither goes with
                names = [kept for kept in names if not kept.startswith((_EIGHT_BIT, "model.mlp_tile_tokens"))]
            names.append(name)
            if _plan(changed).fits:
                return replace(made, fix=" ".join(names))
    return made


def _plan(settings: Settings) -> Plan:
    training, trainer, length = settings.training, settings.trainer, settings.length
    shape, trains = shape_of(settings.model), bool(settings.data_mix.sources)
    samples = settings.data_mix.budget * training.epochs if trains else 0
    mean = round(length.training_lengths.average)
    tokens = samples * mean
    unknowns = ["supervised tokens: known once the data is built"]
    if settings.data_mix.budget_unit == "tokens" and trains:
        samples, tokens = 0, 0
        unknowns.append("samples and tokens: data_mix.budget counts answer tokens; known once the data is built")
    devices = trainer.devices if isinstance(trainer.devices, int) else 1
    if trainer.devices == "auto" and trainer.accelerator != "cpu":
        unknowns.append("devices: trainer.devices=auto; reckoned with one")
    devices *= trainer.num_nodes
    precision = trainer.precision
    if precision == "auto":
        precision = "bf16-mixed"
        unknowns.append("precision: trainer.precision=auto; reckoned with bf16-mixed")
    pack = training.pack_tokens if training.packing == "packed" else None
    pack = pack or training.micro_batch_size * length.training_tokens
    asks = asking(settings)
    unknowns += asks.unknowns
    common: dict[str, Any] = {
        "label": settings.label or settings.data_mix.name, "length": length.max_tokens, "devices": devices,
        "precision": precision, "samples": samples, "steps": ceil(samples / training.batch_size), "tokens": tokens,
        "pack_tokens": pack, "asking": asks, "fix": None,
        "available": _available(settings, _on_cpu(settings)),
    }  # fmt: skip
    nothing: dict[str, float | None] = dict.fromkeys(PEAK_FLOPS)
    if shape is None:
        unknowns.append(
            f"FLOPs, hours, memory, disk: the shape of {settings.model.source} is not known; give its folder as "
            "model.source"
        )
        return Plan(
            **common, parameters=settings.model.num_parameters, trainable=None, flops=None, hours=nothing, memory=None,
            disk=None, evaluation_hours=nothing, unknowns=tuple(unknowns),
        )  # fmt: skip
    lora = settings.model.tune == "lora"
    trainable = (shape.adapters(settings.model.lora.r) if lora else shape.parameters) if trains else 0
    flops = tokens * _token_flops(settings, shape, mean) if trains else 0.0
    here = 0 if settings.evaluation.backend == "openai" else asks.computed + asks.suites + asks.replies
    work = here * (2 * shape.matrices + 2 * shape.layers * shape.query * length.bench_tokens)
    return Plan(
        **common,
        parameters=shape.parameters,
        trainable=trainable,
        flops=flops,
        hours={gpu: flops / (peak * UTILISATION * devices) / 3600 for gpu, peak in PEAK_FLOPS.items()},
        memory=_memory(settings, shape, trainable, precision, devices, pack) if trains else None,
        disk=_disk(shape, trainable, lora, tokens // training.epochs) if trains else None,
        evaluation_hours={gpu: work / (peak * UTILISATION) / 3600 for gpu, peak in PEAK_FLOPS.items()},
        unknowns=tuple(unknowns),
    )


def _token_flops(settings: Settings, shape: Shape, context: int) -> float:
    matrices = (4 if settings.model.tune == "lora" else 6) * shape.matrices
    attention = 6 * shape.layers * shape.query * context
    again = settings.model.gradient_checkpointing != "none"
    attended = attention / 3 if settings.model.gradient_checkpointing == "full" else 0.0
    return matrices + attention + (2 * shape.matrices + attended if again else 0.0)


def _on_cpu(settings: Settings) -> bool:
    return settings.trainer.accelerator == "cpu" or settings.trainer.name == "auto"


def _available(settings: Settings, on_cpu: bool) -> float | None:
    if not on_cpu:
        return MEMORY[settings.trainer.gpu] * USABLE
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None


def _memory(
    settings: Settings, shape: Shape, trainable: int, precision: str, devices: int, pack: int
) -> dict[str, float]:
    trainer, number = settings.trainer, float(shape.parameters)
    number += trainable if settings.model.tune == "lora" else 0
    if trainer.strategy == "deepspeed":
        low = 4.0 if precision == "32-true" else 2.0
        weights, gradients = low * number, low * trainable
        optimiser = (8.0 if precision == "32-true" else 12.0) * trainable  # the float32 weights, and Adam's two states
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
            weights += 2 * shape.matrices  # the bfloat16 copies that the backward pass takes
        if settings.training.optimizer == "adamw_8bit":
            optimiser = 2 * (1 + 4 / 256) * trainable  # a byte each, and a float32 scale for 256
    logits, gradient = _logits(settings, shape, precision, pack)
    # The logits are gone before the layers' backward passes begin.
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
    """A chunk's logits with their float32 logarithms; and the head's gradient with a chunk's share, where it learns."""
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
    """What a forward pass keeps for the backward pass."""
    low = 4.0 if precision == "32-true" else 2.0
    stream = 2.0 if precision == "bf16-true" else 4.0  # between the layers
    lora = settings.model.tune == "lora"
    trie = settings.training.packing == "packed" and settings.model.attention in (
        ("auto", "sdpa") if _on_cpu(settings) else ("sdpa",)
    )
    # Grouped heads are repeated for the processor's kernel; what it returns is copied from heads to tokens.
    heads = 4 if trie and _on_cpu(settings) else 2
    attention = low * (heads * shape.query + (0 if heads == 4 else 2 * shape.key_value) + (shape.query if trie else 0))
    norm = 4.0 * shape.hidden * (1 if lora else 2)  # its input, and normalised where its weights are trained
    taken = 2 * stream if stream == low else 5 * low  # autocast copies for each of the five matrices that take it
    per_layer = (
        2 * norm
        + taken * shape.hidden
        + attention
        + 4 * shape.heads  # of each query, the logarithm of its sum
        + (low * settings.model.lora.r * 7 if lora else 0)
    )
    wide, tile = low * 4 * shape.intermediate, _tile(settings, tokens)  # gate, its activation, up, their product
    if tile == tokens:
        per_layer += wide
    beside = stream * 3 * shape.hidden + 8.0 * shape.head_dim  # last norm and embedding; cosines and sines
    kept = per_layer * shape.layers
    if settings.model.gradient_checkpointing == "full":
        kept = stream * shape.hidden * shape.layers + per_layer
    elif settings.model.gradient_checkpointing == "selective":
        kept = (stream * shape.hidden + low * shape.query + 4 * shape.heads) * shape.layers + per_layer
    if settings.trainer.offload_activations:
        kept = per_layer
    return (kept + beside) * tokens + (wide * tile if tile < tokens else 0.0)


def _tile(settings: Settings, tokens: int) -> int:
    """Tokens of a feed-forward part whose intermediates exist at once."""
    return min(settings.model.mlp_tile_tokens or tokens, tokens)


def _disk(shape: Shape, trainable: int, lora: bool, tokens: int) -> dict[str, float]:
    return {
        "checkpoints": 2 * 12.0 * trainable,  # the last two: weights and Adam's two states
        "weights": 4.0 * trainable,
        "exported weights": 4.0 * (shape.parameters + (trainable if lora else 0)),
        "token rows": 4.0 * tokens,
    }


def _eight_bit(settings: Settings) -> Settings:
    training = settings.training.model_copy(update={"optimizer": "adamw_8bit"})
    trainer = settings.trainer.model_copy(update={"precision": "bf16-true"})
    return settings.model_copy(update={"training": training, "trainer": trainer})


def _changes(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Overrides from small to large, each with the function that applies it."""

    def changed(section: str, **values: Any) -> Any:
        return lambda whole: whole.model_copy(update={section: getattr(whole, section).model_copy(update=values)})

    trainer, length = settings.trainer, settings.length.training_tokens
    packed, shape = settings.training.packing == "packed", shape_of(settings.model)
    if packed and (settings.training.pack_tokens or settings.training.micro_batch_size * length) > length:
        yield f"training.pack_tokens={length}", changed("training", pack_tokens=length)
    elif not packed and settings.training.micro_batch_size > 1:
        yield "training.micro_batch_size=1", changed("training", micro_batch_size=1)
    if settings.model.gradient_checkpointing != "full":
        yield "model.gradient_checkpointing=full", changed("model", gradient_checkpointing="full")
    tile = settings.model.mlp_tile_tokens
    if tile is None and length > _TILE and trainer.strategy != "deepspeed" and not _on_cpu(settings):
        yield f"model.mlp_tile_tokens={_TILE}", changed("model", mlp_tile_tokens=_TILE)
    full, alone = settings.model.tune == "full", trainer.strategy != "deepspeed" and not _on_cpu(settings)
    if full and alone and (settings.training.optimizer, trainer.precision) != ("adamw_8bit", "bf16-true"):
        yield f"{_EIGHT_BIT} trainer.precision=bf16-true", _eight_bit
    if trainer.strategy == "deepspeed":
        for stage in range(trainer.zero.stage + 1, 4 if tile is None else 3):
            yield (
                f"trainer.zero.stage={stage}",
                changed("trainer", zero=trainer.zero.model_copy(update={"stage": stage})),
            )
    elif trainer.accelerator == "gpu":
        sharded = changed("trainer", strategy="deepspeed", devices=8, zero=trainer.zero.model_copy(update={"stage": 3}))
        again = "" if settings.training.optimizer == "adamw" else " training.optimizer=adamw"
        again += "" if tile is None else " model.mlp_tile_tokens=null"
        untiled, plain = changed("model", mlp_tile_tokens=None), changed("training", optimizer="adamw")
        yield f"trainer=deepspeed_zero3{again}", lambda whole: plain(untiled(sharded(whole)))
    if trainer.strategy == "deepspeed" and isinstance(trainer.devices, int) and trainer.devices < 8:
        yield "trainer.devices=8", changed("trainer", devices=8)
    if trainer.strategy == "deepspeed" and not trainer.zero.offload_optimizer and tile is None:
        zero = trainer.zero.model_copy(update={"stage": 3, "offload_optimizer": True})
        yield "trainer.zero.offload_optimizer=true", changed("trainer", zero=zero)
    ranks = trainer.devices * trainer.num_nodes if isinstance(trainer.devices, int) else 1
    for size in (2, 4, 8):
        fitting = shape is not None and heads_problem(shape, size) is None and ranks % size == 0
        if trainer.strategy == "deepspeed" and packed and size > trainer.sequence_parallel and fitting:
            yield f"trainer.sequence_parallel={size}", changed("trainer", sequence_parallel=size)
    if settings.model.tune == "full":
        yield "model.tune=lora", changed("model", tune="lora")
