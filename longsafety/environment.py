"""Which software and machine made a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

DECISIVE = ("longsafety", "torch", "transformers", "lightning", "peft", "tokenizers", "bm25s", "deepspeed", "flash-attn")


def environment() -> dict[str, str]:
    """Python, platform, and the versions of the installed packages that decide results."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "processor": platform.machine()}
    for package in DECISIVE:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
