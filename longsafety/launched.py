"""Who started this process, and as which rank: variables that other jobs have left behind make no rank of it.

torchrun, Slurm's srun and a command on each node start ranks from outside. A shell in an allocation, a container's
platform and an earlier job set the same variables, and nobody else will come.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from longsafety.errors import ConfigError
from longsafety.settings import Trainer

_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")
_NODES = ("NODE_RANK", "MASTER_ADDR")
_RANKS = (*_TORCHRUN, *_NODES, "GROUP_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
_ELASTIC = "TORCHELASTIC_"
_JSRUN = ("JSM_NAMESPACE_", "LSB_DJOB_RANKFILE")
"""How variables begin by which libraries take a process for a rank of torchrun, or of LSF's jsrun, which starts none of
ours."""
_SLURM = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE")
_INTERACTIVE_STEP = 0xFFFFFFF0
"""Slurm numbers the steps of a shell and of a batch script from here on."""
_TELLING = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")


def forget_other_jobs(trainer: Trainer, environment: Mapping[str, str] = os.environ) -> tuple[list[str], list[str]]:
    """The variables that must go before anything reads them, and those of them that would make this another rank.

    Raises ConfigError where a launcher has started another number of ranks than ``trainer`` has, or none for its nodes.
    """
    devices = 1 if trainer.accelerator == "cpu" and trainer.devices == "auto" else trainer.devices
    count = devices * trainer.num_nodes if isinstance(devices, int) else None
    kept: tuple[str, ...] = ()
    if count != 1:
        kept = _kept(trainer, count, environment)
    gone = [name for name in dict.fromkeys((*_RANKS, *_SLURM)) if name in environment and name not in kept]
    gone += [name for name in environment if name.startswith(_JSRUN if kept == _RANKS else (*_JSRUN, _ELASTIC))]
    return gone, [f"{name} = {environment[name]}" for name in gone if name in _TELLING and environment[name] != "0"]


def _kept(trainer: Trainer, count: int | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The variables by which this process is a rank that was started from outside; none where it starts its own.

    An empty variable counts as one that is not set.
    """
    if all(environment.get(name) for name in _TORCHRUN):
        started = _number(environment, "WORLD_SIZE")
        if started > 1 and count in (None, started):
            _check_rank(environment, "RANK", started, "WORLD_SIZE")
            return _RANKS
        if "TORCHELASTIC_RUN_ID" in environment and started > 1:
            raise _other_number("torchrun", started, trainer)
    step = environment.get("SLURM_STEP_ID", environment.get("SLURM_STEPID", ""))
    if step.isdigit() and int(step) < _INTERACTIVE_STEP and "SLURM_PROCID" in environment:
        started = _number(environment, "SLURM_STEP_NUM_TASKS") or _number(environment, "SLURM_NTASKS")
        if started > 1 and count in (None, started):
            return (*_SLURM, "MASTER_ADDR", "MASTER_PORT")
        if started > 1:
            raise _other_number("srun", started, trainer)
    if trainer.num_nodes > 1:
        if not all(environment.get(name) for name in _NODES):
            raise ConfigError(
                [
                    f"trainer.num_nodes = {trainer.num_nodes}: nobody has started the other nodes; start the command "
                    "with srun or torchrun, or on each node with NODE_RANK, MASTER_ADDR and MASTER_PORT set"
                ]
            )
        _check_rank(environment, "NODE_RANK", trainer.num_nodes, "trainer.num_nodes")
        return (*_NODES, "MASTER_PORT")
    return ()


def _check_rank(environment: Mapping[str, str], name: str, count: int, of: str) -> None:
    """Refuses a number that none of ``count`` has: the others would wait for it, and it for the first."""
    value = environment[name]
    if not 0 <= _number(environment, name) < count or value != str(int(value)):
        raise ConfigError([f"{name} = {value}: {of} = {count}; count from 0, without zeros before the number"])


def _number(environment: Mapping[str, str], name: str) -> int:
    """The variable's value; -1 where it is no number, 0 where it is empty or not set."""
    value = environment.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else -1 if value else 0


def _other_number(who: str, started: int, trainer: Trainer) -> ConfigError:
    return ConfigError(
        [
            f"trainer.devices = {trainer.devices}: {who} has started {started} processes, and trainer.devices × "
            f"trainer.num_nodes = {trainer.devices} × {trainer.num_nodes}; make the numbers equal"
        ]
    )
