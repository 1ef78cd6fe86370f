"""The attention that is chosen, and what is refused for want of a package or of the hardware."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from longsafety.errors import ConfigError
from longsafety.model.kernels import chosen_attention, loaded_attention, missing_packages
from longsafety.settings import Settings


def settings(**sections: dict[str, Any]) -> Settings:
    whole: dict[str, Any] = {
        "name": "test", "scale": "smoke", "corpus": "embedded", "evaluation": {}, "tracking": {}, "report": {},
        "scenario": {"name": "s", "tasks": {"KeywordRAG": {"train": 1, "bench": 1}}},
        "data_mix": {"name": "m", "sources": {"a": {"kind": "longsafety", "share": 1}}},
        "model": {"name": "tiny", "source": "tiny", "window": 2048},
        "length": {"name": "l", "max_tokens": 200}, "training": {},
        "trainer": {"name": "t"}, "paths": {"outputs": "unused", "cache": "unused"},
    }  # fmt: skip
    for name, changes in sections.items():
        whole[name] = {**whole[name], **changes} if isinstance(changes, dict) else changes
    return Settings.model_validate(whole)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Pretended")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_on_the_processor_auto_is_sdpa() -> None:
    assert chosen_attention(settings(trainer={"accelerator": "cpu"})) == "sdpa"
    assert chosen_attention(settings(trainer={"accelerator": "cpu"}, model={"attention": "eager"})) == "eager"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({}, "varlen"),
        ({"trainer": {"precision": "bf16-true"}}, "varlen"),
        ({"trainer": {"precision": "32-true"}}, "sdpa"),
        ({"trainer": {"accelerator": "cpu"}}, "sdpa"),
        ({"training": {"packing": "none"}}, "sdpa"),
        ({"model": {"attention": "sdpa"}}, "sdpa"),
        ({"model": {"attention": "flex"}}, "flex"),
        ({"model": {"attention": "varlen"}}, "varlen"),
    ],
)
def test_on_a_gpu_auto_is_the_fastest_that_can(changes: dict[str, Any], chosen: str) -> None:
    assert chosen_attention(settings(**changes)) == chosen


@pytest.mark.usefixtures("gpu")
def test_on_an_old_gpu_auto_is_sdpa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert chosen_attention(settings()) == "sdpa"
    with pytest.raises(ConfigError, match=r"model\.attention = varlen: needs an Ampere GPU .*Pretended; set "):
        chosen_attention(settings(model={"attention": "varlen"}))


@pytest.mark.usefixtures("gpu")
def test_half_precision_alone() -> None:
    with pytest.raises(ConfigError, match=r"model\.attention = varlen: computes in bfloat16, and trainer\.precision"):
        chosen_attention(settings(model={"attention": "varlen"}, trainer={"precision": "32-true"}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("asked", ["varlen", "flex"])
def test_no_gpu(asked: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"model\.attention = {asked}: needs a CUDA GPU.*; set model\.attention=auto"
    ):
        chosen_attention(settings(model={"attention": asked}))
    with pytest.raises(ConfigError, match=r"trainer\.accelerator = gpu: .*; set trainer=cpu"):
        chosen_attention(settings(trainer={"accelerator": "gpu"}))


@pytest.mark.usefixtures("nothing_installed")
def test_packages_that_are_missing_are_all_named_and_none_is_imported() -> None:
    asked = settings(trainer={"strategy": "deepspeed"}, model={"attention": "flash_attention_2"})
    first, second = missing_packages(asked)
    assert "trainer.strategy = deepspeed: deepspeed is not installed; install longsafety[deepspeed]" in first
    assert "model.attention = flash_attention_2: " in second and "longsafety[flash]" in second
    assert missing_packages(asked.model_copy(update={"stages": ["plan"]})) == []
    untrained = asked.model_copy(update={"data_mix": settings(data_mix={"sources": {}}).data_mix})
    assert missing_packages(untrained) == [second]
    eight_bit = settings(training={"optimizer": "adamw_8bit"})
    assert missing_packages(eight_bit) == [
        "training.optimizer = adamw_8bit: torchao is not installed; install longsafety[optim]"
    ]


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is not None, reason="flash-attn is installed")
def test_flash_attention_that_is_not_installed_is_an_error_where_it_is_chosen() -> None:
    with pytest.raises(ConfigError, match=r"longsafety\[flash\]"):
        chosen_attention(settings(model={"attention": "flash_attention_2"}))


def test_networks_are_loaded_with_what_transformers_knows() -> None:
    asked = ("auto", "eager", "sdpa", "flash_attention_2", "varlen", "flex")
    loaded = ["sdpa", "eager", "sdpa", "flash_attention_2", "sdpa", "sdpa"]
    assert [loaded_attention(name) for name in asked] == loaded
