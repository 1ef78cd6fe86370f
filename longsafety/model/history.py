"""What a training reports while it runs: a line per optimiser step, a progress bar, and a curve of scores."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar

from longsafety.model.finite import check_loss
from longsafety.model.trained import read_rows
from longsafety.ranks import first_rank


class History(L.Callback):
    """Appends a line per optimiser step to ``history.jsonl``; on resume it drops the lines after the checkpoint."""

    def __init__(self, path: Path, start_step: int) -> None:
        self.path = path
        rows = [row for row in read_rows(path) if row["step"] <= start_step]
        if first_rank():
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        self.seconds, self.tokens = (rows[-1]["seconds"], rows[-1]["tokens"]) if rows else (0.0, 0.0)
        self.last_loss = rows[-1]["loss"] if rows else float("nan")
        self.loss, self.lr, self.step = 0.0, 0.0, start_step
        self.began = time.perf_counter()

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        self.lr = float(optimizer.param_groups[0]["lr"])  # after the step it is the next one's

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        # Lightning has divided by the accumulated batches; on several ranks this is the rank's estimate of the mean.
        self.loss += float(outputs["loss"].detach())
        self.tokens += float(batch["num_tokens"])
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        now = time.perf_counter()
        self.seconds, self.began = self.seconds + now - self.began, now
        row = {
            "step": self.step,
            "loss": float(trainer.strategy.reduce(torch.tensor(self.loss, device=module.device), reduce_op="mean")),
            "lr": self.lr,
            "seconds": self.seconds,
            "tokens": self.tokens,
        }
        self.last_loss, self.loss = row["loss"], 0.0
        check_loss(row["loss"], self.step, module.settings.training.lr_peak)
        if trainer.is_global_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


class Progress(RichProgressBar):
    """Lightning's progress bar with the loss and the tokens per second."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history

    def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, int | str | float | dict[str, float]]:
        seconds = self.history.seconds + time.perf_counter() - self.history.began
        rate = self.history.tokens / seconds if self.history.tokens else 0.0
        return {"step": self.history.step, "loss": f"{self.history.last_loss:.2f}", "tokens/s": f"{rate:.0f}"}


class TrainingCurve(L.Callback, ABC):
    """Evaluates the network every so many steps; :mod:`longsafety.evaluation.curve` has one."""

    @abstractmethod
    def begin(self, folder: Path, start_step: int, num_steps: int, history: History) -> None:
        """Is called once, before training; ``history``'s clock must not run while the network is evaluated."""

    @abstractmethod
    def keep_best(self, weights: Path) -> int:
        """Replaces the last step's ``weights`` by the best evaluated step's, and returns that step."""
