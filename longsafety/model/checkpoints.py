"""Checkpoints of a training: written whole or not at all, the last two kept, one on a signal; where to go on from."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from longsafety.errors import DataError, first_line
from longsafety.settings import Settings

FOLDER = "checkpoints"
_KEPT = 2
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Found(NamedTuple):
    """A readable checkpoint (a file, or DeepSpeed's folder) and its optimiser step."""

    path: Path
    step: int


class Checkpoints(L.Callback):
    """Writes a checkpoint every ``every_steps`` optimiser steps and keeps the last two.

    SIGTERM and SIGUSR1 (what Slurm sends before a job's time is over) make it write one at the end of the step and
    stop the training: ``stopped`` is the signal's number then.
    """

    def __init__(self, folder: Path, every_steps: int, start_step: int) -> None:
        self.folder, self.every_steps, self.step = folder, every_steps, start_step
        self.stopped: int | None = None
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def _note(self, number: int, _: Any) -> None:
        self._received = number

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        # A signal reaches the ranks at different moments: all stop at the step where one has it.
        stops = trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)
        if stops or self.step % self.every_steps == 0:
            self._write(trainer)
        if stops:
            self.stopped = self._received or int(signal.SIGTERM)
            trainer.should_stop = True

    def _write(self, trainer: Any) -> None:
        final = self.folder / f"step-{self.step:08d}.ckpt"
        partial = final.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            remove(final)
            partial.rename(final)
            for old in _written(self.folder)[_KEPT:]:
                remove(old)
        trainer.strategy.barrier()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._restore()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class LoadedOnProcessor(TorchCheckpointIO):
    """Lightning's, for states that are tensors of a kind of their own: torch then wants a device's name."""

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        device: Any = "cpu"
        return super().load_checkpoint(path, map_location=device, weights_only=weights_only)


def requeue() -> None:
    """Asks Slurm, where it runs this, to give the job another turn."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is not None:
        subprocess.run(["scontrol", "requeue", job], check=True)


def described(settings: Settings) -> dict[str, Any]:
    """What a checkpoint is of; one of another model is not gone on from."""
    model = settings.model
    said: dict[str, Any] = {"source": model.source, "tune": model.tune, "window": model.window}
    if model.tune == "lora":
        said["lora"] = model.lora.model_dump()
    if settings.length.rope.kind != "none":
        said["rope"] = settings.length.rope.model_dump()
    return said


def newest(folder: Path, settings: Settings) -> Found | None:
    """The newest readable checkpoint; an unreadable one is named on stderr and the one before it taken.

    Raises DataError if there are some and none can be read, or if it is of another model.
    """
    written, problems = _written(folder), []
    for path in written:
        try:
            kept = _read(path)
            step, model = int(kept["global_step"]), kept["longsafety"]
        except Exception as error:  # a damaged file raises nearly anything
            problems.append(f"{path}: cannot be read ({first_line(error)})")
            continue
        if model != described(settings):
            raise DataError(
                f"{path}: a checkpoint of another model ({model}; this is {described(settings)}); delete it, and the "
                "training begins afresh"
            )
        for problem in problems:
            print(f"longsafety: {problem}; going on from the one before, step {step}", file=sys.stderr)
        return Found(path, step)
    if problems:
        raise DataError(f"{problems[0]}; delete {folder}, and the training begins afresh")
    return None


def _written(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder.glob("step-*.ckpt"), reverse=True)


def _read(path: Path) -> dict[str, Any]:
    """Of DeepSpeed's folder: the states of the first rank, and every other file is at least read."""
    if path.is_dir():
        parts = sorted((path / "checkpoint").glob("*.pt"))
        if not parts:
            raise FileNotFoundError("no states in it")
        loaded = {part.name: torch.load(part, map_location="cpu", weights_only=False, mmap=True) for part in parts}
        return next(states for name, states in loaded.items() if "model_states" in name)
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    return content


def remove(path: Path) -> None:
    """Deletes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
