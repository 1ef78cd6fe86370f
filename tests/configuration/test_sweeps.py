"""What a sweep compares, and what its declared experiments say of themselves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import yaml

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.places import SWEEPS
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError
from longsafety.settings import Settings, baselines, effects

FILES = sorted(SWEEPS.glob("experiment/*.yaml"))


def settled(*arguments: str) -> list[Settings]:
    return settle(compose_jobs(["scale=smoke", *arguments]))


def labels(runs: Sequence[Settings]) -> list[str]:
    return [run.label for run in runs]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_says_what_it_asks_and_how_to_read_the_answer(path: object) -> None:
    text = path.read_text("utf-8")  # type: ignore[attr-defined]
    config = yaml.safe_load(text)
    comment = [line for line in text.splitlines() if line.startswith("# ")]
    assert config["question"].endswith("?") and config["name"] == path.stem  # type: ignore[attr-defined]
    assert config["hydra"]["mode"] == "MULTIRUN"
    assert any("Read: " in line for line in comment) and any("Cost: " in line for line in comment)


def test_every_scenario_of_a_sweep_has_its_own_baseline() -> None:
    runs = settled("scenario=query_harmful,fully_harmful", "data_mix=longsafety,base", "baseline=base")
    own = baselines(runs, "base")
    assert own == {label: f"base {label.split(' ', 1)[1]}" for label in labels(runs)}
    assert baselines(runs, None) == own
    by_name = "longsafety scenario=query_harmful"
    assert baselines(runs, by_name)[by_name] == by_name
    assert {(one.key, one.value, one.against_value) for one in effects(runs)} == {
        ("scenario", "fully_harmful", "query_harmful")
    }


def test_an_untrained_arm_is_there_once_whatever_is_trained() -> None:
    runs = settled("data_mix=base,longsafety", "training.lr_peak=1e-3,2e-3", "scenario.leave_out=[],[QH,HarmfulNIAH]")
    assert len(runs) == 5 and labels(runs)[0] == "base"
    assert labels(runs)[-1] == "longsafety training.lr_peak=0.002 scenario.leave_out=[QH,HarmfulNIAH]"
    assert baselines(runs, None) == dict.fromkeys(labels(runs), "base")
    trained = {name for name, count in runs[-1].scenario.tasks.items() if count.train}
    whole = {name for name, count in runs[1].scenario.tasks.items() if count.train}
    assert trained < whole and trained == {"ManyShotJailbreak"}
    assert [count.bench for count in runs[-1].scenario.tasks.values()] == [
        count.bench for count in runs[1].scenario.tasks.values()
    ]
    assert len(effects(runs)) == 4


def test_a_sweep_of_one_mix_is_compared_with_its_first_arm() -> None:
    runs = settled("data_mix=base", "scenario.bench_padding=random,related,repeated")
    assert set(baselines(runs, None).values()) == {"base scenario.bench_padding=random"}


def test_a_baseline_that_is_no_arm_is_refused() -> None:
    with pytest.raises(ConfigError, match="baseline = other: no arm of this command"):
        settled("data_mix=base,longsafety", "baseline=other")


def test_a_task_that_does_not_exist_cannot_be_left_out() -> None:
    with pytest.raises(ConfigError, match=r"scenario\.leave_out = \['HarmfulNiah'\]: no such task or scenario"):
        settled("scenario.leave_out=[HarmfulNiah]")


def test_further_tuning_begins_from_the_arm_without_it() -> None:
    [base, plain, more] = settled("data_mix=base,longsafety", "further.budget=0,100")
    assert len(base.phases) == len(plain.phases) == 1
    first, second = more.phases
    assert first.data_mix == plain.data_mix and second.data_mix.budget == 100
    assert {source.kind for source in second.data_mix.sources.values()} == {"long_align"}
