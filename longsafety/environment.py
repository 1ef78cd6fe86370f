"""Which software and machine made a result."""

from __future__ import annotations

import getpass
import io
import logging
import os
import platform
import socket
import sys
import tempfile
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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
    "MLFLOW_DISABLE_TELEMETRY": "true",  # DeepSpeed imports MLflow, long before anything is logged
    "OMP_WAIT_POLICY": "passive",  # idle threads sleep: spinning ones take the processor from other programs
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",  # packs of many sizes fragment a GPU's memory without it
    "THP_MEM_ALLOC_ENABLE": "1",  # torch asks for huge pages for large tensors, which are mapped faster
}
"""Variables that libraries read when they are loaded: a worker is started with them. The user's own take precedence."""


_OF_PYTHON = ("PYTHONWARNINGS", "PYTHONOPTIMIZE")
"""A user's wishes for programs of his own: under ``error`` or ``2`` libraries cannot even be imported."""
_OF_TRAINERS = ("PL_TRAINER_", "ACCELERATE_", "FSDP_")
"""How variables begin that replace arguments of Lightning's trainer, by which a training would be cut short unseen, and
those of accelerate's launcher, by which transformers would load empty weights."""


def worker_environment() -> dict[str, str]:
    """The environment of a worker process: without what libraries stumble over."""
    found = {
        name: value
        for name, value in {**WORKER_VARIABLES, **os.environ}.items()
        if name not in _OF_PYTHON and not name.startswith(_OF_TRAINERS)
    }
    if not found.get("OMP_NUM_THREADS", "1").strip().isdigit():
        del found["OMP_NUM_THREADS"]
    try:
        getpass.getuser()
    except (OSError, KeyError):  # a container's user id without an entry in passwd, for which torch asks
        found["LOGNAME"] = f"uid{os.getuid()}"
    home = Path(found.get("HOME") or "/nonexistent")
    if not (home.is_dir() and os.access(home, os.W_OK | os.X_OK)):  # libraries keep compiled code and fonts there
        own = Path(tempfile.gettempdir()) / f"longsafety-home-{os.getuid()}"
        with suppress(OSError):
            own.mkdir(mode=0o700, exist_ok=True)
            if own.stat().st_uid == os.getuid():
                found["HOME"] = str(own)
    return found


def loopback() -> dict[str, str]:
    """Variables by which ranks of one machine talk over its loopback device: its name need not be known to any name
    server, and nobody outside can connect."""
    devices = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    return {"GLOO_SOCKET_IFNAME": devices[0], "MASTER_ADDR": "127.0.0.1"} if devices else {}


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
        ".*`srun` command is available.*",
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
