"""The process that workers are forked from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from longsafety.pipeline import workers
from tests import forked


def serve(folder: str, asked: list[list[str]]) -> None:
    """Writes what :func:`workers.serve` did, and the statuses that it told, into files of ``folder``."""
    os.setsid()
    place = Path(folder)
    workers.import_slow = lambda: (place / "imported").touch()
    reads, commands = os.pipe()
    told, statuses = os.pipe()
    os.write(commands, "".join(json.dumps(one) + "\n" for one in asked).encode())
    os.close(commands)
    workers.serve(reads, statuses, lambda arguments: len(arguments))
    (place / "told").write_bytes(os.read(told, 1000))
    os._exit(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "imports"),
    [
        ([["compare", "a"]], False),
        ([["run", "a", "b"]], True),
        ([["prepare"], ["run", "a"], ["compare", "a"]], True),
    ],
)
def test_nobody_waits_for_imports_after_the_last_worker(asked: list[list[str]], imports: bool, tmp_path: Path) -> None:
    process = forked.server().Process(target=serve, args=(str(tmp_path), asked))
    process.start()
    process.join(60)
    assert (tmp_path / "told").read_text().split() == [str(len(one)) for one in asked]
    assert (tmp_path / "imported").exists() == imports
