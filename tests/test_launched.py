"""Which variables make this process a rank, and which are another job's."""

from __future__ import annotations

import pytest

from longsafety.environment import worker_environment
from longsafety.errors import ConfigError
from longsafety.launched import forget_other_jobs
from longsafety.settings import Trainer

SHELL = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
STEP = {**SHELL, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}
TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}


def trainer(devices: int = 1, num_nodes: int = 1) -> Trainer:
    return Trainer(name="t", devices=devices, num_nodes=num_nodes)


LEFT_OVER = {
    "a rank of a single run": ({"RANK": "1", "WORLD_SIZE": "2"}, trainer(), "RANK = 1"),
    "torchrun's of a single run": (TORCHRUN, trainer(), "RANK = 1, LOCAL_RANK = 1"),
    "a node of a single run": ({"NODE_RANK": "1"}, trainer(), "NODE_RANK = 1"),
    "a node of a run on one node": ({"NODE_RANK": "1", "MASTER_ADDR": "a"}, trainer(2), "NODE_RANK = 1"),
    "a task of a single run": ({"SLURM_PROCID": "1"}, trainer(), "SLURM_PROCID = 1"),
    "a rank without the others' address": ({"RANK": "1", "WORLD_SIZE": "2"}, trainer(2), "RANK = 1"),
    "another number of ranks": (TORCHRUN, trainer(4), "RANK = 1, LOCAL_RANK = 1"),
    "a shell in an allocation": (SHELL, trainer(), ""),
    "the same, two processes": (SHELL, trainer(2), ""),
    "the same, as many as tasks": (SHELL, trainer(4), ""),
    "an interactive step": ({**STEP, "SLURM_STEP_ID": "4294967290", "SLURM_PROCID": "0"}, trainer(4), ""),
    "srun of a shell": ({**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, trainer(2), ""),
    "a task of a single run under srun": (STEP, trainer(), "SLURM_PROCID = 3"),
    "torchrun's store of a single run": (
        {"TORCHELASTIC_USE_AGENT_STORE": "True", **TORCHRUN},
        trainer(),
        "RANK = 1, LOCAL_RANK = 1",
    ),
    "torchrun's store, and ranks of ours": ({"TORCHELASTIC_USE_AGENT_STORE": "True"}, trainer(2), ""),
    "jsrun's": ({"LSB_DJOB_RANKFILE": "f", "JSM_NAMESPACE_LOCAL_RANK": "0", "JSM_NAMESPACE_SIZE": "2"}, trainer(2), ""),
    "an empty rank": ({**TORCHRUN, "RANK": ""}, trainer(2), "RANK = , LOCAL_RANK = 1"),
    "a sign that looks like a number": ({**TORCHRUN, "WORLD_SIZE": "²"}, trainer(2), "RANK = 1, LOCAL_RANK = 1"),
    "a word": ({"RANK": "first", "WORLD_SIZE": "two"}, trainer(), "RANK = first"),
}


@pytest.mark.parametrize("name", LEFT_OVER)
def test_left_over(name: str) -> None:
    environment, settings, said = LEFT_OVER[name]
    gone, told = forget_other_jobs(settings, environment)
    assert not {name for name in environment if name not in gone} - {"SLURM_JOB_ID", "SLURM_STEP_ID",
                                                                     "SLURM_STEP_NUM_TASKS"}  # fmt: skip
    assert "SLURM_JOB_ID" not in gone, "a requeue needs it"
    assert ", ".join(told) == said


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        (TORCHRUN, trainer(2)),
        (TORCHRUN, trainer(1, 2)),
        (STEP, trainer(4)),
        (STEP, trainer(2, 2)),
        ({"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}, trainer(2, 2)),
    ],
)
def test_a_rank_that_was_started_from_outside_stays_one(environment: dict[str, str], settings: Trainer) -> None:
    elastic = {"TORCHELASTIC_USE_AGENT_STORE": "True"} if environment is TORCHRUN else {}
    gone, told = forget_other_jobs(settings, {**environment, **elastic})
    assert not told and not {*elastic} & {*gone}
    assert not {"RANK", "WORLD_SIZE", "NODE_RANK", "SLURM_PROCID", "MASTER_ADDR"} & {*gone}


def test_torchrun_within_a_job_of_slurm_is_torchruns() -> None:
    gone, told = forget_other_jobs(trainer(2), {**STEP, **TORCHRUN})
    assert {"SLURM_PROCID", "SLURM_NTASKS"} <= {*gone} and "RANK" not in gone
    assert told == ["SLURM_PROCID = 3"]


@pytest.mark.parametrize(
    ("environment", "settings", "rule"),
    [
        (STEP, trainer(2), r"trainer\.devices = 2: srun has started 4 processes, .* = 2 × 1; make the numbers equal"),
        ({**TORCHRUN, "TORCHELASTIC_RUN_ID": "x"}, trainer(4), r"trainer\.devices = 4: torchrun has started 2 proc"),
        ({}, trainer(2, 2), r"trainer\.num_nodes = 2: nobody has started the other nodes; .* NODE_RANK, MASTER_ADDR"),
        ({"NODE_RANK": "2", "MASTER_ADDR": "a"}, trainer(1, 2), r"NODE_RANK = 2: trainer\.num_nodes = 2; count from 0"),
        ({"NODE_RANK": "²", "MASTER_ADDR": "a"}, trainer(1, 2), r"NODE_RANK = ²: trainer\.num_nodes = 2; count from 0"),
        ({"NODE_RANK": "00", "MASTER_ADDR": "a"}, trainer(1, 2), r"NODE_RANK = 00: .*; count from 0, without zeros"),
        ({"NODE_RANK": "", "MASTER_ADDR": "a"}, trainer(1, 2), r"nobody has started the other nodes"),
        ({"NODE_RANK": "1", "MASTER_ADDR": ""}, trainer(1, 2), r"nobody has started the other nodes"),
        ({**TORCHRUN, "RANK": "2"}, trainer(2), r"RANK = 2: WORLD_SIZE = 2; count from 0"),
    ],
)
def test_ranks_that_cannot_come_together(environment: dict[str, str], settings: Trainer, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        forget_other_jobs(settings, environment)


@pytest.mark.parametrize("name", ["PL_TRAINER_MAX_STEPS", "ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING"])
def test_variables_of_other_trainers_change_no_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PL_OTHER", "1")
    found = worker_environment()
    assert "PL_OTHER" in found and name not in found
