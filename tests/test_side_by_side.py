"""Several commands at once in one folder of outputs: each stage is made once, and none of them disturbs another."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Place

SMALL = ["scenario.train_samples=12", "scenario.bench_items=3", "data_mix.budget=6", "data_mix.budget_unit=samples"]
SWEEPS = {
    "one": ["data_mix=base,longsafety"],
    "other": ["data_mix=longsafety,benign_only"],
    "single": ["data_mix=longsafety"],
}
MADE = re.compile(r"^  (\w+) +[\d.]+ s  (\w{12})$", re.MULTILINE)
"""A line about a stage that a command has made itself."""


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_eight_commands_share_what_they_make(place: Place) -> None:
    names = ["one", "other", "one", "single", "one", "other", "single", "one"]
    with ThreadPoolExecutor(len(names)) as at_once:
        done = [*at_once.map(lambda name: place.run(*SMALL, "tracking=mlflow", f"name={name}", *SWEEPS[name]), names)]
    for name, command in zip(names, done, strict=True):
        assert command.returncode == 0, (name, command.stderr[-2000:])
        assert "Traceback" not in command.stderr
    made = Counter(found.groups() for command in done for found in MADE.finditer(command.stdout))
    assert made and set(made.values()) == {1}, made
    assert len(place.stages("weights")) == 2 and len(place.stages("answers")) == 3
    for name in SWEEPS:
        shown = {"\n".join(one.stdout.splitlines()[-3:]) for one, own in zip(done, names, strict=True) if own == name}
        assert len(shown) == 1, shown
    with closing(sqlite3.connect(place.outputs / "mlflow.db")) as store:
        logged = store.execute(
            "select e.name, r.name, r.status from runs r join experiments e on e.experiment_id = r.experiment_id"
        ).fetchall()
    assert Counter(logged) == Counter(
        [(sweep, sweep, "FINISHED") for sweep in SWEEPS]
        + [
            (sweep, f"{arm} at 256", "FINISHED")
            for sweep, arms in (
                ("one", "base longsafety"),
                ("other", "longsafety benign_only"),
                ("single", "longsafety"),
            )
            for arm in arms.split()
        ]
    )
