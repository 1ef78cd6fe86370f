"""Trains one arm: Lightning's Trainer, checkpoints, resume, and the weights that evaluation loads."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar

from longsafety.data.fit import Fitted
from longsafety.data.module import MixModule
from longsafety.data.schedule import Schedule
from longsafety.data.tokens import TokenRows
from longsafety.errors import DataError
from longsafety.model.checkpoints import FOLDER as CHECKPOINTS
from longsafety.model.checkpoints import Checkpoints, LoadedOnProcessor, newest, requeue
from longsafety.model.device import chosen_precision, use_threads
from longsafety.model.kept import HISTORY, SUMMARY, WEIGHTS, read_rows
from longsafety.model.load import base_folder
from longsafety.model.module import CausalTuner
from longsafety.model.sequence import whole_sequences_again
from longsafety.model.strategy import Saving, num_parameters, ranks, strategy
from longsafety.ranks import first_rank
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.settings import OPTION_ROOM_TOKENS, Settings

ROWS, FITTED = "rows", "rows.json"


class History(L.Callback):
    """Appends a line an optimiser step to ``history.jsonl``; on resume, lines after the checkpoint are cut."""

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
        self.lr = float(optimizer.param_groups[0]["lr"])  # afterwards it is the next step's

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        # Lightning has divided it by the accumulated batches; on several ranks it is this rank's estimate of the mean.
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
        if trainer.is_global_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


class Progress(RichProgressBar):
    """Lightning's rich bar with the loss and the tokens a second; time left is its own."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history

    def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, int | str | float | dict[str, float]]:
        seconds = self.history.seconds + time.perf_counter() - self.history.began
        rate = self.history.tokens / seconds if self.history.tokens else 0.0
        return {"step": self.history.step, "loss": f"{self.history.last_loss:.2f}", "tokens/s": f"{rate:.0f}"}


def encode(samples: Sequence[Sample], encoder: ChatEncoder, settings: Settings, folder: Path) -> dict[str, list[int]]:
    """Writes the token rows that :func:`train` reads in the same folder (those of a killed attempt are taken over).

    Returns the numbers of the over-long samples that were ``dropped`` or ``trimmed``. Raises DataError where none is
    left.
    """
    told = folder / FITTED
    if not prepared(folder):
        longest = settings.length.training_tokens + OPTION_ROOM_TOKENS  # benign twins may exceed their item's length
        fitted = Fitted(samples, encoder, settings.training, longest)
        if not len(TokenRows.write(folder / ROWS, fitted, encoder)):
            raise DataError(f"training.over_length = drop: none of {len(samples)} samples has at most {longest} tokens")
        told.write_text(json.dumps(fitted.lost), "utf-8")
    lost: dict[str, list[int]] = json.loads(told.read_text("utf-8"))
    return lost


def prepared(folder: Path) -> bool:
    """Whether :func:`encode` has done its part."""
    return (folder / FITTED).exists()


def train(settings: Settings, folder: Path, *, pad_id: int, curve: Any = None) -> dict[str, Any]:
    """Trains on the token rows in ``folder``, from its last checkpoint on if there is one.

    The first rank writes ``weights/`` and the summary, which is returned there; the others only take part. ``curve``
    is the callback of :mod:`longsafety.evaluation.curve`, if one is drawn.
    """
    training, trainer_settings = settings.training, settings.trainer
    use_threads(trainer_settings.num_threads)
    precision, device = chosen_precision(trainer_settings.precision, trainer_settings.accelerator, trains=True)
    L.seed_everything(settings.seed, workers=True, verbose=False)
    sharing = trainer_settings.sequence_parallel
    count = ranks(trainer_settings) // sharing
    rows = TokenRows(folder / ROWS)
    chats = [rows[index].ids for index in range(len(rows))]
    answers = rows.num_answers.tolist()
    schedule = Schedule.plan(
        chats, answers, training, ranks=count, seed=settings.seed, longest=settings.length.training_tokens
    )
    found = newest(folder / CHECKPOINTS, settings)
    start = found.step if found else 0
    module = CausalTuner(settings, num_steps=len(schedule.steps))
    data = MixModule(rows, schedule, training, pad_id=pad_id, start_step=start, sharing=sharing)
    history = History(folder / HISTORY, start)
    checkpoints = Checkpoints(folder / CHECKPOINTS, training.checkpoint_every_steps, start)
    if curve is not None:
        curve.begin(folder, start, len(schedule.steps), history)
    trainer = L.Trainer(
        accelerator=trainer_settings.accelerator,
        devices=trainer_settings.devices,
        num_nodes=trainer_settings.num_nodes,
        strategy=strategy(trainer_settings),
        precision=precision,  # type: ignore[arg-type]
        max_epochs=1,
        accumulate_grad_batches=schedule.micro_batches,
        gradient_clip_val=training.clip_norm,
        callbacks=[
            history,
            Progress(history),
            *([curve] if curve is not None else []),
            checkpoints,
            Saving(folder / WEIGHTS, len(schedule.steps)),
        ],
        plugins=[LoadedOnProcessor()] if training.optimizer == "adamw_8bit" else None,
        enable_checkpointing=False,
        logger=False,
        use_distributed_sampler=False,
        deterministic="warn",
        enable_model_summary=False,
        default_root_dir=folder,
    )
    if trainer.is_global_zero:
        shared = f", each pack shared by {sharing} devices" if sharing > 1 else ""
        print(f"  {schedule.summary}\n  {precision} on {device}, attention {module.attention}{shared}", flush=True)
    base_folder(settings.model, Path(settings.paths.cache), seed=settings.seed, rope=settings.length.rope)
    with whole_sequences_again():
        trainer.fit(module, data, ckpt_path=found.path if found else None, weights_only=False)
    if checkpoints.stopped is not None and history.step < len(schedule.steps):
        if checkpoints.stopped == signal.SIGUSR1 and trainer.is_global_zero:
            requeue()
        raise KeyboardInterrupt
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not trainer.is_global_zero:
        return {}
    parameters, trained = num_parameters(module.network)
    told = read_rows(folder / HISTORY)
    summary = {
        "steps": len(schedule.steps),
        "samples": len(rows) * training.epochs,
        "tokens": schedule.num_tokens,
        "computed_tokens": schedule.num_computed,
        "supervised_tokens": sum(answers) * training.epochs,
        "seconds": told[-1]["seconds"],
        "tokens_per_second": told[-1]["tokens"] / max(told[-1]["seconds"], 1e-9),
        "final_loss": told[-1]["loss"],
        "precision": precision,
        "attention": module.attention,
        "device": device,
        "parameters": parameters,
        "trainable_parameters": trained,
    }
    if training.keep == "best":
        from longsafety.evaluation.curve import keep_best

        summary["kept_step"] = keep_best(folder, folder / WEIGHTS)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1), "utf-8")
    for name in (CHECKPOINTS, ROWS):
        shutil.rmtree(folder / name, ignore_errors=True)
    return summary
