"""A Slurm cluster of one node, this machine, from Debian's ``slurm-wlm`` and ``munge``; needs root. Nothing is left of
it: neither daemons nor files.

``python -m tests.slurm.cluster COMMAND …`` executes a command within it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
_SECONDS = 120
_CONF = """
ClusterName=longsafety
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=20
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=5
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=60
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    if programs := [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]:
        return f"Slurm is not installed ({', '.join(programs)} missing): apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "a cluster's daemons need root"


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """The variables with which commands find the cluster."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munged's user must get at its socket
    environment = {**_plain(), "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
    try:
        with ExitStack() as daemons:
            _start_munge(folder / "munge", daemons)
            for name in ("state", "spool"):
                (folder / name).mkdir()
            text = _CONF.format(host=_host(), ports=_free_ports(), folder=folder)
            (folder / "slurm.conf").write_text(text, "utf-8")
            daemons.enter_context(_daemon(["slurmctld", "-D"], environment, folder / "slurmctld.out"))
            daemons.enter_context(_daemon(["slurmd", "-D"], environment, folder / "slurmd.out"))
            said = ["sinfo", "--noheader", "--format=%T"]
            _until(lambda: _output(said, environment).strip() == "idle", f"the node to be idle, see {folder}")
            yield environment
            _end_jobs(environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start_munge(folder: Path, daemons: ExitStack) -> None:
    """munged, as its own user, with a key and a socket of its own."""
    folder.mkdir()
    (folder / "key").write_bytes(secrets.token_bytes(128))
    (folder / "key").chmod(0o400)
    for path in (folder, folder / "key"):
        shutil.chown(path, "munge", "munge")
    files = {"key": "key", "socket": "socket", "pid": "pid", "log": "log", "seed": "seed"}
    options = [f"--{option}{'' if option == 'socket' else '-file'}={folder / name}" for option, name in files.items()]
    command = ["munged", "--foreground", *options]
    environment = {**os.environ, "PATH": _path()}
    daemons.enter_context(_daemon(command, environment, folder.with_name("munge.out"), user="munge"))
    _until((folder / "socket").exists, "munged's socket")


@contextmanager
def _daemon(command: list[str], environment: dict[str, str], log: Path, *, user: str | None = None) -> Iterator[None]:
    """A daemon in a group of its own, which is ended with what it has started."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    try:
        yield
    finally:
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        except ProcessLookupError:
            process.wait()


def _end_jobs(environment: dict[str, str]) -> None:
    """Cancels what is left and waits until no step of a job lives."""
    subprocess.run(["scancel", "--me"], env=environment, check=False)
    _until(lambda: not _output(["squeue", "--noheader"], environment).strip(), "the jobs to end")


def _output(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def _until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {_SECONDS} s for {what}")
        time.sleep(0.2)


def _free_ports() -> list[int]:
    with ExitStack() as sockets:
        found = [sockets.enter_context(socket.socket()) for _ in range(2)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _plain() -> dict[str, str]:
    """Without the variables of an allocation that this process may be in."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}


if __name__ == "__main__":
    with cluster() as variables:
        sys.exit(subprocess.run(sys.argv[1:], env=variables, check=False).returncode)
