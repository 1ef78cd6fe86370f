"""The GPUs that a process may use, told without torch, which takes seconds to import."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping

_SECONDS = 60


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Their names for ``CUDA_VISIBLE_DEVICES``: those that it holds, else all that ``nvidia-smi`` lists."""
    if (named := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in named.split(",")]
        end = next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
        return names[:end]  # CUDA ignores what stands behind an invalid one
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"(?m)^GPU (\d+):", listed.stdout)
