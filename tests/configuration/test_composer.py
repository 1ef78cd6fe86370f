"""Jobs that are put together from few compositions are those that Hydra composes."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from longsafety.configuration.compose import compose_jobs, register_roots
from longsafety.configuration.composer import ALONE, _composed
from longsafety.configuration.places import CONF, SWEEPS
from longsafety.configuration.versions import BASE


@pytest.mark.parametrize("group", sorted(ALONE))
def test_a_group_that_stands_alone_writes_its_own_section_only(group: str) -> None:
    for file in (CONF / group).glob("*.yaml"):
        text = file.read_text("utf-8")
        included = (yaml.safe_load(text) or {}).get("defaults", [])
        assert "@package" not in text and all(isinstance(name, str) and "/" not in name for name in included), file


def test_no_shipped_config_chooses_an_option_by_another() -> None:
    for file in [*CONF.rglob("*.yaml"), *SWEEPS.rglob("*.yaml")]:
        assert "${" not in str(yaml.safe_load(file.read_text("utf-8")).get("defaults", "")), file


@pytest.mark.slow
def test_a_product_of_groups_and_values_is_what_hydra_composes() -> None:
    swept = {
        "scale": ["smoke", "paper"],
        "data_mix": ["base", "longsafety_twins"],
        "length": ["1k", "4k"],
        "model": ["smollm2", "qwen2_5_7b"],
        "training.epochs": ["1", "3"],
        "training.optimizer": ["adamw", "adamw_8bit"],
    }
    jobs = compose_jobs([f"{key}={','.join(values)}" for key, values in swept.items()], multirun=True)
    assert [job.varied for job in jobs] == [
        dict(zip(swept, values, strict=True)) for values in product(*swept.values())
    ]
    register_roots()
    with initialize_config_dir(str(CONF), **BASE):
        for job in jobs[::5]:
            config = compose("config", [f"{key}={value}" for key, value in job.varied.items()])
            assert job.config == OmegaConf.to_container(config, resolve=True), job.varied


def test_sections_that_are_swept_do_not_add_up() -> None:
    jobs = compose_jobs(["scale=smoke", "length.rope={kind: linear},{factor: 2.0}"])
    assert [(job.config["length"]["rope"]["kind"], job.config["length"]["rope"]["factor"]) for job in jobs] == [
        ("linear", None),
        ("none", 2.0),
    ]


@pytest.mark.slow
def test_commands_that_differ_in_values_share_a_composition(tmp_path: Path) -> None:
    own = tmp_path / "experiment"
    own.mkdir()
    (own / "mine.yaml").write_text("# @package _global_\nname: mine\n", "utf-8")
    typed = ["scale=smoke", "+experiment=mine"]
    compose_jobs([*typed, "seed=1"], str(tmp_path))
    before = _composed.cache_info()
    [job] = compose_jobs([*typed, "seed=2"], str(tmp_path))
    assert _composed.cache_info().misses == before.misses and job.config["seed"] == 2
    (own / "mine.yaml").write_text("# @package _global_\nname: changed\n", "utf-8")
    [job] = compose_jobs([*typed, "seed=2"], str(tmp_path))
    assert job.config["name"] == "changed"
