"""A run: its frozen settings, the addresses of its stages, and the folders that hold them."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, TypeVar

import yaml

from longsafety.code import CODE
from longsafety.errors import ConfigError, DataError
from longsafety.host.interrupts import raise_received
from longsafety.pipeline.addresses import Addresses, addresses
from longsafety.pipeline.reuse import adopted
from longsafety.settings import Settings
from longsafety.stages import Store, damage, folder_name, note_files, writable

SETTINGS, ADDRESSES, SWEEP = "settings.yaml", "addresses.json", "sweep.yaml"
ADOPTED = "adopted weights"
"""Among a run's addresses: that of the kept weights which it takes."""
DONE, TABLE = "done", "table.txt"
NOT_LOGGED = "not_logged"
"""In a sweep's folder, until MLflow has all of it."""
SCORED = ("scores.parquet", "scores.csv", "record.json")
"""What scoring leaves in the run's folder."""
MIX, TEMPLATE, FACTS, CAPABILITY = "mix.json", "chat_template.json", "evaluation.json", "capability.parquet"
"""Files of the stages weights (two), answers and capability."""
T = TypeVar("T")


@dataclass(eq=False)
class Run:
    """One arm at one length. Every stage is a function of it that returns the stage's folder."""

    folder: Path
    """Holds ``settings.yaml``, ``addresses.json``, what the run shows, and ``done`` once it is finished."""
    settings: Settings
    addresses: Addresses
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage → seconds, for the stages that this process made."""
    source: str = ""
    """The digest of the source code that the addresses are of; empty: it is not looked at again."""
    used: set[str] = field(default_factory=set)
    """The stages that this process has asked for."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What :func:`once` keeps."""

    @classmethod
    def freeze(cls, settings: Settings, source: str | None = None) -> Run:
        """Writes settings and addresses into the run's folder, whose name is the arm's and the run's address.

        ``source``: the digest of the source code, where it is known.

        Raises DataError where the folder cannot be written.
        """
        made = cls.place(settings)
        folder, found = made.folder, made.addresses
        writable(folder)
        text = yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True)
        command = f"# Frozen. Execute it with: python -m longsafety.pipeline.worker run {folder}\n"
        # Ranks that are started one by one each freeze the same file; none may find it half written.
        mine = f"{socket.gethostname()}-{os.getpid()}"
        for name, content in (
            (SETTINGS, command + text),
            (ADDRESSES, json.dumps({**asdict(found), **_taken(settings), "source": source or CODE.digest()}, indent=1)),
        ):
            partial = folder / f"{name}.{mine}"
            partial.write_text(content, "utf-8")
            partial.replace(folder / name)
        return made

    @classmethod
    def place(cls, settings: Settings) -> Run:
        """The run where :meth:`freeze` writes it; writes nothing."""
        found = addresses(settings)
        name = f"{folder_name(settings.label)}-{found.run}"
        return cls(Path(settings.paths.outputs) / "runs" / folder_name(settings.name) / name, settings, found)

    @classmethod
    def load(cls, folder: Path) -> Run:
        """The run that :meth:`freeze` left in ``folder``.

        Raises ConfigError where the source code has changed since: the stages would not be what their addresses say. It
        is looked at again before each stage is made.
        """
        settings = Settings.model_validate(yaml.safe_load((folder / SETTINGS).read_text("utf-8")))
        frozen = read_json(folder / ADDRESSES)
        frozen.pop(ADOPTED, None)
        run = cls(folder, settings, source=frozen.pop("source"), addresses=Addresses(**frozen))
        run.check_source()
        return run

    def check_source(self) -> None:
        """Raises ConfigError where the source code has changed since the run was frozen."""
        if self.source and self.source != CODE.digest():
            raise ConfigError(
                [
                    f"source code = changed since {self.folder} was frozen: its addresses are the old code's; start it "
                    "again, and what the change concerns is made anew"
                ]
            )

    @cached_property
    def store(self) -> Store:
        return Store(Path(self.settings.paths.outputs))

    @property
    def cache(self) -> Path:
        return Path(self.settings.paths.cache)

    @property
    def done(self) -> bool:
        """Whether the run has ended, and what it made is still there, as far as it is a result of its stages."""
        marker = self.folder / DONE
        if not marker.exists():
            return False
        stages = {*self.settings.stages}
        if "score" in stages or self.settings.rescores:
            return not damage(self.folder) and self.find("answers") is not None
        if "evaluate" in stages:
            return self.find("answers") is not None
        if "train" in stages and self.settings.data_mix.sources:
            return self.find("weights") is not None
        return all(self.find(stage) is not None for stage in marker.read_text("utf-8").split())

    def finish(self) -> None:
        """Marks the run as done."""
        if "score" in self.settings.stages or self.settings.rescores:
            note_files(self.folder, SCORED)
        (self.folder / DONE).write_text(" ".join(sorted(self.used)), "utf-8")

    def address(self, stage: str) -> str:
        """The stage's address; empty for a stage that this run does not have."""
        found: str = getattr(self.addresses, stage)
        return found

    def stage(self, name: str, make: Callable[[Path], None], *, resumable: bool = False) -> Path:
        """The folder of a stage; ``make`` fills it where it is missing (see :meth:`longsafety.stages.Store.ensure`)."""
        began = time.perf_counter()
        self.used.add(name)

        def checked(partial: Path) -> None:
            self.check_source()
            make(partial)

        folder, made = self.store.ensure(name, self.address(name), checked, resumable=resumable)
        if made:
            self.seconds[name] = time.perf_counter() - began
            print(f"  {name:<12}{self.seconds[name]:7.1f} s  {folder.name}", flush=True)
        raise_received()
        return folder

    def find(self, stage: str) -> Path | None:
        """The folder of a stage that is complete and undamaged; None where there is none."""
        if stage == "weights" and self.settings.reuse.weights is not None and len(self.settings.phases) == 1:
            return adopted(self.settings)
        folder = self.store.folder(stage, self.address(stage))
        return folder if self.address(stage) and folder.is_dir() and not damage(folder) else None

    def need(self, stage: str, fix: str) -> Path:
        """Like :meth:`find`; raises DataError with ``fix`` where the stage is missing."""
        found = self.find(stage)
        if found is None:
            folder = self.store.folder(stage, self.address(stage))
            stages = ", ".join(self.settings.stages)
            raise DataError(f"stages = [{stages}]: no {stage} are kept for {self.settings.label} ({folder}); {fix}")
        return found


def _taken(settings: Settings) -> dict[str, str]:
    """The folder's name of weights that are adopted by hand, which the run uses as it does its own."""
    folder = adopted(settings.phases[0])
    return {ADOPTED: folder.name} if folder else {}


def once(make: Callable[[Run], T]) -> Callable[[Run], T]:
    """Calls ``make`` once for a run and keeps what it returns."""

    @wraps(make)
    def kept(run: Run) -> T:
        name = f"{make.__module__}.{make.__qualname__}"
        if name not in run.kept:
            run.kept[name] = make(run)
        found: T = run.kept[name]
        return found

    return kept


def failed_answers(run: Run) -> int:
    """How many answers of the complete stage failed, so that the same command asks for them again."""
    folder = run.find("answers")
    return int(read_json(folder / FACTS).get("failed", 0)) if folder else 0


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
