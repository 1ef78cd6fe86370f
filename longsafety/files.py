"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

from longsafety.errors import DataError


def _name(file: Path, root: Path) -> str:
    return file.name if file == root else file.relative_to(root).as_posix()


def cached_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """``folder``, filled by ``fill(partial folder)`` if it does not exist; it appears complete or not at all.

    One process fills it, others wait. Raises DataError where it cannot be written.
    """
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                # What lies here is from a process that was killed: its lock is ours.
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                try:
                    fill(partial)
                    partial.rename(folder)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{folder}: cannot be written ({error}); free some space, or set paths.cache to a folder you can write to"
        ) from error
    return folder


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A sibling to write into, which takes the folder's place at the end, or is gone if anything fails."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
