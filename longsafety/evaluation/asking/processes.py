"""Asks from several processes, one a GPU: each has a share of the questions and a journal of its own."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from longsafety.errors import ConfigError, LongSafetyError
from longsafety.evaluation.asking.ask import Ask, batches, num_tokens
from longsafety.evaluation.asking.journal import JOURNAL, PROCESS, lines
from longsafety.samples.encode import ChatEncoder
from longsafety.settings import Evaluation

SHARE, TOLD, _LOG = "share.json", "told.json", "log.txt"
_POLL_SECONDS = 0.1
_WORKER = (sys.executable, "-m", "longsafety.pipeline.worker", "ask")


class Processes:
    """An ``Answerer``: ``python -m longsafety.pipeline.worker ask`` for each share, with folders in ``folder``.

    ``devices`` has an entry a process: what it finds in CUDA_VISIBLE_DEVICES, or None on the CPU. The processes share
    ``threads``. The first that fails ends the others and is the one that is told.
    """

    def __init__(self, run: Path, folder: Path, devices: Sequence[str | None], threads: int) -> None:
        self.run, self.folder, self.devices = run, folder, devices
        self.threads = max(1, threads // len(devices))
        self.prefilled_tokens = self.reused_tokens = 0

    def answers(
        self, asks: Sequence[Ask], encoder: ChatEncoder, evaluation: Evaluation
    ) -> Iterator[tuple[Ask, dict[str, Any]]]:
        """Each answer as soon as it stands in its process's journal."""
        known = {one.key: one for one in asks}
        _free_memory()
        started: list[_Process] = []
        try:
            for number, share in enumerate(shares(list(batches(asks, evaluation.batch_tokens)), len(self.devices))):
                started.append(_Process(self, number, share))
            running = list(started)
            while running:
                time.sleep(_POLL_SECONDS)
                ended = [process for process in running if process.ended]  # before its journal is read to the end
                for row in (row for process in running for row in process.new_rows()):
                    yield known[row["item_id"], row["scorer"], row["order_index"]], row
                for process in ended:
                    self._take(process)
                    running.remove(process)
        finally:
            for process in started:
                process.popen.kill()
                process.popen.wait()
        for text in dict.fromkeys((process.folder / _LOG).read_text("utf-8", "replace") for process in started):
            sys.stderr.write(text)
        for process in started:
            shutil.rmtree(process.folder)

    def _take(self, process: _Process) -> None:
        """What a process told at its end. Raises where it failed, after its own words."""
        code = process.popen.returncode
        if not code:
            told = json.loads((process.folder / TOLD).read_text("utf-8"))
            self.prefilled_tokens += told["prefilled_tokens"]
            self.reused_tokens += told["reused_tokens"]
            return
        said = (process.folder / _LOG).read_text("utf-8", "replace")
        sys.stderr.write(said)
        if code > 0 and said:
            raise SystemExit(code)
        raise LongSafetyError(
            f"evaluation.processes = {len(self.devices)}: {process.folder.name} ended with status {code}"
            f"{' (killed, perhaps for want of memory)' if code == -9 else ''}; what is answered is kept: give the same "
            "command again, or fewer processes"
        )


class _Process:
    """One of them, from its start on."""

    def __init__(self, group: Processes, number: int, share: Sequence[Sequence[Ask]]) -> None:
        self.folder = group.folder / f"{PROCESS}{number}"
        self.folder.mkdir()
        keys = [[one.key for one in batch] for batch in share]
        about = {"threads": group.threads, "batches": keys}
        (self.folder / SHARE).write_text(json.dumps(about, ensure_ascii=False), "utf-8")
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
        """Of its journal, what was not yet read of complete lines."""
        journal = self.folder / JOURNAL
        if not journal.exists():
            return
        with journal.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        yield from lines(whole.decode("utf-8"))


def shares(passes: Sequence[Sequence[Ask]], count: int) -> list[list[Sequence[Ask]]]:
    """At most ``count`` shares of passes, the longest first, each given to who has the fewest tokens by then."""
    found: list[list[Sequence[Ask]]] = [[] for _ in range(min(count, len(passes)))]
    loads = [0] * len(found)
    for batch in sorted(passes, key=num_tokens, reverse=True):
        least = loads.index(min(loads))
        found[least].append(batch)
        loads[least] += num_tokens(batch)
    return found


def devices(evaluation: Evaluation, accelerator: str) -> list[str | None]:
    """What each process finds in CUDA_VISIBLE_DEVICES; None on the CPU. Raises ConfigError for more than there are."""
    import torch

    wanted = evaluation.processes
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
    """A training that has ended here leaves memory on the first GPU."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # nothing where CUDA was not used
