"""Content-addressed stages: a folder named by the hash of what it came from, complete only once renamed into place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from longsafety.errors import DataError
from longsafety.host.locks import locked
from longsafety.host.modes import follow_umask


def address(*parts: Any) -> str:
    """Twelve hex digits of the hash of JSON-able parts."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def folder_name(label: str, limit: int = 80) -> str:
    """The label as the name of a folder, of at most ``limit`` bytes; two labels have two names.

    Letters, digits and ``_.-=`` stay and spaces become dashes. Where anything else is replaced, or the end is cut, a
    hash of the label follows.
    """
    name = "".join(char if char.isalnum() or char in "_.-=" else "-" for char in label).lstrip(".")
    if name == label.replace(" ", "-") and len(name.encode()) <= limit:
        return name
    end = f"-{address(label)[:8]}"
    return name.encode()[: limit - len(end)].decode("utf-8", "ignore") + end


MANIFEST = ".files.json"
"""In a complete folder: its files and their sizes."""


def note_files(folder: Path, names: Iterable[str] | None = None) -> None:
    """Notes the sizes of a folder's files, or of those named, by which :func:`damage` knows that they are whole."""
    files = (path for path in folder.rglob("*") if path.is_file()) if names is None else map(folder.joinpath, names)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    (folder / MANIFEST).write_text(json.dumps(sizes, sort_keys=True), "utf-8")


def damage(folder: Path) -> str:
    """What a complete folder lacks: a file that was deleted or cut off since. Empty where nothing is known to be."""
    try:
        sizes: dict[str, int] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        return f"{MANIFEST} cannot be read"
    for name, size in sizes.items():
        try:
            held = (folder / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if held < size:
            return f"{name} has {held:,} bytes of {size:,}"
    return ""


class Store:
    """The stage folders below one outputs folder."""

    def __init__(self, outputs: Path) -> None:
        self.root = outputs / "stages"

    def folder(self, stage: str, key: str) -> Path:
        return self.root / stage / key

    def partial(self, stage: str, key: str) -> Path:
        """Where :meth:`ensure` makes it."""
        return self.root / stage / f"{key}.partial"

    def ensure(
        self, stage: str, key: str, make: Callable[[Path], None], *, resumable: bool = False
    ) -> tuple[Path, bool]:
        """The complete folder, made now where it is missing; and whether it was made now.

        ``make`` writes into a partial folder, which is renamed when it returns. Of a killed attempt a ``resumable``
        stage finds what it had written; any other begins afresh. What was damaged since is made again. A lock keeps two
        processes from making the same.
        """
        final = self.folder(stage, key)
        if final.is_dir() and not damage(final):
            return final, False
        final.parent.mkdir(parents=True, exist_ok=True)
        with locked(final.with_name(f"{key}.lock"), f"{stage} {key}"):
            if final.is_dir():
                if not (problem := damage(final)):
                    return final, False
                print(f"longsafety: {final}: {problem}; it is made again", file=sys.stderr, flush=True)
                shutil.rmtree(final)
            partial = self.partial(stage, key)
            if partial.exists() and not resumable:
                shutil.rmtree(partial)
            partial.mkdir(exist_ok=True)
            make(partial)
            note_files(partial)
            follow_umask(partial)
            partial.replace(final)
        return final, True


def writable(folder: Path) -> None:
    """Makes the folder and proves that it takes a file; DataError otherwise."""
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"x" * 4096)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"paths.outputs = {folder}: cannot be written ({error.strerror}); make it writable, free space, or give "
            "another paths.outputs"
        ) from None
