"""``launcher=skypilot``: writes a task file by which SkyPilot executes the whole command on a machine of a cloud."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from longsafety.errors import ConfigError
from longsafety.files import user_path
from longsafety.pipeline.addresses import sweep as sweep_address
from longsafety.pipeline.run import Run
from longsafety.settings import Settings
from longsafety.stages import folder_name, writable

_GPUS = {"A100-80G": "A100-80GB", "H100-80G": "H100", "H200-141G": "H200"}
"""``trainer.gpu`` in SkyPilot's words."""
_PROJECT = Path(__file__).resolve().parents[2]
_LEFT_OUT = ("launcher", "paths.outputs", "paths.cache")


def write_task(jobs: Sequence[Settings], command: Sequence[str]) -> int:
    """Writes the file and says how it is started. Raises ConfigError where there is no project to take along."""
    if not (_PROJECT / "pyproject.toml").is_file():
        raise ConfigError([
            f"launcher = skypilot: {_PROJECT} is not the project's folder, which the machine is given; give the "
            "command in a clone of it"
        ])  # fmt: skip
    _refuse_other_gpus(jobs)
    first = jobs[0]
    folder = Path(first.paths.outputs) / "skypilot"
    writable(folder)
    key = sweep_address([Run.place(job).addresses.run for job in jobs], first.baseline)
    file = folder / f"{folder_name(first.name)}-{key}.yaml"
    cluster = re.sub(r"[^a-z0-9-]+", "-", f"longsafety-{first.name[:30]}-{key[:4]}".lower())
    arguments = [argument for argument in command[1:] if not _is_left_out(argument)]
    if not any(argument.startswith("launcher") for argument in command):
        arguments.append("launcher=local")  # a file has chosen this launcher, and would on that machine too
    task = {
        "name": cluster,
        "workdir": str(_PROJECT),
        "resources": _resources(jobs),
        "setup": "make .venv/.run\n" + _extras(jobs),
        "run": f".venv/bin/python -m {shlex.join(['longsafety', *arguments])}\n",
    }
    results = f"rsync -a {cluster}:sky_workdir/outputs/ {shlex.quote(first.paths.outputs)}/"
    start = f"sky launch -c {cluster} {shlex.quote(str(file))}"
    file.write_text(
        f"# Start it: {start}\n# Go on after an end: sky exec {cluster} {shlex.quote(str(file))}\n"
        f"# Fetch what it made: {results}\n# End the machine: sky down {cluster}\n"
        + yaml.safe_dump(task, sort_keys=False, allow_unicode=True),
        "utf-8",
    )
    for before, argument in pairwise(["", *arguments]):
        words = [f"./{argument}"] if before in ("--config-dir", "-cd") else re.split(r"[=,\[\]{}'\"]", argument)
        if any(map(_is_elsewhere, words)):
            print(f"note     {argument}: the machine does not have it; add it to the file as file_mounts")
    print(f"task     {file}\nstart    {start}\nfetch    {results}")
    return 0


def _refuse_other_gpus(jobs: Sequence[Settings]) -> None:
    kinds = sorted({job.trainer.gpu for job in jobs if job.trainer.accelerator != "cpu"})
    if len(kinds) > 1:
        raise ConfigError([
            f"launcher = skypilot: the jobs are for GPUs of {len(kinds)} kinds (trainer.gpu = {', '.join(kinds)}), and "
            "a machine has one; give a command for each"
        ])  # fmt: skip


def _is_elsewhere(text: str) -> bool:
    """Whether it names a file or folder of this machine, or one by its whole path, that is not of the project. A word
    without a slash is an option's name."""
    place = user_path(text)
    named = place.is_absolute() or ("/" in text and os.path.lexists(place))
    return named and not place.resolve().is_relative_to(_PROJECT)


def _is_left_out(argument: str) -> bool:
    key = argument.partition("=")[0]
    return any(key == name or key.startswith(f"{name}.") for name in _LEFT_OUT)


def _resources(jobs: Sequence[Settings]) -> dict[str, object]:
    """The GPUs of the job that needs most; a processor where no job wants one."""
    on_gpus = [job for job in jobs if job.trainer.accelerator != "cpu"]
    if not on_gpus:
        return {"cpus": "8+", "memory": "32+"}
    wanted = [*(job.trainer.devices for job in on_gpus), *(job.evaluation.processes for job in on_gpus)]
    count = max([1, *(number for number in wanted if isinstance(number, int))])
    return {"accelerators": f"{_GPUS[on_gpus[0].trainer.gpu]}:{count}", "disk_size": 512}


def _extras(jobs: Sequence[Settings]) -> str:
    extras = ["deepspeed"] if any(job.trainer.strategy == "deepspeed" for job in jobs) else []
    extras += ["vllm"] if any(job.evaluation.backend == "vllm" for job in jobs) else []
    extras += ["capability"] if any(job.evaluation.capability for job in jobs) else []
    return f".venv/bin/python -m pip install -e '.[{','.join(extras)}]'\n" if extras else ""
