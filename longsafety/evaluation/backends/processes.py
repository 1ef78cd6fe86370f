"""Evaluates in several processes, one a GPU: each has a share of the trials and a journal of its own."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from longsafety.errors import ConfigError, LongSafetyError
from longsafety.evaluation.asking.answer import Answer
from longsafety.evaluation.asking.ask import journaled_answers
from longsafety.evaluation.asking.backend import Answered, Backend
from longsafety.evaluation.asking.journal import JOURNAL, PROCESS, Key, parse_lines
from longsafety.evaluation.asking.trials import Trial, item_tokens, trials_of
from longsafety.evaluation.asking.truncation import FittedItems
from longsafety.model.device import device_name
from longsafety.samples.encode import ChatEncoder
from longsafety.settings import Evaluation

_SHARE, _FACTS, _LOG = "share.json", "facts.json", "log.txt"
_POLL_SECONDS = 0.1
_WORKER = (sys.executable, "-m", "longsafety.pipeline.worker", "ask")


@dataclass(frozen=True)
class Share:
    """The trials that one process answers, by key and batch, and the processor threads that it may use."""

    threads: int
    batches: list[list[Key]]

    @classmethod
    def load(cls, folder: Path) -> Share:
        found = json.loads((folder / _SHARE).read_text("utf-8"))
        return cls(found["threads"], [[tuple(key) for key in batch] for batch in found["batches"]])

    def save(self, folder: Path) -> None:
        (folder / _SHARE).write_text(json.dumps(asdict(self), ensure_ascii=False), "utf-8")


def answer_share(
    share: Share,
    items: FittedItems,
    backend: Backend,
    encoder: ChatEncoder,
    evaluation: Evaluation,
    *,
    max_tokens: int,
    folder: Path,
) -> None:
    """The work of one such process: answers ``share`` into the journal in ``folder``, and its facts beside it."""
    known = {trial.key: trial for item in items.items for trial in trials_of(item, evaluation)}
    batches = ([known[key] for key in batch] for batch in share.batches)
    for _ in journaled_answers(
        batches, backend, encoder, evaluation, max_tokens=max_tokens, journal=folder / JOURNAL, cuts=items.cuts
    ):
        pass
    (folder / _FACTS).write_text(json.dumps(backend.facts()), "utf-8")


class Processes:
    """A backend that starts ``python -m longsafety.pipeline.worker ask RUN FOLDER PID`` for each share.

    Each gets a folder inside ``folder``; ``run`` is the run's folder. ``devices`` has one entry a process: the value
    of its CUDA_VISIBLE_DEVICES, or ``None`` on the CPU. The processes divide ``threads``. When one fails, the others
    are ended, and its error is the one that is reported.
    """

    def __init__(
        self,
        run: Path,
        folder: Path,
        devices: Sequence[str | None],
        *,
        threads: int,
        precision: str,
        accelerator: str = "auto",
    ) -> None:
        self.run, self.folder, self.devices = run, folder, devices
        self.precision, self.accelerator = precision, accelerator
        self.threads = max(1, threads // len(devices))
        self.prefilled_tokens = self.reused_tokens = 0
        self.attention: set[str] = set()

    def answers(
        self, batches: Iterable[Sequence[Trial]], encoder: ChatEncoder, evaluation: Evaluation
    ) -> Iterator[list[Answered]]:
        """Yields each answer as soon as it stands in its process's journal."""
        every = list(batches)
        known = {trial.key: trial for batch in every for trial in batch}
        _free_memory()
        started: list[_Process] = []
        try:
            for number, share in enumerate(shares(every, len(self.devices))):
                started.append(_Process(self, number, share))
            running = list(started)
            while running:
                time.sleep(_POLL_SECONDS)
                ended = [process for process in running if process.ended]  # before its journal is read to the end
                for row in (row for process in running for row in process.new_rows()):
                    yield [(known[row["item_id"], row["scorer"], row["order_index"]], _answer(row))]
                for process in ended:
                    self._finish(process)
                    running.remove(process)
        finally:
            for process in started:
                process.popen.kill()
                process.popen.wait()
        for text in dict.fromkeys((process.folder / _LOG).read_text("utf-8", "replace") for process in started):
            sys.stderr.write(text)
        for process in started:
            shutil.rmtree(process.folder)

    def facts(self) -> dict[str, int | str]:
        return {
            "prefilled_tokens": self.prefilled_tokens,
            "reused_tokens": self.reused_tokens,
            "processes": len(self.devices),
            "precision": self.precision,
            "device": device_name(self.accelerator),
            "attention": "; ".join(sorted(self.attention)),
        }

    def _finish(self, process: _Process) -> None:
        """Adds the token counts of a process that ended; raises where it failed, after its own messages."""
        code = process.popen.returncode
        if not code:
            facts = json.loads((process.folder / _FACTS).read_text("utf-8"))
            self.prefilled_tokens += facts["prefilled_tokens"]
            self.reused_tokens += facts["reused_tokens"]
            self.attention |= {facts.get("attention", "")} - {""}
            return
        log = (process.folder / _LOG).read_text("utf-8", "replace")
        sys.stderr.write(log)
        if code > 0 and log:
            raise SystemExit(code)
        raise LongSafetyError(
            f"evaluation.processes = {len(self.devices)}: {process.folder.name} ended with status {code}"
            f"{' (killed, perhaps because memory ran out)' if code == -9 else ''}; all answers so far are kept: give "
            "the same command again, or fewer processes"
        )


class _Process:
    """One of the processes, which the constructor starts."""

    def __init__(self, group: Processes, number: int, share: Sequence[Sequence[Trial]]) -> None:
        self.folder = group.folder / f"{PROCESS}{number}"
        self.folder.mkdir()
        Share(group.threads, [[trial.key for trial in batch] for batch in share]).save(self.folder)
        device = group.devices[number]
        environment = {**os.environ, **({} if device is None else {"CUDA_VISIBLE_DEVICES": device})}
        command = [*_WORKER, str(group.run), str(self.folder), str(os.getpid())]
        with (self.folder / _LOG).open("wb") as log:
            self.popen = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._read = 0

    @property
    def ended(self) -> bool:
        return self.popen.poll() is not None

    def new_rows(self) -> Iterator[dict[str, Any]]:
        """Complete journal lines not read yet."""
        journal = self.folder / JOURNAL
        if not journal.exists():
            return
        with journal.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        yield from parse_lines(whole.decode("utf-8"))


def _answer(row: dict[str, Any]) -> Answer:
    answer: Answer = {
        "scores": row["scores"],
        "wording_scores": row["wording_scores"],
        "margin": row["margin"],
        "reply": row["reply"],
        "chosen": row["chosen"],
        "status": row["status"],
    }
    if "thoughts" in row:
        answer |= {"thoughts": row["thoughts"], "thought_tokens": row["thought_tokens"]}
    if "reason" in row:
        answer["reason"] = row["reason"]
    return answer


def shares(batches: Sequence[Sequence[Trial]], count: int) -> list[list[Sequence[Trial]]]:
    """At most ``count`` shares of the batches: the longest first, each to the share with the fewest tokens so far."""
    found: list[list[Sequence[Trial]]] = [[] for _ in range(min(count, len(batches)))]
    loads = [0] * len(found)
    for batch in sorted(batches, key=item_tokens, reverse=True):
        least = loads.index(min(loads))
        found[least].append(batch)
        loads[least] += item_tokens(batch)
    return found


def devices(evaluation: Evaluation, accelerator: str) -> list[str | None]:
    """Each process's CUDA_VISIBLE_DEVICES; ``None`` on the CPU, and for a backend that uses all GPUs by itself. Raises
    ``ConfigError`` for more than there are."""
    wanted = evaluation.processes
    if evaluation.backend != "transformers":
        return [None]
    if accelerator == "cpu" or not torch.cuda.is_available():
        return [None] * (1 if wanted == "auto" else wanted)
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    found = [name.strip() for name in visible.split(",")][:count]
    if wanted == "auto":
        return [*found]
    if wanted > count:
        raise ConfigError([f"evaluation.processes = {wanted}: each has a GPU, and {count} are visible; give auto"])
    return [*found[:wanted]]


def _free_memory() -> None:
    """Frees what a training in this process has left on the first GPU."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA was not used
