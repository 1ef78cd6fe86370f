"""The attention that is chosen, and what is refused for want of a package or of the hardware."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from longsafety.errors import ConfigError
from longsafety.model import kernels
from longsafety.model.device import chosen_precision
from longsafety.model.kernels import (
    Choice,
    chosen_attention,
    loaded_attention,
    missing_packages,
    packed_attention,
    use_flash,
)
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
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_on_the_processor_auto_is_sdpa() -> None:
    assert chosen_attention(settings(trainer={"accelerator": "cpu"})).name == "sdpa"
    assert chosen_attention(settings(trainer={"accelerator": "cpu"}, model={"attention": "eager"})).name == "eager"


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
    assert chosen_attention(settings(**changes)).name == chosen


FA3, FA4 = "flash_attn_interface", "flash_attn.cute"
TABLE = [  # compute capability, torch, cuDNN, packages → name, implementation, what the reason says
    ((8, 0), "2.10.0", 91002, (), "varlen", "FA2", "compute capability 8.0; FA2 of torch"),
    ((8, 0), "2.11.0", 91900, ("flash_attn",), "varlen", "FA2", "flash-attn has the same kernels as torch"),
    ((8, 0), "2.13.0", 91900, (FA3,), "varlen", "FA2", "FA2 of torch"),
    ((8, 9), "2.13.0", 91900, (), "varlen", "FA2", "compute capability 8.9; FA2 of torch"),
    ((9, 0), "2.10.0", 91002, (), "varlen", "FA2", "torch 2.10.0 with cuDNN 91002 does not prefer cuDNN; FA2"),
    ((9, 0), "2.10.0", 91002, (FA3,), "varlen", "FA2", "torch 2.10.0 cannot activate FA3"),
    ((9, 0), "2.11.0", 91002, (), "varlen", "FA2", "torch 2.11.0 with cuDNN 91002 does not prefer cuDNN"),
    ((9, 0), "2.11.0", 91900, (), "varlen+cudnn", "FA2", "(FA3) is not installed; cuDNN 91900 for long chats"),
    ((9, 0), "2.11.0", 91900, (FA3,), "varlen", "FA3", "flash_attn_interface is installed"),
    ((9, 0), "2.13.0", 91900, ("flash_attn",), "varlen+cudnn", "FA2", "cuDNN 91900"),
    ((9, 0), "2.13.0", 91900, (FA3, "flash_attn"), "varlen", "FA3", "flash_attn_interface is installed"),
    ((10, 0), "2.13.0", 91900, ("flash_attn", FA4), "varlen", "FA4", "flash_attn.cute is installed"),
    ((10, 0), "2.13.0", 91900, (), "varlen+cudnn", "FA2", "flash_attn.cute (FA4) is not installed"),
    ((12, 0), "2.13.0", 91900, (FA4,), "varlen", "FA2", "FA2 of torch"),
    ((7, 5), "2.10.0", 91002, (), "sdpa", "FA2", "needs an Ampere GPU"),
    ((7, 5), "2.11.0", 91900, ("flash_attn",), "sdpa", "FA2", "needs an Ampere GPU"),
    ((7, 5), "2.13.0", 91900, (FA3,), "sdpa", "FA2", "needs an Ampere GPU or a newer one, and this is a Pretended"),
]  # fmt: skip


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("card", "version", "cudnn", "packages", "name", "kind", "why"), TABLE)
def test_the_choice_and_its_reason(
    card: tuple[int, int], version: str, cudnn: int, packages: tuple[str, ...], name: str, kind: str, why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: card)
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: object() if package in packages else None)
    if version.startswith("2.10"):
        monkeypatch.delattr(torch.nn.attention, "activate_flash_attention_impl")
    else:
        monkeypatch.setattr(torch.nn.attention, "activate_flash_attention_impl", lambda kind: None, raising=False)
    for found in (
        packed_attention(gpu=True, half=True),
        chosen_attention(settings(trainer={"precision": "bf16-true"})),
    ):
        assert (found.name, found.implementation) == (name, kind)
        assert why in found.reason


def test_a_flash_that_cannot_be_activated_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    use_flash(Choice("varlen", "pretended", "FA3"))
    assert "FA3 cannot be used (" in capsys.readouterr().out


@pytest.mark.usefixtures("gpu")
def test_an_old_gpu_refuses_flash_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(ConfigError, match=r"model\.attention = varlen: needs an Ampere GPU .*Pretended; set "):
        chosen_attention(settings(model={"attention": "varlen"}))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("native", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_emulated_bfloat16_does_not_count(native: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turing and Volta emulate it: torch says yes unless it is asked without emulation."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert chosen_precision("auto", "gpu", trains=True) == (precision, "Pretended")


@pytest.mark.parametrize(("installed", "refused"), [("0.19.2", True), ("0.19.8", False), (None, False)])
def test_a_deepspeed_that_fails_is_refused(
    installed: str | None, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_installed_version", lambda package: installed)
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: object())
    found = missing_packages(settings(trainer={"strategy": "deepspeed"}))
    assert [line.startswith("trainer.strategy = deepspeed: deepspeed 0.19.2 fails") for line in found] == [
        True
    ] * refused


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
