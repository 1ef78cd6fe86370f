"""Checks of batches, attention, strategies and the safety curve."""

from __future__ import annotations

from collections.abc import Iterator

from longsafety.model.sequence import heads_problem
from longsafety.model.shape import shape_of
from longsafety.settings import Settings


def _padded(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Padded batches divide a step's samples evenly; packs need not."""
    training, trainer = settings.training, settings.trainer
    if training.batch_size % training.micro_batch_size:
        yield (
            ("training.batch_size", "training.micro_batch_size"),
            f"training.batch_size = {training.batch_size}: not a multiple of training.micro_batch_size "
            f"{training.micro_batch_size}; change one of them",
        )
    elif isinstance(trainer.devices, int):
        step = training.micro_batch_size * trainer.devices * trainer.num_nodes
        if training.batch_size % step:
            yield (
                ("training.batch_size", "training.micro_batch_size", "trainer.devices", "trainer.num_nodes"),
                f"training.batch_size = {training.batch_size}: not a multiple of micro_batch_size × devices × nodes "
                f"= {step}; change one of them",
            )


def _sequence_parallel(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    trainer, key = settings.trainer, "trainer.sequence_parallel"
    size, head = trainer.sequence_parallel, f"trainer.sequence_parallel = {trainer.sequence_parallel}"
    if size == 1:
        return
    if trainer.strategy != "deepspeed":
        yield (
            (key, "trainer.strategy"),
            f"{head}: needs DeepSpeed, and trainer.strategy = {trainer.strategy}; set trainer=deepspeed_zero3",
        )
    elif not isinstance(trainer.devices, int) or trainer.devices * trainer.num_nodes % size:
        yield (
            (key, "trainer.devices", "trainer.num_nodes"),
            f"{head}: does not divide trainer.devices × trainer.num_nodes = {trainer.devices} × {trainer.num_nodes}; "
            "change one of them",
        )
    if settings.training.packing != "packed":
        yield (
            (key, "training.packing"),
            f"{head}: splits packs, and training.packing = {settings.training.packing}; set training.packing=packed",
        )
    if settings.model.attention == "flash_attention_2":
        yield (
            (key, "model.attention"),
            f"{head}: does not work with model.attention = flash_attention_2; set model.attention=auto",
        )
    shape = shape_of(settings.model)
    if problem := shape and heads_problem(shape, size):
        yield ((key, "model.source"), f"{head}: {problem}; give a divisor of both, or 1")


def training_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Problems of ``training``, ``trainer`` and the model's attention: the keys of the rule, and the line."""
    training, trainer = settings.training, settings.trainer
    if training.packing != "packed":
        yield from _padded(settings)
    elif settings.model.attention == "eager":
        yield (
            ("training.packing", "model.attention"),
            "training.packing = packed: model.attention = eager would need a mask of tokens × tokens; set "
            "model.attention=auto, or training.packing=none",
        )
    elif settings.model.attention == "flash_attention_2" and training.share_prefixes:
        yield (
            ("training.share_prefixes", "model.attention"),
            "training.share_prefixes = true: flash_attention_2 does not support shared prefixes; set "
            "model.attention=auto, or training.share_prefixes=false",
        )
    attention = settings.model.attention
    if attention in ("varlen", "flex") and training.packing != "packed":
        yield (
            ("training.packing", "model.attention"),
            f"model.attention = {attention}: needs packs, and training.packing = {training.packing}; set "
            "model.attention=auto",
        )
    if attention in ("varlen", "flex", "flash_attention_2") and trainer.accelerator == "cpu":
        yield (
            ("model.attention", "trainer.accelerator"),
            f"model.attention = {attention}: needs a GPU; set model.attention=auto",
        )
    if training.optimizer == "adamw_8bit" and trainer.strategy == "deepspeed":
        yield (
            ("training.optimizer", "trainer.strategy"),
            "training.optimizer = adamw_8bit: DeepSpeed keeps and shards float32 weights and states of its own; "
            "set training.optimizer=adamw, or trainer.strategy=auto",
        )
    if settings.model.mlp_tile_tokens and trainer.strategy == "deepspeed" and trainer.zero.stage == 3:
        yield (
            ("model.mlp_tile_tokens", "trainer.strategy", "trainer.zero"),
            f"model.mlp_tile_tokens = {settings.model.mlp_tile_tokens}: has not been tried with ZeRO-3, which would "
            "gather the weights for each tile; set it to null, or trainer.zero.stage=2",
        )
    if attention == "flex" and settings.model.gradient_checkpointing == "selective":
        yield (
            ("model.attention", "model.gradient_checkpointing"),
            "model.gradient_checkpointing = selective: cannot keep the output of FlexAttention; set "
            "model.gradient_checkpointing=full, or model.attention=auto",
        )
    yield from _sequence_parallel(settings)
    if training.keep == "best" and training.curve_every_steps is None:
        yield (
            ("training.keep", "training.curve_every_steps"),
            "training.keep = best: needs the safety curve; set training.curve_every_steps",
        )
    if training.curve_every_steps is not None and trainer.sequence_parallel > 1:
        yield (
            ("training.curve_every_steps", "trainer.sequence_parallel"),
            f"training.curve_every_steps = {training.curve_every_steps}: devices that share a pack "
            f"(trainer.sequence_parallel = {trainer.sequence_parallel}) cannot evaluate; set it to null",
        )
