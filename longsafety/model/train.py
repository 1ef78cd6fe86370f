"""Trains one arm: token rows, Lightning's Trainer, resume from checkpoints, and the weights that evaluation loads."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import lightning as L

from longsafety.data.fit import Fitted
from longsafety.data.module import MixModule
from longsafety.data.schedule import Schedule
from longsafety.data.tokens import TokenRows
from longsafety.errors import DataError
from longsafety.host import interrupts
from longsafety.model.checkpoints import FOLDER as CHECKPOINTS
from longsafety.model.checkpoints import Checkpoints, LoadedOnProcessor, newest, requeue
from longsafety.model.device import chosen_precision, training_memory, unfilled_memory, use_threads
from longsafety.model.history import History, Progress, TrainingCurve
from longsafety.model.load import base_folder
from longsafety.model.module import CausalTuner
from longsafety.model.sequence import whole_sequences_again
from longsafety.model.strategy import Saving, num_parameters, ranks, strategy
from longsafety.model.tiny import BASE_SEED
from longsafety.model.trained import HISTORY, SUMMARY, WEIGHTS, read_rows
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.settings import OPTION_ROOM_TOKENS, Settings

ROWS, FITTED = "rows", "rows.json"
_SHORT_PACK = 2048
"""Tokens of the longest pack whose memory is reused from pack to pack."""


def encode(samples: Sequence[Sample], encoder: ChatEncoder, settings: Settings, folder: Path) -> dict[str, list[int]]:
    """Writes the token rows that :func:`train` reads from the folder; complete ones of an earlier attempt are kept.

    Returns the indices of the over-long samples, by ``dropped`` and ``trimmed``. Raises DataError if no sample is left.
    """
    fitted_path = folder / FITTED
    if not prepared(folder):
        longest = settings.length.training_tokens + OPTION_ROOM_TOKENS  # benign twins may exceed their item's length
        fitted = Fitted(samples, encoder, settings.training, longest)
        if not len(TokenRows.write(folder / ROWS, fitted, encoder)):
            raise DataError(f"training.over_length = drop: none of {len(samples)} samples has at most {longest} tokens")
        fitted_path.write_text(json.dumps(fitted.lost), "utf-8")
    lost: dict[str, list[int]] = json.loads(fitted_path.read_text("utf-8"))
    return lost


def prepared(folder: Path) -> bool:
    """Whether :func:`encode` has finished."""
    return (folder / FITTED).exists()


def train(
    settings: Settings, folder: Path, *, pad_id: int, curve: TrainingCurve | None = None, start: Path | None = None
) -> dict[str, int | float | str]:
    """Trains on the token rows in ``folder``; resumes from its last checkpoint if there is one.

    ``start``: trained weights or adapters to begin with instead of the base model's.
    The first rank writes ``weights/`` and returns the summary; the other ranks return an empty one.
    """
    training, trainer_settings = settings.training, settings.trainer
    use_threads(trainer_settings.num_threads)
    precision, device = chosen_precision(trainer_settings.precision, trainer_settings.accelerator, trains=True)
    L.seed_everything(settings.training_seed, workers=True, verbose=False)
    sharing = trainer_settings.sequence_parallel
    count = ranks(trainer_settings) // sharing
    rows = TokenRows(folder / ROWS)
    chats = [rows[index].ids for index in range(len(rows))]
    answers = rows.num_answers.tolist()
    schedule = Schedule.plan(
        chats, answers, training, ranks=count, seed=settings.training_seed, longest=settings.length.training_tokens
    )
    found = newest(folder / CHECKPOINTS, settings)
    done = found.step if found else 0
    module = CausalTuner(settings, num_steps=len(schedule.steps), start=start)
    data = MixModule(rows, schedule, training, pad_id=pad_id, start_step=done, sharing=sharing)
    history = History(folder / HISTORY, done)
    checkpoints = Checkpoints(folder / CHECKPOINTS, training.checkpoint_every_steps, done)
    if curve is not None:
        curve.begin(folder, done, len(schedule.steps), history)
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
        attention = f"attention {module.attention} ({module.choice.reason})"
        print(f"  {schedule.summary}\n  {precision} on {device}, {attention}{shared}", flush=True)
    base_folder(settings.model, Path(settings.paths.cache), seed=BASE_SEED, rope=settings.length.rope)
    pack_tokens = schedule.pack_tokens or training.micro_batch_size * settings.length.training_tokens
    reuse = pack_tokens <= _SHORT_PACK and settings.model.gradient_checkpointing == "none"
    with interrupts.held(), whole_sequences_again(), unfilled_memory(), training_memory(reuse=reuse):
        trainer.fit(module, data, ckpt_path=found.path if found else None, weights_only=True)
    if checkpoints.stopped is not None and history.step < len(schedule.steps):
        if checkpoints.stopped == signal.SIGUSR1 and trainer.is_global_zero:
            requeue()
        interrupts.raise_received()  # a signal in the last step interrupts what follows the training
        raise KeyboardInterrupt
    if history.step != len(schedule.steps):
        raise DataError(
            f"training: it ended after step {history.step} of {len(schedule.steps)}, and nobody stopped it; give the "
            "same command again, without variables that cut a training short"
        )
    if not trainer.is_global_zero:
        return {}
    parameters, trained = num_parameters(module.network)
    rows_written = read_rows(folder / HISTORY)
    summary: dict[str, int | float | str] = {
        "steps": len(schedule.steps),
        "samples": len(rows) * training.epochs,
        "tokens": schedule.num_tokens,
        "computed_tokens": schedule.num_computed,
        "supervised_tokens": sum(answers) * training.epochs,
        "seconds": rows_written[-1]["seconds"],
        "tokens_per_second": rows_written[-1]["tokens"] / max(rows_written[-1]["seconds"], 1e-9),
        "final_loss": rows_written[-1]["loss"],
        "precision": precision,
        "attention": module.attention,
        "attention_reason": module.choice.reason,
        "device": device,
        "parameters": parameters,
        "trainable_parameters": trained,
    }
    if training.keep == "best" and curve is not None:
        summary["kept_step"] = curve.keep_best(folder / WEIGHTS)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1), "utf-8")
    for name in (CHECKPOINTS, ROWS):
        shutil.rmtree(folder / name, ignore_errors=True)
    return summary
