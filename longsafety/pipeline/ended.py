"""How a worker ended, in the words of the launcher: what stopped it, what is kept, and where it goes on."""

from __future__ import annotations

import re
import signal

from longsafety.pipeline.run import Run

INTERRUPTED = 130
"""The status of a worker that a signal has stopped."""
_CHECKPOINT = re.compile(r"step-(\d{8,})\.ckpt", re.ASCII)
"""Any other name is a copy that somebody has put aside (``model.checkpoints``, which needs torch)."""
_FREED = (
    "lower training.micro_batch_size or training.pack_tokens, set model.gradient_checkpointing=full, or take a shorter "
    "length; stages=[plan] estimates the memory"
)


def exit_status(code: int, stopped: int | None) -> int:
    """The command's status for a worker's: 128 and the signal's number where one has ended it."""
    if stopped is not None:
        return 128 + stopped
    return 128 - code if code < 0 else code


def told(code: int, stopped: int | None, where: str, run: Run | None = None) -> str:
    """Why there is no result. ``where``: ``run 2 of 6 (base)``; ``run``: whose worker ended with status ``code``."""
    if stopped is None and code < -1 and -code in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        stopped = -code
    if stopped is not None or code == INTERRUPTED:
        by = f" by {_signal(stopped)}" if stopped is not None else ""
        return f"stopped{by} in {where}; {goes_on(run)}"
    if code == -signal.SIGKILL:
        killed = f"{where} was killed (SIGKILL), most likely by the kernel because memory ran out"
        return f"{killed}: {_FREED}. {_sentence(run)}"
    if code < 0:
        return f"{where} was ended by {_signal(-code)}, in a library and not by this program; {goes_on(run)}"
    return f"{where} failed; {goes_on(run)}"


def _signal(number: int) -> str:
    """Its name; those of real time have numbers only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _sentence(run: Run | None) -> str:
    text = goes_on(run)
    return text[0].upper() + text[1:]


def goes_on(run: Run | None) -> str:
    """What the same command does next: of a training that was begun, from which step."""
    begun = run.store.partial("weights", run.addresses.weights) if run is not None and run.addresses.weights else None
    if run is None or begun is None or not (begun / "history.jsonl").exists():
        return "what is complete is kept, and the same command goes on from there"
    named = (_CHECKPOINT.fullmatch(path.name) for path in begun.glob("checkpoints/*"))
    steps = sorted(int(name[1]) for name in named if name)
    if steps:
        return f"the same command goes on with the training after step {steps[-1]}"
    every = run.settings.training.checkpoint_every_steps
    return (
        f"the same command begins the training anew, because no checkpoint was written yet "
        f"(training.checkpoint_every_steps = {every})"
    )
