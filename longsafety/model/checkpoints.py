"""Checkpoints of a training: written whole or not at all, on a schedule and on a signal; which one to resume from."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from longsafety.errors import DataError, first_line
from longsafety.host import interrupts
from longsafety.model.finite import check_finite
from longsafety.model.source import identity
from longsafety.ranks import first_rank
from longsafety.settings import Model, Settings

FOLDER = "checkpoints"
_KEPT = 2
_NAME = re.compile(r"step-(\d{8,})\.ckpt", re.ASCII)
"""Any other name is a copy that somebody has put aside."""


class Found(NamedTuple):
    """A checkpoint (a file, or DeepSpeed's folder) and its optimiser step."""

    path: Path
    step: int


class Checkpoints(L.Callback):
    """Writes a checkpoint every ``every_steps`` optimiser steps and keeps the last two.

    After a signal (:mod:`longsafety.host.interrupts`; Slurm sends SIGUSR1 before a time limit) it writes one at the
    end of the step and stops the training; ``stopped`` then holds the signal's number. Weights that are not finite
    raise DataError.
    """

    def __init__(self, folder: Path, every_steps: int, start_step: int) -> None:
        self.folder, self.every_steps, self.step = folder, every_steps, start_step
        self.stopped: int | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        interrupts.listen()  # Lightning has put handlers of its own in place, which broadcast in the middle of a step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        # A signal reaches the ranks at different moments: all stop at the step in which one has received it.
        stops = trainer.strategy.reduce_boolean_decision(interrupts.received() is not None, all=False)
        if stops or self.step % self.every_steps == 0:
            check_finite(trainer, pl_module, self.step)
            self._write(trainer)
        if stops:
            self.stopped = interrupts.received() or int(signal.SIGTERM)
            trainer.should_stop = True

    def _write(self, trainer: Any) -> None:
        final = self.folder / f"step-{self.step:08d}.ckpt"
        partial = final.with_suffix(".partial")
        try:
            trainer.save_checkpoint(partial)
        except BaseException:
            remove(partial)  # on a full disk its room is wanted
            raise
        if trainer.is_global_zero:
            remove(final)
            partial.rename(final)
            for old in written(self.folder)[_KEPT:]:
                remove(old.path)
        trainer.strategy.barrier()


class LoadedOnProcessor(TorchCheckpointIO):
    """Lightning's checkpoint reader for states that are tensor subclasses: torch then needs a device name."""

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        device: Any = "cpu"
        return super().load_checkpoint(path, map_location=device, weights_only=weights_only)


def requeue() -> None:
    """Requeues the job where Slurm runs it; says why where Slurm does not.

    One job of an array has the whole array's number, by which all of its jobs would be requeued.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if {"SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"} <= os.environ.keys():
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        asked = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        problem = asked.stderr.strip() or f"status {asked.returncode}" if asked.returncode else ""
    except OSError as error:
        problem = str(error)
    if problem:
        print(
            f"longsafety: scontrol requeue {job}: {problem}; the job is not requeued, submit it again and it goes on",
            file=sys.stderr,
        )


def described(settings: Settings) -> dict[str, Any]:
    """The model that a checkpoint belongs to; a training does not resume from another model's.

    ``source`` is for the reader: a folder may be moved, and ``identity`` follows its content.
    """
    model = settings.model
    said: dict[str, Any] = {"source": model.source, "tune": model.tune, "window": model.window}
    said["identity"] = _identity(model.model_dump_json(), settings.paths.cache)
    if model.tune == "lora":
        said["lora"] = model.lora.model_dump()
    if settings.length.rope.kind != "none":
        said["rope"] = settings.length.rope.model_dump()
    return said


@functools.lru_cache(maxsize=1)
def _identity(model: str, cache: str) -> str:
    """Of the model as the training began: its files may be gone, or the hub away, when a checkpoint is written."""
    return identity(Model.model_validate_json(model), Path(cache))


def _same(kept: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Whether two models as :func:`described` are one; older checkpoints know the source only."""
    unasked = "source" if "identity" in kept else "identity"
    return {**kept, unasked: None} == {**mine, unasked: None}


def newest(folder: Path, settings: Settings) -> Found | None:
    """The newest readable checkpoint; an unreadable one is reported on stderr, and the one before it is used.

    Raises DataError if there are checkpoints and none can be read, or if it belongs to another model.
    """
    _identity.cache_clear()
    mine = described(settings)
    for left in folder.glob("step-*.partial") if first_rank() else ():
        remove(left)
    problems: list[str] = []
    for path, _ in written(folder):
        try:
            kept = _read(path)
            step, model = int(kept["global_step"]), dict(kept["longsafety"])
        except Exception as error:  # a damaged file raises nearly anything
            problems.append(f"{path}: cannot be read ({first_line(error)})")
            continue
        if not _same(model, mine):
            raise DataError(
                f"{path}: a checkpoint of another model ({model}; this is {mine}); delete it, and the "
                "training begins afresh"
            )
        for problem in problems:
            print(f"longsafety: {problem}; going on from the one before, step {step}", file=sys.stderr)
        return Found(path, step)
    if problems:
        raise DataError(f"{problems[0]}; delete {folder}, and the training begins afresh")
    return None


def written(folder: Path) -> list[Found]:
    """The checkpoints in a folder, readable or not, the newest first."""
    named = ((path, _NAME.fullmatch(path.name)) for path in folder.glob("step-*.ckpt"))
    return sorted((Found(path, int(name[1])) for path, name in named if name), key=lambda one: one.step, reverse=True)


def _read(path: Path) -> dict[str, Any]:
    """What a checkpoint holds; it may hold tensors and plain values, and no code that runs when it is loaded.

    Of DeepSpeed's folder: the states of the first rank, and every other file is at least read. DeepSpeed itself reads
    it again afterwards, and without this check.
    """
    if path.is_dir():
        parts = sorted((path / "checkpoint").glob("*.pt"))
        if not parts:
            raise FileNotFoundError("no states in it")
        with torch.serialization.safe_globals(_of_deepspeed()):
            loaded = {part.name: _states(part) for part in parts}
        return next(states for name, states in loaded.items() if "model_states" in name)
    return _states(path)


def _states(file: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(file):
        raise OSError("it is empty" if file.stat().st_size == 0 else "it is cut off")
    content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return content


def _of_deepspeed() -> list[Any]:
    """The classes whose objects stand in DeepSpeed's states."""
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address]


def remove(path: Path) -> None:
    """Deletes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
