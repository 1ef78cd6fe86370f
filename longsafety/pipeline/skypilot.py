"""``launcher=skypilot``: writes a task file by which SkyPilot executes the whole command on a machine of a cloud."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from longsafety.errors import ConfigError
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
    first = jobs[0]
    folder = Path(first.paths.outputs) / "skypilot"
    writable(folder)
    key = sweep_address([Run.place(job).addresses.run for job in jobs], first.baseline)
    file = folder / f"{folder_name(first.name)}-{key}.yaml"
    cluster = re.sub(r"[^a-z0-9-]+", "-", f"longsafety-{first.name[:30]}-{key[:4]}".lower())
    arguments = [argument for argument in command[1:] if not _is_left_out(argument)]
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
    for argument in arguments:
        value = argument.partition("=")[2]
        if value.startswith("/") and not Path(value).is_relative_to(_PROJECT):
            print(f"note     {argument}: the machine does not have it; add it to the file as file_mounts")
    print(f"task     {file}\nstart    {start}\nfetch    {results}")
    return 0


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
