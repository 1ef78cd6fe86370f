"""The rights of what is written: those that the umask gives, so that a group can share it."""

from __future__ import annotations

import os
from pathlib import Path


def follow_umask(place: Path) -> None:
    """Gives a file, or every file below a folder, the rights that the umask gives a new one.

    Libraries write some files for their owner alone (safetensors, SQLite), and a group's other users could not read
    them.
    """
    umask = os.umask(0)
    os.umask(umask)
    for path in place.rglob("*") if place.is_dir() else (place,):
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o666 != 0o666 & ~umask:
            path.chmod(path.stat().st_mode & 0o111 | 0o666 & ~umask)
