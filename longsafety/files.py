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
    in, and is kept: it is filled below it, and its entries are moved up at the end. Raises DataError where it cannot be
    written.
    """
    kept = folder.is_dir()
    if kept and not is_empty(folder):
        raise DataError(f"{folder}: is not empty; give a new or empty folder")
    partial = _partial(folder / folder.name if kept else folder)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        follow_umask(partial)
        if not kept:
            partial.rename(folder)
            return
        for entry in list(partial.iterdir()):
            entry.rename(folder / entry.name)
    except OSError as error:
        if error.errno not in _NO_ROOM and not _on_the_way(str(error.filename or ""), partial):
            raise  # of what the caller reads
        raise DataError(
            f"{folder}: cannot be written ({error}); give a folder that you can write to, with space left"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def _on_the_way(name: str, folder: Path) -> bool:
    return bool(name) and (folder.is_relative_to(name) or Path(name).is_relative_to(folder))


def closed_above(folder: Path, *, to_write: bool = True) -> str:
    """Why no such folder can be made, from what there is of its path: a file stands in it, or its last existing folder
    is closed (only asked with ``to_write``); empty if it can."""
    there = next(part for part in (folder, *folder.parents) if _exists(part))
    if not there.is_dir():
        return "is a file" if there == folder else f"{there} is a file, in which no folder can be made"
    if to_write and not os.access(there, os.W_OK | os.X_OK):
        return "cannot be written to" if there == folder else f"{there} cannot be written to"
    return ""


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return os.path.lexists(path)  # a closed folder above it, or a name that is too long
    return True


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


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file stands for one that Git LFS has not fetched. Raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        return stream.read(len(_LFS_POINTER)) == _LFS_POINTER


_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def visible_files(path: Path, left_out: list[str] | None = None) -> list[Path]:
    """A file itself; of a folder all files below it that are not hidden, sorted by name.

    Links are followed, but each file and folder is met once: by its own name, or by that of a link where only the
    link's says what is in it (a Hugging Face cache keeps the data in files that are named by their hash).
    ``left_out`` takes the names of what cannot be followed or opened, of second names, and of what is no file.
    """
    if path.is_file():
        return [path]
    walk = _Walk(path)
    if left_out is not None:
        left_out += sorted(walk.left_out)
    return sorted(walk.files.values(), key=lambda file: relative_name(file, path))


class _Walk:
    """A walk through a folder: first what lies in it, then what its links lead to."""

    def __init__(self, root: Path) -> None:
        self.files: dict[Path, Path] = {}
        """Where a file lies → the name by which it is read."""
        self.left_out: list[str] = []
        self._root = root
        self._folders: dict[Path, Path] = {}
        self._links: list[Path] = []
        self._meet(root, root.resolve())
        for link in self._links:  # it grows while linked folders are walked
            self._meet(link, Path(os.path.realpath(link)))

    def _meet(self, path: Path, real: Path) -> None:
        try:
            if known := self._folders.get(real) or self.files.get(real):
                self._again(path, real, known)
            elif path.is_dir():
                self._folders[real] = path
                self._enter(path, real)
            elif path.is_file():
                self.files[real] = path
            else:
                path.stat()  # a link to nothing is an error
                self._leave_out(path, " (no ordinary file)")
        except OSError:
            self._leave_out(path)

    def _enter(self, folder: Path, real: Path) -> None:
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda one: one.name)
        for entry in visible:
            if entry.is_symlink():
                self._links.append(Path(entry.path))
            else:
                self._meet(Path(entry.path), real / entry.name)

    def _again(self, path: Path, real: Path, known: Path) -> None:
        if real in self.files and _says_what(path) and not _says_what(known):
            self.files[real], path, known = path, known, path
        self._leave_out(path, f" (is {relative_name(known, self._root)} again)")

    def _leave_out(self, path: Path, why: str = "") -> None:
        self.left_out.append(relative_name(path, self._root) + why)


def _says_what(path: Path) -> bool:
    return path.suffix.lower() in DATA_SUFFIXES


DATA_SUFFIXES = frozenset({".jsonl", ".json", ".csv", ".parquet", ".txt", ".md"})
"""Of the files that are read as data."""


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
