"""``stages=[clean]``: the kept results that no run uses any more, with their sizes; removed when told to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from longsafety.pipeline.run import ADDRESSES


@dataclass(frozen=True)
class Unused:
    """A folder below ``outputs/stages`` that no run in ``outputs/runs`` has the address of."""

    folder: Path
    bytes: int
    partial: bool
    """What a killed attempt left, with its checkpoints."""


def unused(outputs: Path) -> list[Unused]:
    """Every such folder, the largest first. What a process is making now is left out."""
    kept = {key for file in (outputs / "runs").glob(f"*/*/{ADDRESSES}") for key in _addresses(file)}
    found = []
    for folder in (outputs / "stages").glob("*/*"):
        if folder.is_dir() and folder.name.removesuffix(".partial") not in kept and not _locked(folder):
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            found.append(Unused(folder, size, folder.suffix == ".partial"))
    return sorted(found, key=lambda one: -one.bytes)


def _addresses(file: Path) -> Iterator[str]:
    try:
        yield from (str(value) for value in json.loads(file.read_text("utf-8")).values() if value)
    except (OSError, ValueError):
        return


def _locked(folder: Path) -> bool:
    """Whether a process holds the lock under which the folder is made."""
    lock = folder.with_name(f"{folder.name.removesuffix('.partial')}.lock")
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def clean(outputs: Path, *, remove: bool) -> Iterator[str]:
    """A line for each unused folder, and their sum; they are removed with ``remove``."""
    found = unused(outputs)
    for one in found:
        if remove:
            shutil.rmtree(one.folder)
        note = "  (unfinished)" if one.partial else ""
        yield f"{_size(one.bytes):>9}  {one.folder.relative_to(outputs)}{note}"
    total = _size(sum(one.bytes for one in found))
    if not found:
        yield f"{outputs}: every kept stage is used by a run of {outputs / 'runs'}"
    elif remove:
        yield f"{total} in {len(found)} folders removed"
    else:
        yield f"{total} in {len(found)} folders that no run uses; remove them with stages=[clean] clean.remove=true"


def _size(number: int) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
