"""Standard streams that whoever started the command has closed (``>&-``, some schedulers and services)."""

from __future__ import annotations

import os
import sys


def open_closed() -> None:
    """Lets them lead nowhere: else the next file that is opened gets their number, and output goes into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None or _taken(number):
            continue
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, number)
        os.set_inheritable(number, True)
        if null != number:
            os.close(null)
        setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _taken(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
