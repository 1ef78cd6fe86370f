"""Sweeps whose runs would be one, settings of Hydra that nobody reads, names and seeds that cannot be used."""

from __future__ import annotations

import re

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError


def refused(*typed: str) -> str:
    with pytest.raises(ConfigError) as error:
        settle(compose_jobs(["scale=smoke", *typed]))
    return str(error.value)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("seed=0,0", r"seed = 0: twice in this sweep; give each value once"),
        ("training.lr_peak=1e-3,0.001", r"training\.lr_peak = 0\.001: twice"),
        ("data_mix=longsafety,base,longsafety", r"data_mix = longsafety: twice"),
        ("length=256,512,256", r"length = 256: twice"),
    ],
)
def test_a_value_that_is_swept_twice(typed: str, line: str) -> None:
    assert re.search(line, refused(typed))


def test_values_that_differ_are_no_doubles() -> None:
    assert len(settle(compose_jobs(["scale=smoke", "seed=0,1", "training.lr_peak=1e-3,1e-4"]))) == 4


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (
            "hydra.run.dir=/x",
            r"hydra\.run\.dir = /x: is not read: results lie below paths\.outputs, .* paths\.outputs=/x",
        ),
        ("hydra.sweep.dir=/x", r"hydra\.sweep\.dir = /x: .*; set paths\.outputs=/x"),
        ("+hydra.output_subdir=null", r"hydra\.output_subdir = null: is not read: .*; set paths\.outputs=FOLDER$"),
        ("hydra.job.chdir=true", r"hydra\.job\.chdir = true: is not read: a run stays in the folder"),
        ("hydra/launcher=submitit_slurm", r"hydra/launcher = submitit_slurm: is not read: .*; leave it out"),
        ("hydra/sweeper=optuna", r"hydra/sweeper = optuna: is not read: a sweep is the product of its values"),
        ("hydra.verbose=true", r"hydra\.verbose = true: is not read"),
    ],
)
def test_what_hydra_alone_would_read(typed: str, line: str) -> None:
    assert re.search(line, refused(typed))


def test_what_of_hydra_is_read() -> None:
    assert len(compose_jobs(["scale=smoke", "hydra.mode=MULTIRUN"])) == 1


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("seed=4294967296", r"seed = 4294967296: .*less than 4294967296"),
        ("name=", r"name = "),
        ("name='a\nb'", r"name = "),
        (f"name={'n' * 300}", r"name = "),
    ],
)
def test_seeds_and_names_that_cannot_be_used(typed: str, line: str) -> None:
    assert re.search(line, refused(typed))
