"""``stages=[clean]``: the kept results that no run uses any more, with their sizes; removed when told to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from longsafety.errors import ConfigError, DataError, first_line
from longsafety.host.locks import is_held
from longsafety.pipeline.run import ADDRESSES, DONE
from longsafety.reporting.record import RECORD


@dataclass(frozen=True)
class Unused:
    """A folder below ``outputs/stages`` that no run in ``outputs/runs`` has the address of."""

    folder: Path
    bytes: int
    partial: bool
    """What a killed attempt left, with its checkpoints."""


def unused(outputs: Path) -> list[Unused]:
    """Every such folder, the largest first. What a process is making now is left out.

    Raises DataError where the addresses of a run cannot be read: what it uses is not known.
    """
    kept = {key for folder in _runs(outputs / "runs") for key in _addresses(folder / ADDRESSES)}
    found = []
    for folder in (outputs / "stages").glob("*/*"):
        if folder.is_dir() and folder.name.removesuffix(".partial") not in kept and not _locked(folder):
            found.append(Unused(folder, _bytes(folder), folder.suffix == ".partial"))
    return sorted(found, key=lambda one: -one.bytes)


def _runs(place: Path) -> Iterator[Path]:
    """The folders of runs, also of those that have lost their addresses."""
    for experiment in _folders(place) if place.exists() else ():
        for folder in _folders(experiment):
            if any((folder / name).exists() for name in (ADDRESSES, DONE, RECORD)):
                yield folder


def _folders(place: Path) -> list[Path]:
    """The folders in a folder. A pattern would pass over those that this user may not read."""
    try:
        found = [path for path in place.iterdir() if path.is_dir()]
        for path in found:
            with os.scandir(path):
                pass
    except OSError as error:
        raise DataError(
            f"{error.filename or place}: cannot be read ({error.strerror}), so what its runs use is not known, and "
            "nothing is removed; give this user the right to read it, or have its owner give the command"
        ) from error
    return found


def _addresses(file: Path) -> list[str]:
    try:
        held = json.loads(file.read_text("utf-8"))
        if not isinstance(held, dict) or not held or not all(isinstance(value, str) for value in held.values()):
            raise ValueError("it should map stages to addresses")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file}: cannot be read ({first_line(error)}), so what this run uses is not known, and nothing is "
            f"removed; restore the file, or remove the folder {file.parent} if the run is not needed"
        ) from error
    return [value for value in held.values() if value]


def _bytes(folder: Path) -> int:
    """What removing the folder frees: of a link, only itself."""
    if folder.is_symlink():
        return folder.lstat().st_size
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _remove(folder: Path) -> None:
    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be removed ({first_line(error)}); make it writable and give the command again"
        ) from error


def _locked(folder: Path) -> bool:
    """Whether a process holds the lock under which the folder is made."""
    return is_held(folder.with_name(f"{folder.name.removesuffix('.partial')}.lock"))


def clean(outputs: Path, *, remove: bool) -> Iterator[str]:
    """A line for each unused folder, and their sum; they are removed with ``remove``, links without what they name.

    Raises ConfigError where there is no folder ``outputs``, DataError where a file stops it.
    """
    if not outputs.is_dir():
        raise ConfigError([f"paths.outputs = {outputs}: is no folder; give the one that earlier commands wrote to"])
    found = unused(outputs)
    for one in found:
        if remove:
            _remove(one.folder)
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
