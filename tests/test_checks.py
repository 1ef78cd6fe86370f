"""Mistakes in settings: all told together, each with its key, value, rule and fix, before anything is made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from longsafety.compose import compose_jobs, settle
from longsafety.errors import ConfigError


def problems(*arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settle(compose_jobs(arguments))
    return caught.value.problems


def only(lines: list[str], key: str) -> str:
    """The one problem that is about ``key``."""
    found = [line for line in lines if re.match(rf"{re.escape(key)}( =|:)", line)]
    assert len(found) == 1, lines
    return found[0]


def test_all_mistakes_are_reported_together() -> None:
    lines = problems("scale=smoke", "training.epoch=2", "training.lr_peak=fast", "length=16k")
    assert len(lines) == 3
    assert re.fullmatch(
        r"training\.epoch = 2: unknown key; did you mean training\.epochs\?", only(lines, "training.epoch")
    )
    assert re.fullmatch(
        r"training\.lr_peak = 'fast': should be a valid number; change the value", only(lines, "training.lr_peak")
    )
    assert re.fullmatch(
        r"length\.max_tokens = 16384: .*2048-token window of model tiny; give at most 1792 or another model",
        only(lines, "length.max_tokens"),
    )


def test_the_error_counts_and_lists_the_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"(?s)^2 settings are wrong:\n  \S+.*\n  \S+.*$"):
        settle(compose_jobs(["scale=smoke", "training.epoch=2", "seed=-1"]))


@pytest.mark.parametrize(
    ("arguments", "key", "rest"),
    [
        (["trainning.epochs=2"], "trainning", r" = \{'epochs': 2\}: unknown key; did you mean training\?"),
        (["scenario.tasks.Foo.train=1"], "scenario.tasks.Foo.bench", ": is missing; give it a value"),
        (["stages=[score,cook]"], "stages.1", " = 'cook': should be 'build', .*; change the value"),
        (["training.epochs=true"], "training.epochs", " = True: should be a valid integer; change the value"),
        (["seed='1'"], "seed", " = '1': should be a valid integer; change the value"),
        (["trainer.strategy=fsdp"], "trainer.strategy", " = 'fsdp': should be 'auto', 'ddp' or .*; change the value"),
        (["trainer.strateggy=ddp"], "trainer.strateggy", r" = 'ddp': unknown key; did you mean trainer\.strategy\?"),
        (["training.lr_peak=${nix}"], "training.lr_peak", ": .*'nix' not found; mend the interpolation"),
        (["data_mix.budget=17"], "data_mix.budget", " = 17: the scenario builds 16 .*; give at most 16, .*"),
        (["data_mix.sources.longsafety.share=0.5"], "data_mix.sources", ".*sum to 0.5; make them sum to 1"),
        (["training.batch_size=6"], "training.batch_size", " = 6: not a multiple of .*; change one of them"),
        (["tracking.uri=mlruns"], "tracking.uri", r" = 'mlruns': is a plain path.*; give sqlite:///PATH\.db .*"),
        (["length.train_tokens=9999"], "length.train_tokens", " = 9999: .*; give at most 1792 or another model"),
        (
            ["scoring=official", "evaluation.scorers=[likelihood]"],
            "scoring",
            " = official: .*; add letter to evaluation.scorers",
        ),
        (
            ["trainer=deepspeed_zero3", "trainer.accelerator=cpu"],
            "trainer.strategy",
            " = deepspeed: needs .*; choose .*",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_one_mistake_has_key_value_rule_and_fix(arguments: list[str], key: str, rest: str) -> None:
    line = only(problems("scale=smoke", *arguments), key)
    assert re.fullmatch(re.escape(key) + rest, line), line


def test_a_wrong_value_of_two_types_is_one_line() -> None:
    assert len(problems("scale=smoke", "trainer.devices=0")) == 1


def test_a_rule_over_a_broken_key_is_left_out() -> None:
    """The window is unknown here, so nothing is said about the length."""
    lines = problems("scale=smoke", "model.window=big", "length=16k")
    assert [line.split(" ")[0] for line in lines] == ["model.window"]


def test_mistakes_of_all_jobs_are_reported_once_each() -> None:
    lines = problems("scale=smoke", "+experiment=mix_ablation", "length=1k,4k,8k", "training.epoch=2")
    assert [line.split(":")[0] for line in lines] == [
        "training.epoch = 2",
        "length.max_tokens = 4096",
        "length.max_tokens = 8192",
    ]


