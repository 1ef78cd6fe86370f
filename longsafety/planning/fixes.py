"""Overrides that make a training fit into memory, the smallest change first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from longsafety.data.schedule import pack_budget
from longsafety.model.sequence import heads_problem
from longsafety.model.shape import shape_of
from longsafety.planning.memory import on_cpu
from longsafety.planning.sharing import twins_share
from longsafety.settings import Settings

Change = Callable[[Settings], Settings]

_EIGHT_BIT, _TILE = "training.optimizer=adamw_8bit", 8192


def smallest_fix(settings: Settings, fits: Callable[[Settings], bool]) -> str | None:
    """One override that makes the training fit, else as many as it takes, in order; ``None`` if all together do not."""
    for name, change in _changes(settings):
        if fits(change(settings)):
            return name
    changed, names = settings, list[str]()
    for name, change in _changes(settings):
        changed = change(changed)
        if name.startswith("trainer=deepspeed"):  # excludes these two
            names = [kept for kept in names if not kept.startswith((_EIGHT_BIT, "model.mlp_tile_tokens"))]
        names.append(name)
        if fits(changed):
            return " ".join(names)
    return None


def _eight_bit(settings: Settings) -> Settings:
    training = settings.training.model_copy(update={"optimizer": "adamw_8bit"})
    trainer = settings.trainer.model_copy(update={"precision": "bf16-true"})
    return settings.model_copy(update={"training": training, "trainer": trainer})


def _changes(settings: Settings) -> Iterator[tuple[str, Change]]:
    """Overrides from the smallest change to the largest, each with the function that applies it."""

    def changed(section: str, **values: Any) -> Change:
        return lambda whole: whole.model_copy(update={section: getattr(whole, section).model_copy(update=values)})

    trainer, length = settings.trainer, settings.length.training_tokens
    packed, shape = settings.training.packing == "packed", shape_of(settings.model)
    if packed and pack_budget(settings.training, length, shares=twins_share(settings) > 0) > length:
        yield f"training.pack_tokens={length}", changed("training", pack_tokens=length)
    elif not packed and settings.training.micro_batch_size > 1:
        yield "training.micro_batch_size=1", changed("training", micro_batch_size=1)
    if settings.model.gradient_checkpointing != "full":
        yield "model.gradient_checkpointing=full", changed("model", gradient_checkpointing="full")
    tile = settings.model.mlp_tile_tokens
    if tile is None and length > _TILE and trainer.strategy != "deepspeed" and not on_cpu(settings):
        yield f"model.mlp_tile_tokens={_TILE}", changed("model", mlp_tile_tokens=_TILE)
    full, alone = settings.model.tune == "full", trainer.strategy != "deepspeed" and not on_cpu(settings)
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
