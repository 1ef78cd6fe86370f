"""Files and folders: written whole or not at all, and hashed by content."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from longsafety.errors import DataError
from longsafety.host.locks import locked
from longsafety.host.modes import follow_umask


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A sibling path to write to. It replaces ``path`` at the end, and is removed if anything fails."""
    partial = _partial(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, "utf-8")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes ``folder``; that must be absent or empty (:func:`is_empty`).

    It is filled beside an absent folder and renamed. An existing one may be a mount, or the folder that a shell stands
    in, and is kept: it is filled below it, and its entries are moved up at the end.
    """
    kept = folder.is_dir()
    if kept and not is_empty(folder):
        raise OSError(errno.ENOTEMPTY, "is not empty", str(folder))
    partial = _partial(folder / folder.name if kept else folder)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir()
    try:
        yield partial
        follow_umask(partial)
        if not kept:
            partial.rename(folder)
            return
        for entry in list(partial.iterdir()):
            entry.rename(folder / entry.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_empty(folder: Path) -> bool:
    """Whether a folder has nothing in it but what a new file system has, and what a killed process began."""
    return all(entry.name == "lost+found" or _PARTIAL.fullmatch(entry.name) for entry in folder.iterdir())


def cached_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """``folder``, which ``fill(partial folder)`` fills if it does not exist; it appears complete or not at all.

    One process fills it while others wait. Raises DataError if it cannot be written.
    """
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock"), str(folder)):
            if not folder.is_dir():
                shutil.rmtree(partial, ignore_errors=True)  # left by a killed process: we hold its lock
                partial.mkdir()
                try:
                    fill(partial)
                    follow_umask(partial)
                    partial.rename(folder)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by its own exception
        raise DataError(
            f"{folder}: cannot be written ({error}); free some space, or set paths.cache to a folder you can write to"
        ) from error
    return folder


def user_path(text: str | Path) -> Path:
    """The path with ``~`` or ``~user`` replaced by a home folder; unchanged if there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def visible_files(path: Path, broken: list[str] | None = None) -> list[Path]:
    """A file itself; of a folder all files below it that are not hidden, sorted by name.

    Links to folders are followed, but not into a folder that the link lies in. ``broken`` takes the names of what
    cannot be followed or opened.
    """
    if path.is_file():
        return [path]
    found: list[Path] = []
    lost: list[Path] = []
    _gather(path, frozenset(), found, lost)
    if broken is not None:
        broken += sorted(relative_name(file, path) for file in lost)
    return sorted(found, key=lambda file: relative_name(file, path))


def _gather(folder: Path, above: frozenset[Path], found: list[Path], lost: list[Path]) -> None:
    real = folder.resolve()
    if real in above:
        return
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError:
        lost.append(folder)
        return
    for entry in entries:
        path = Path(entry.path)
        try:
            if entry.is_dir():
                _gather(path, above | {real}, found, lost)
            elif entry.is_file():
                found.append(path)
            elif entry.is_symlink():
                path.stat()  # a pipe or a device is no file; a link to nothing is an error
        except OSError:
            lost.append(path)


def relative_name(file: Path, root: Path) -> str:
    """The file's path below ``root`` with ``/`` between its parts, its name if it is ``root`` itself.

    Bytes of the name that are not UTF-8 are shown as ``\\xff``, so that the name can be written anywhere.
    """
    return printable(file.name if file == root else file.relative_to(root).as_posix())


def printable(path: str | Path) -> str:
    """The path with its bytes that are not UTF-8 as ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def kept_hash(path: Path, kept: Path) -> str:
    """Like :func:`file_hash`, kept in the folder ``kept`` for as long as the file is as it was: no program can change a
    file and leave its inode, size and both times as they were."""
    about = path.resolve().stat()
    state = [str(path.resolve()), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns]
    file = kept / hashlib.sha256(repr(state).encode()).hexdigest()
    try:
        return file.read_text("ascii")
    except OSError:
        found = file_hash(path)
        with suppress(OSError):  # a cache that cannot be written keeps nothing
            kept.mkdir(parents=True, exist_ok=True)
            write_text(file, found)
        return found


def files_hash(files: Iterable[Path], root: Path) -> str:
    """SHA-256 of names below ``root`` and contents, in the given order; 64 hex digits."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{relative_name(file, root)}\0{file_hash(file)}\n".encode())
    return digest.hexdigest()


_PARTIAL = re.compile(r"\.[0-9a-f]{12}\.\d+\.partial")


def _partial(path: Path) -> Path:
    """The hidden sibling in which ``path`` is written; its name is short, however long that of ``path``."""
    return path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.{os.getpid()}.partial")
