"""Exported models: complete, loadable by transformers and PEFT alone, with the trained model's logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import metadata_load
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from longsafety.errors import DataError
from longsafety.model import export as exporting
from longsafety.model.attention import NAME
from longsafety.model.export import export_weights
from longsafety.model.load import load_model, read_network
from longsafety.model.lora import add_lora
from longsafety.model.tokenizer import load_tokenizer
from longsafety.settings import Settings

pytestmark = pytest.mark.usefixtures("tiny_one_thread")
Make = Callable[..., Settings]
FACTS: dict[str, Any] = {
    "mix": [
        {"source": "longsafety", "samples": 48, "tokens": 9600, "supervised_tokens": 1200, "share": 0.75,
         "licence": "CC-BY-4.0", "fingerprint": "abc"},
        {"source": "long_align", "samples": 16, "tokens": 3200, "supervised_tokens": 400, "share": 0.25,
         "licence": "unknown", "fingerprint": "def"},
    ],
    "training": {"steps": 8, "final_loss": 1.23456, "precision": "32-true"},
}  # fmt: skip


@pytest.fixture
def make(tiny_cache: Path, tmp_path: Path) -> Make:
    def settings(tune: str = "full", window: int = 2048, rope: dict[str, Any] | None = None, **model: Any) -> Settings:
        return Settings.model_validate(
            {
                "name": "test", "label": "half", "scale": "smoke", "corpus": "embedded", "evaluation": {},
                "tracking": {}, "report": {}, "scenario": {"name": "s", "tasks": {}},
                "data_mix": {"name": "m", "sources": {
                    "own": {"kind": "chats", "path": str(tmp_path / "private" / "chats.jsonl"), "share": 1.0},
                }},
                "model": {"name": "tiny", "source": "tiny", "window": window, "tune": tune, **model},
                "length": {"name": "l", "max_tokens": 200, "rope": rope or {}},
                "training": {}, "trainer": {"name": "cpu", "accelerator": "cpu"},
                "paths": {"outputs": str(tmp_path / "outputs"), "cache": str(tiny_cache)},
            }
        )  # fmt: skip

    return settings


def trained(settings: Settings, folder: Path) -> Any:
    """What a training leaves in ``folder``, its attention's private name set: weights moved away from the base's."""
    model = settings.model
    network: Any = load_model(model, Path(settings.paths.cache), seed=settings.seed, rope=settings.length.rope)
    network.set_attn_implementation(NAME)
    if model.tune == "lora":
        network = add_lora(network, model.lora, settings.seed)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    (network.get_base_model() if model.tune == "lora" else network).set_attn_implementation("sdpa")
    return network.eval()


def logits(network: Any, start: int = 0) -> torch.Tensor:
    ids = torch.arange(10, 50)[None]
    with torch.inference_mode():
        result: torch.Tensor = network(input_ids=ids, position_ids=torch.arange(start, start + 40)[None]).logits
    return result


def texts(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".safetensors"
    }


def test_full(make: Make, tmp_path: Path) -> None:
    settings, folder = make(), tmp_path / "new" / "export"
    network = trained(settings, tmp_path / "weights")
    done = export_weights(settings, tmp_path / "weights", folder, facts=FACTS)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert [path.name for path in folder.parent.iterdir()] == ["export"]
    alone = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(logits(alone), logits(network))
    assert not torch.allclose(logits(alone), logits(load_model(settings.model, tmp_path / "cache", seed=0)), atol=0.01)
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert NAME not in "".join(texts(folder).values())
    assert done["max_difference"] == 0
    assert done["dtype"] == "float32"
    assert done["parameters"] == network.num_parameters()
    assert done["bytes"] == sum(path.stat().st_size for path in folder.iterdir())


def test_tokenizer_template_and_generation(make: Make, tmp_path: Path) -> None:
    settings, folder = make(), tmp_path / "export"
    trained(settings, tmp_path / "weights")
    export_weights(settings, tmp_path / "weights", folder, facts=FACTS)
    chat = [{"role": "user", "content": "Is it raining?"}]
    ours = load_tokenizer(settings.model, Path(settings.paths.cache))
    theirs = AutoTokenizer.from_pretrained(folder)
    assert theirs.apply_chat_template(chat) == ours.apply_chat_template(chat)
    assert theirs.pad_token == ours.pad_token
    assert "local_files_only" not in (folder / "tokenizer_config.json").read_text()
    assert GenerationConfig.from_pretrained(folder).eos_token_id == ours.eos_token_id


def test_lora_merged_and_unmerged(make: Make, tmp_path: Path) -> None:
    settings, folder = make("lora", lora={"r": 4, "alpha": 8}), tmp_path / "export"
    network = trained(settings, tmp_path / "weights")
    done = export_weights(settings, tmp_path / "weights", folder, facts=FACTS)
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(folder)), logits(network), atol=1e-5)
    base: Any = load_model(settings.model, Path(settings.paths.cache), seed=0)
    assert not torch.allclose(logits(base), logits(network), atol=0.01)
    assert torch.equal(logits(PeftModel.from_pretrained(base, str(folder / "adapter")).eval()), logits(network))
    assert done["adapter_max_difference"] == 0
    assert done["max_difference"] <= 1e-5
    assert {path.name for path in (folder / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] is None


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "abf"])
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_scaled_positions_are_carried(make: Make, tmp_path: Path, kind: str, tune: str) -> None:
    rope = {"kind": kind} | ({"theta": 5e5} if kind == "abf" else {})
    settings, folder = make(tune, 4096, rope), tmp_path / "export"
    network = trained(settings, tmp_path / "weights")
    export_weights(settings, tmp_path / "weights", folder, facts=FACTS)
    alone = AutoModelForCausalLM.from_pretrained(folder)
    base: Any = load_model(settings.model, Path(settings.paths.cache), seed=0)  # as the base model is, not scaled
    for start in (0, 4000):
        assert torch.allclose(logits(alone, start), logits(network, start), atol=1e-5)
    if tune == "lora":  # as the card says
        config = AutoConfig.from_pretrained(folder)
        base.save_pretrained(tmp_path / "base")
        scaled = AutoModelForCausalLM.from_pretrained(tmp_path / "base", config=config)
        adapted = PeftModel.from_pretrained(scaled, str(folder / "adapter")).eval()
        assert torch.equal(logits(adapted, 4000), logits(network, 4000))
        assert "AutoConfig" in (folder / "README.md").read_text()
    assert f"scaled rotary positions ({kind})" in (folder / "README.md").read_text()


def test_weights_kept_in_bfloat16_stay_so(make: Make, tmp_path: Path) -> None:
    settings, folder = make(), tmp_path / "export"
    network = trained(settings, tmp_path / "weights").to(torch.bfloat16)
    network.save_pretrained(tmp_path / "weights")
    done = export_weights(settings, tmp_path / "weights", folder, facts=FACTS)
    assert done["dtype"] == "bfloat16" == json.loads((folder / "config.json").read_text())["dtype"]
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16
    assert done["max_difference"] == 0


def test_card(make: Make, tmp_path: Path) -> None:
    settings, folder = make("lora"), tmp_path / "export"
    trained(settings, tmp_path / "weights")
    scores = [{"metric": "SafeResponse", "task": "all", "value": 0.51239, "low": None}]
    export_weights(settings, tmp_path / "weights", folder, facts=FACTS | {"scores": scores, "base_licence": "Llama3.1"})
    card = (folder / "README.md").read_text()
    header = metadata_load(folder / "README.md")
    assert header is not None
    assert header["license"] == "llama3.1"
    assert "base_model" not in header  # random weights are no repository
    assert header["library_name"] == "transformers"
    assert {"safety", "lora", "not-for-all-audiences"} <= set(header["tags"])
    assert "| longsafety | 48 | 9600 | 1200 | 0.75 | CC-BY-4.0 | abc |" in card
    assert "| final loss | 1.235 |" in card
    assert "| metric | task | value | low |\n|---|---|---|---|\n| SafeResponse | all | 0.5124 |  |" in card
    assert "lr_peak: 2.0e-05" in card
    assert "path: chats.jsonl" in card
    assert f"- torch {torch.__version__.split('+')[0]}" in card
    assert "Content warning" in card
    for name, text in texts(folder).items():
        assert str(tmp_path.parent) not in text and settings.paths.cache not in text, name


def test_card_without_licence_and_scores(make: Make, tmp_path: Path) -> None:
    settings = make().model_copy(update={"model": make().model.model_copy(update={"source": "Qwen/Qwen2.5-7B"})})
    done = {"dtype": "float32", "parameters": 1234567, "max_difference": 0.0}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exporting, "identity", lambda *_: "Qwen/Qwen2.5-7B@0123")
        card = exporting.render_card(settings, done, FACTS)
    (tmp_path / "README.md").write_text(card)
    header = metadata_load(tmp_path / "README.md")
    assert header is not None
    assert (header["license"], header["license_name"]) == ("other", "unknown")
    assert header["base_model"] == "Qwen/Qwen2.5-7B"
    assert "governs this model: **unknown**" in card
    assert "Not evaluated." in card
    assert "1,234,567, stored as float32" in card
    assert "lora" not in card.lower()


def test_a_folder_that_is_not_empty_is_refused_first(make: Make, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"export\.path = .*export: is not empty; give a new or empty folder"):
        export_weights(make(), tmp_path / "nowhere", tmp_path / "export", facts=FACTS)


@pytest.mark.parametrize(("tune", "name"), [("full", r"config\.json"), ("lora", r"adapter_config\.json")])
def test_no_weights(make: Make, tmp_path: Path, tune: str, name: str) -> None:
    with pytest.raises(DataError, match=rf"holds no {name}, which a training with model\.tune={tune} writes"):
        export_weights(make(tune), tmp_path, tmp_path / "export", facts=FACTS)


@pytest.mark.parametrize(("tune", "name"), [("full", "model"), ("lora", "adapter_model")])
def test_damaged_weights(make: Make, tmp_path: Path, tune: str, name: str) -> None:
    trained(make(tune), tmp_path / "weights")
    path = tmp_path / "weights" / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"weights: its (model|adapters) cannot be"):
        export_weights(make(tune), tmp_path / "weights", tmp_path / "export", facts=FACTS)
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_other_logits_leave_nothing(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tune: str) -> None:
    """A file that was damaged on its way to the disk."""
    settings = make(tune)
    trained(settings, tmp_path / "weights")
    name = "adapter/adapter_model.safetensors" if tune == "lora" else "model.safetensors"

    def damaged(folder: Path, *rest: Any) -> Any:
        network = read_network(folder, *rest)
        if folder.name.endswith(".partial"):
            path = folder / name
            save_file({key: value + 0.5 for key, value in load_file(path).items()}, path, metadata={"format": "pt"})
        return read_network(folder, *rest) if tune == "full" else network

    monkeypatch.setattr(exporting, "read_network", damaged)
    with pytest.raises(DataError, match=r"has other logits than the trained model \(they differ by .*nothing was kept"):
        export_weights(settings, tmp_path / "weights", tmp_path / "export", facts=FACTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights"]
