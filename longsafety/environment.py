"""Which software and machine made a result."""

from __future__ import annotations

import io
import logging
import os
import platform
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

DECISIVE = (
    "longsafety",
    "torch",
    "transformers",
    "lightning",
    "peft",
    "tokenizers",
    "numpy",
    "scipy",
    "statsmodels",
    "bm25s",
    "py3langid",
    "rensa",
    "deepspeed",
    "torchao",
    "vllm",
    "flash-attn",
    "lm-eval",
)
"""Distributions whose version decides results."""


def environment() -> dict[str, str]:
    """Python, platform, and the versions of the installed packages that decide results."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "processor": platform.machine()}
    for package in DECISIVE:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def substitute_letters() -> None:
    """Prints ``?`` for a letter that the terminal's or log file's encoding lacks, where printing would raise.

    Call it where a process starts.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


WORKER_VARIABLES = {
    "OMP_WAIT_POLICY": "passive",  # idle threads sleep: spinning ones take the processor from other programs
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",  # packs of many sizes fragment a GPU's memory without it
    "THP_MEM_ALLOC_ENABLE": "1",  # torch asks for huge pages for large tensors, which are mapped faster
}
"""Variables that libraries read when they are loaded: a worker is started with them. The user's own take precedence."""


def worker_environment() -> dict[str, str]:
    """The environment of a worker process."""
    return {**WORKER_VARIABLES, **os.environ}


def quiet() -> None:
    """Silences what libraries say of themselves on every start, so that a user reads what the run says.

    Call it before the libraries are imported; errors still show.
    """
    substitute_letters()
    for pattern in (
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*resuming from a checkpoint that ended before.*",
        ".*LeafSpec.*",
        ".*is_gradient_checkpointing.*",
    ):
        warnings.filterwarnings("ignore", message=pattern)
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.trainer.connectors.checkpoint_connector",
        "lightning.fabric.utilities.seed",
        "lightning.fabric.utilities.distributed",
        "DeepSpeed",
        "alembic",
        "mlflow",
        "torch.utils._pytree",
        "torchao",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
