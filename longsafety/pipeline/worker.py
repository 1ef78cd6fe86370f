"""The process that executes one frozen file: a run, a sweep's comparison, or a share of the questions.

python -m longsafety.pipeline.worker run <folder with settings.yaml> [<folder with sweep.yaml>]
python -m longsafety.pipeline.worker prepare <folder with settings.yaml> …
python -m longsafety.pipeline.worker build <folder with settings.yaml> … (prepares what other machines train)
python -m longsafety.pipeline.worker compare <folder with sweep.yaml>
python -m longsafety.pipeline.worker ask <folder with settings.yaml> <folder with a share> <parent process>
python -m longsafety.pipeline.worker serve <pipe of commands> <pipe of exit statuses>
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from longsafety.environment import quiet
from longsafety.errors import ConfigError, LongSafetyError
from longsafety.host.interrupts import listen
from longsafety.host.machine import problem
from longsafety.pipeline.pipeline import execute, prepare
from longsafety.pipeline.run import Run
from longsafety.pipeline.slurm_job import requeueing
from longsafety.pipeline.status import noted
from longsafety.pipeline.workers import serve
from longsafety.ranks import PARENT, Follower, end_with_parent, first_rank, leading

LOGGED_AT_ONCE_SECONDS = 60
"""A run that took longer is logged when it ends, a shorter one with its sweep: MLflow takes seconds to import."""


def run(folder: Path, sweep: Path | None = None) -> None:
    """Executes a run, and logs a long one to its sweep; a rank other than the first only trains."""
    found = Run.load(folder)
    if not first_rank():
        if found.settings.trains:
            first = Follower(found.folder)  # before an import, in whose seconds the first rank may fail
            from longsafety.pipeline.weights import join

            join(found, first)
        return
    alone = found.settings.trainer.devices == 1 and found.settings.trainer.num_nodes == 1
    with noted(folder), nullcontext() if alone else leading(folder):
        execute(found)
    if sweep is not None and found.settings.tracks and sum(found.seconds.values()) > LOGGED_AT_ONCE_SECONDS:
        from longsafety.pipeline.compare import not_stopping, track

        with not_stopping():
            track(folder, sweep)


def prepare_all(folders: Sequence[Path], *, trains_here: bool = True) -> None:
    """Makes what comes before the trainings of a sweep. Raises ConfigError with everything that cannot succeed."""
    problems: dict[str, None] = {}
    for folder in folders:
        found = Run.load(folder)
        try:
            prepare(found, trains_here=trains_here)
        except LongSafetyError as error:
            lines = error.problems if isinstance(error, ConfigError) else [str(error)]
            problems |= dict.fromkeys(f"{line} ({found.settings.label})" for line in lines)
    if problems:
        raise ConfigError(list(problems))


def compare(folder: Path) -> None:
    """Compares the runs of a sweep."""
    from longsafety.pipeline.compare import compare

    compare(folder)


def ask(folder: Path, share: Path) -> None:
    """Answers a share of a run's questions."""
    from longsafety.pipeline.answers import ask_share

    ask_share(Run.load(folder), share)


def _outputs(folder: Path) -> Path:
    """The outputs folder that a run's or a sweep's folder lies in."""
    return next((up for up in folder.parents if (up / "stages").is_dir()), folder)


def main(arguments: list[str]) -> int:
    """Executes ``arguments`` and returns the exit status: 2 for a mistake outside the program, 130 when interrupted."""
    what, folder, *rest = arguments
    if what == "ask":
        end_with_parent(int(rest[1]))  # before the imports, which may take long
    elif parent := os.environ.pop(PARENT, None):
        end_with_parent(int(parent))
    elif not first_rank():
        end_with_parent()
    if what == "serve":
        quiet()
        serve(int(folder), int(rest[0]), main)
        return 0
    try:
        listen()
        quiet()
        if what == "run":
            with requeueing([Path(folder)]):
                run(Path(folder), *map(Path, rest))
        elif what in ("prepare", "build"):
            folders = [Path(folder), *map(Path, rest)]
            with requeueing(folders):
                prepare_all(folders, trains_here=what == "prepare")
        elif what == "compare":
            compare(Path(folder))
        else:
            ask(Path(folder), Path(rest[0]))
    except LongSafetyError as error:
        print(f"longsafety: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130 if first_rank() else 0  # Lightning kills the first rank for another that fails
    except Exception as error:
        line = problem(error, _outputs(Path(folder)))
        if line is None:
            raise
        print(f"longsafety: {line}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
