"""Submits frozen runs to Slurm, each once: a job that builds what they share, and arrays of runs that wait for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from longsafety.errors import ConfigError
from longsafety.pipeline.parallel import Task
from longsafety.pipeline.phases import phases
from longsafety.pipeline.pipeline import PREPARED
from longsafety.pipeline.run import Run
from longsafety.pipeline.slurm_job import execute
from longsafety.pipeline.slurm_queue import Job, look, state_of
from longsafety.pipeline.status import STATE
from longsafety.settings import Settings, Slurm

LOGS, BUILD = "slurm", "build"
"""Folders in that of a sweep: scripts and logs of its jobs; the record of the job that builds what its runs share."""


class Needs(NamedTuple):
    """What a job asks the cluster for."""

    nodes: int = 1
    tasks: int = 1
    """On each node; each is a rank of the training."""
    gpus: int = 0
    """Of each node."""


class Submission(NamedTuple):
    """The jobs of a sweep, of this command and of earlier ones."""

    build: Job | None
    runs: list[Job]
    """One for each task."""
    new: set[str]
    """Ids of those that were submitted now."""


def needs(run: Run) -> Needs:
    """A training has a task for each of its devices; everything else is one process, which may use several GPUs."""
    settings = run.settings
    trainer, asked = settings.trainer, settings.launcher.slurm.gpus_per_node
    trains = settings.trains and run.find("weights") is None
    wanted = [settings.evaluation.processes, *([trainer.devices] if trains else [])]
    gpus = 0 if trainer.accelerator == "cpu" else max([1, *(count for count in wanted if isinstance(count, int))])
    gpus = gpus if asked is None else asked
    if not trains:
        return Needs(gpus=gpus)
    tasks = trainer.devices if isinstance(trainer.devices, int) else 1 if trainer.accelerator == "cpu" else max(gpus, 1)
    return Needs(trainer.num_nodes, tasks, gpus)


def submit(tasks: Sequence[Task], sweep: Path) -> Submission:
    """Submits what neither waits nor runs. Raises ConfigError where Slurm refuses it, or does not answer."""
    settings = tasks[0].run.settings
    [earlier, *found] = _active([sweep / BUILD, *(task.run.folder for task in tasks)])
    missing = [task for task, job in zip(tasks, found, strict=True) if job is None]
    folder = Path(settings.launcher.slurm.logs or sweep / LOGS)
    build = earlier or _build(missing, sweep, folder)
    jobs = {task.run: job for task, job in zip(tasks, found, strict=True) if job is not None}
    condition = "afterok" if settings.fail_fast else "afterany"
    for group, wanted, before in _groups(missing, [task.run for task in tasks]):
        after = [job.id for job in ([build] if build else []) + [jobs[run] for run in before]]
        parameters = _parameters(settings.launcher.slurm, wanted) | _after(condition, after)
        name = group[0].run.folder.name if len(group) == 1 else sweep.name
        arguments = [[str(task.run.folder), str(sweep)] for task in group]
        for task, job in zip(group, _sbatch("run", arguments, name, parameters, sweep, folder), strict=True):
            job.keep(task.run.folder)
            (task.run.folder / STATE).unlink(missing_ok=True)  # what became of an earlier job
            jobs[task.run] = job
    ordered = [jobs[task.run] for task in tasks]
    new = [*(jobs[task.run] for task in missing), *([build] if build and build != earlier else [])]
    return Submission(build, ordered, {job.id for job in new})


def _active(folders: Sequence[Path]) -> list[Job | None]:
    """The folders' last jobs, as far as they wait or run; one that is about to end is waited for."""
    while True:
        queue = look()
        if queue is None:
            raise ConfigError(["launcher = slurm: squeue fails here; set launcher=local where there is no cluster"])
        jobs = [Job.load(folder) for folder in folders]
        states = [state_of(job, queue) for job in jobs]
        if not any(state is not None and state.word == "COMPLETING" for state in states):
            return [
                job if state is not None and (state.waits or state.runs) else None
                for job, state in zip(jobs, states, strict=True)
            ]
        time.sleep(1)


def _build(missing: Sequence[Task], sweep: Path, folder: Path) -> Job | None:
    """The job that builds what the missing runs share; None where that is done, or nothing is worth a job."""
    asked = [task.run for task in missing if not (task.run.settings.rescores or task.run.settings.only_builds)]
    ahead = [run for run in asked if not (run.folder / PREPARED).is_file()]
    if not ahead or (len(ahead) == 1 and not needs(ahead[0]).gpus):
        return None
    slurm = ahead[0].settings.launcher.slurm
    parameters = _parameters(slurm.model_copy(update={"partition": slurm.build_partition or slurm.partition}), Needs())
    folders = [str(run.folder) for run in ahead]
    [job] = _sbatch("build", [folders], f"{BUILD}-{sweep.name}", parameters, sweep, folder)
    (sweep / BUILD).mkdir(exist_ok=True)
    job.keep(sweep / BUILD)
    return job


def _groups(missing: Sequence[Task], runs: Sequence[Run]) -> Iterator[tuple[list[Task], Needs, list[Run]]]:
    """Tasks that are alike, as arrays, with the runs that they wait for, which come in an earlier group."""
    waiting = [(task, needs(task.run), _before(task.run, runs)) for task in missing]
    submitted = {*runs} - {task.run for task in missing}
    while waiting:
        ready = [one for one in waiting if submitted.issuperset(one[2])]
        _, wanted, before = ready[0]
        group = [task for task, others, earlier in ready if (others, earlier) == (wanted, before)]
        yield group, wanted, before
        submitted |= {task.run for task in group}
        waiting = [one for one in waiting if one[0] not in group]


def _before(run: Run, runs: Sequence[Run]) -> list[Run]:
    """The runs that train what this one needs: it is tuned further, or evaluated at another length."""
    if not run.settings.trains:
        return []
    needed = {phase.addresses.weights for phase in phases(run) if phase.find("weights") is None}
    makers: dict[str, Run] = {}
    for other in runs:
        if other.settings.trains:
            makers.setdefault(other.addresses.weights, other)
    if makers.get(run.addresses.weights) is run:
        needed.discard(run.addresses.weights)
    return [maker for key, maker in makers.items() if key in needed]


def _parameters(slurm: Slurm, wanted: Needs) -> dict[str, Any]:
    """As submitit's executor takes them. Slurm signals the tasks, which are steps of srun, before the time limit."""
    additional: dict[str, Any] = {
        "requeue": True,
        "signal": f"USR1@{slurm.signal_seconds}",
        "kill-on-invalid-dep": "yes",
        **slurm.additional,
    }
    steps = ["--kill-on-bad-exit=1"]
    if slurm.cpus_per_task is not None:
        steps.append(f"--cpus-per-task={slurm.cpus_per_task}")  # which srun does not take over since Slurm 22.05
    found = {
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "time": slurm.minutes,
        "nodes": wanted.nodes,
        "ntasks_per_node": wanted.tasks,
        "gpus_per_node": wanted.gpus or None,
        "cpus_per_task": slurm.cpus_per_task,
        "mem": f"{slurm.mem_gb}GB" if slurm.mem_gb is not None else None,
        "setup": slurm.setup or None,
        "array_parallelism": slurm.array_parallelism,
        "srun_args": steps,
        "additional_parameters": additional,
    }
    return {key: value for key, value in found.items() if value is not None}


def _after(condition: str, ids: Sequence[str]) -> dict[str, str]:
    return {"dependency": ":".join([condition, *ids])} if ids else {}


def _sbatch(
    what: str, arguments: Sequence[Sequence[str]], name: str, parameters: dict[str, Any], sweep: Path, folder: Path
) -> list[Job]:
    """One job for each of the arguments; several are an array."""
    import submitit

    executor = submitit.SlurmExecutor(folder)
    try:
        executor.update_parameters(job_name=name, **parameters)
        with _outside_allocations(parameters):
            jobs = executor.map_array(execute, [what] * len(arguments), arguments)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError) as error:
        lines = [line.strip() for line in str(error).split("\n") if "sbatch: error" in line]
        reason = "; ".join(lines) or str(error).strip().split("\n")[-1].strip() or type(error).__name__
        raise ConfigError([f"launcher = slurm: the job is refused ({reason}); see launcher.slurm"]) from None
    return [Job(job.job_id, name, sweep.name, str(job.paths.stderr)) for job in jobs]


_OF_EVERY_JOB = ("array-inx", "error", "job-name", "no-requeue", "open-mode", "output", "requeue", "signal", "wait")
_CALLED = {
    "time": ("timelimit",),
    "gpus_per_node": ("gpus", "gpus-per-node", "gpus-per-task", "gres"),
    "mem": ("mem-per-node", "mem-per-cpu", "mem-per-gpu"),
}
"""What sbatch's variables call an option where they call it otherwise, and what excludes it."""


@contextmanager
def _outside_allocations(parameters: Mapping[str, Any]) -> Iterator[None]:
    """Hides the variables of the allocation that this command may have been started in: srun would take them over.

    Hides sbatch's own variables too (``SBATCH_PARTITION``) of the options that the script has: they would override it.
    """
    given = [name for key in (*parameters, *parameters["additional_parameters"]) for name in _CALLED.get(key, (key,))]
    ours = {f"SBATCH_{name.replace('-', '_').upper()}" for name in (*_OF_EVERY_JOB, *given)}
    inside = "SLURM_JOB_ID" in os.environ
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name in ours or (inside and name.startswith(("SLURM_", "SRUN_")) and name != "SLURM_CONF")
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def outputs_note(settings: Settings) -> str | None:
    """A word on outputs that the nodes are unlikely to share."""
    outputs = Path(settings.paths.outputs)
    own = [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm", os.environ.get("TMPDIR") or "/tmp")]
    if any(outputs.is_relative_to(place.resolve()) for place in own):
        return (
            f"paths.outputs = {outputs}: looks like a folder of this machine alone; the jobs' nodes must share it "
            "where they are others"
        )
    return None
