"""Loading: what fixes a model, what a folder must hold, and LoRA."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import BatchEncoding

from longsafety import settings
from longsafety.errors import ConfigError, DataError
from longsafety.model import load, smollm2, tiny
from longsafety.model.lora import add_lora
from longsafety.model.source import identity
from longsafety.model.tokenizer import load_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model(source: str | Path = "tiny", **keys: Any) -> settings.Model:
    return settings.Model(name="m", source=str(source), window=256, **keys)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    load.load_model(model(), cache, seed=0)
    return cache


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A complete local model that a test may damage."""
    return Path(shutil.copytree(tiny.model_folder(made, 256, 0), tmp_path / "local"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_tiny_end_to_end(made: Path) -> None:
    network, again = (load.load_model(model(attention="eager"), made, seed=0) for _ in range(2))
    tokenizer = load_tokenizer(model(), made)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], return_tensors="pt", return_dict=True)
    assert isinstance(ids, BatchEncoding)
    with torch.inference_mode():
        first, second = network(**ids).logits, again(**ids).logits
    assert torch.equal(first, second)
    assert first.dtype == torch.float32
    assert not network.training
    assert network.config._attn_implementation == "eager"


def test_a_bfloat16_folder_becomes_float32(folder: Path, tmp_path: Path) -> None:
    weights = {name: value.bfloat16() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    network = load.load_model(model(folder), tmp_path, seed=0)
    assert {value.dtype for value in network.parameters()} == {torch.float32}


@pytest.mark.slow
def test_identity_is_cheap(made: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom longsafety.settings import Model\n"
        "from longsafety.model.source import identity\n"
        f"identity(Model(name='m', source='tiny', window=256), Path({str(made)!r}))\n"
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_identity_of_a_folder_follows_its_content(folder: Path, tmp_path: Path) -> None:
    first = identity(model(folder), tmp_path)
    (folder / "README.md").write_text("notes")
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert identity(model(folder), tmp_path) == identity(model(moved), tmp_path) == first
    for name in ("config.json", "tokenizer.json", "chat_template.jinja"):
        path = moved / name
        before, content = identity(model(moved), tmp_path), path.read_bytes()
        path.write_bytes(content.replace(b"e", b"a", 1))
        assert identity(model(moved), tmp_path) != before
    os.utime(folder / "model.safetensors", ns=(0, 1))
    assert identity(model(folder), tmp_path) == first, "weights are known by their content"
    about = (folder / "model.safetensors").stat()
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    os.utime(folder / "model.safetensors", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert identity(model(folder), tmp_path) != first, "of one size and time, as after cp -p"


@pytest.mark.parametrize(
    ("removed", "lacks"),
    [
        ("config.json", r"lacks config\.json;"),
        ("tokenizer.json", r"lacks a tokenizer \(tokenizer\.json\);"),
        ("model.safetensors", r"lacks weights \(model\.safetensors\);"),
    ],
)
def test_incomplete_folder(folder: Path, tmp_path: Path, removed: str, lacks: str) -> None:
    (folder / removed).unlink()
    for attempt in (identity, lambda m, cache: load.load_model(m, cache, seed=0)):
        with pytest.raises(DataError, match=rf"local: not a complete model, it {lacks}"):
            attempt(model(folder), tmp_path)


def test_missing_shard(folder: Path, tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"lacks model-00002-of-00002\.safetensors;"):
        identity(model(folder), tmp_path)


def test_weights_that_would_stay_random(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lack 1 of the model's weights \(model\.layers\.1\.mlp\.up_proj"):
        load.load_model(model(folder), tmp_path, seed=0)


def test_damaged_files(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").write_text("[]")
    with pytest.raises(DataError, match=r"local: its tokenizer cannot be read \(.+\)"):
        load_tokenizer(model(folder), tmp_path)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"local: its model cannot be read \(.+\)"):
        load.load_model(model(folder), tmp_path, seed=0)
    (folder / "config.json").write_text("{\n oops")
    with pytest.raises(DataError, match=r"config\.json:2: not JSON"):
        load.load_model(model(folder), tmp_path, seed=0)


def test_code_of_a_model_is_not_executed(folder: Path, tmp_path: Path) -> None:
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: ...\n")
    edit_json(folder / "config.json", lambda c: c.update(model_type="theirs", auto_map={"AutoConfig": "code.C"}))
    for attempt in (load_tokenizer, lambda m, cache: load.load_model(m, cache, seed=0)):
        with pytest.raises(DataError, match=r"no architecture 'theirs', and code .* is not executed"):
            attempt(model(folder), tmp_path)
    edit_json(folder / "config.json", lambda c: c.update(model_type="llama"))
    load.load_model(model(folder), tmp_path, seed=0)
    assert not (tmp_path / "ran").exists()


def test_no_chat_template(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match=r"local: model path without a chat template; .* add a chat_template\.jinja"):
        load_tokenizer(model(folder), tmp_path)


def test_pad_token_is_the_end_token_where_there_is_none(folder: Path, tmp_path: Path) -> None:
    edit_json(folder / "tokenizer_config.json", lambda c: c.pop("pad_token"))
    tokenizer = load_tokenizer(model(folder), tmp_path)
    assert tokenizer.pad_token == tokenizer.eos_token == "<|im_end|>"
    edit_json(folder / "tokenizer_config.json", lambda c: c.pop("eos_token"))
    with pytest.raises(DataError, match=r"has no end token; name an eos_token in tokenizer_config\.json"):
        load_tokenizer(model(folder), tmp_path)


@pytest.mark.parametrize("source", ["/nowhere/model", "./model", "a/b/c"])
def test_no_such_folder(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"model\.source = '{source}': no such folder; give a folder"):
        identity(model(source), tmp_path)


def test_hub_name_offline(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for attempt in (identity, load_tokenizer, lambda m, cache: load.load_model(m, cache, seed=0)):
        with pytest.raises(
            DataError, match=r"model\.source = 'owner/name': neither .* \(owner/name: the .*Offline.*\)"
        ):
            attempt(model("owner/name"), tmp_path)

    repository = tmp_path / "hub" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = Path(shutil.copytree(folder, repository / "snapshots" / COMMIT))
    assert identity(model("owner/name"), tmp_path) == f"owner/name@{COMMIT}"
    assert identity(model("owner/name", revision=COMMIT), tmp_path) == f"owner/name@{COMMIT}"
    load.load_model(model("owner/name"), tmp_path, seed=0)
    (snapshot / "model.safetensors").unlink()
    load_tokenizer(model("owner/name"), tmp_path)
    with pytest.raises(DataError, match=r"model\.source = 'owner/name'.*OfflineModeIsEnabled"):
        load.load_model(model("owner/name"), tmp_path, seed=0)


def test_a_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"model\.source = 'no name': neither smollm2, tiny, a folder"):
        identity(model("no name"), tmp_path)


def test_smollm2_is_resolved_once(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    calls: list[Path] = []

    def fill(target: Path) -> str:
        calls.append(target)
        shutil.copytree(folder, target, dirs_exist_ok=True)
        return COMMIT

    monkeypatch.setattr(smollm2, "fill_from_hub", fill)
    cache = tmp_path / "cache"
    assert identity(model("smollm2"), cache) == f"smollm2-135m-instruct:hub:{COMMIT}"
    load_tokenizer(model("smollm2"), cache)
    load.load_model(model("smollm2"), cache, seed=0)
    assert len(calls) == 1


@pytest.mark.parametrize("local", [False, True])
def test_revision_needs_a_hub_name(folder: Path, tmp_path: Path, local: bool) -> None:
    with pytest.raises(ConfigError, match=r"model\.revision = 'v1': only a hub name .* set model\.revision=null"):
        identity(model(folder if local else "tiny", revision="v1"), tmp_path)


def test_attention_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"model\.attention = flash_attention_2: .* set model\.attention=auto"):
        load.load_model(model(attention="flash_attention_2"), made, seed=0)


def test_lora_is_seeded_and_changes_nothing_at_first(made: Path) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    network = load.load_model(model(), made, seed=0)
    before = network(ids).logits
    first = add_lora(network, settings.Lora(r=4), 1)
    assert torch.equal(first(ids).logits, before)
    trainable = {name: value for name, value in first.named_parameters() if value.requires_grad}
    assert trainable and all("lora_" in name for name in trainable)
    assert len(trainable) == 2 * 7 * 2
    same, other = (add_lora(load.load_model(model(), made, seed=0), settings.Lora(r=4), seed) for seed in (1, 2))
    name = next(name for name in trainable if "lora_A" in name)
    assert torch.equal(trainable[name], same.get_parameter(name))
    assert not torch.equal(trainable[name], other.get_parameter(name))


def test_lora_targets_by_name_and_by_expression(made: Path) -> None:
    for targets in (["q_proj", "v_proj"], r".*\.(q|v)_proj"):
        adapted = add_lora(load.load_model(model(), made, seed=0), settings.Lora(targets=targets), 0)
        assert sum(value.requires_grad for value in adapted.parameters()) == 2 * 2 * 2


@pytest.mark.parametrize("targets", ["q_proj", ["q_proj", "query"], [], ["norm"], r"(q_proj"])
def test_lora_targets_that_match_nothing(made: Path, targets: str | list[str]) -> None:
    network = load.load_model(model(), made, seed=0)
    with pytest.raises(ConfigError, match=r"model\.lora\.targets = .*(use all-linear)") as caught:
        add_lora(network, settings.Lora(targets=targets), 0)
    text = str(caught.value)
    assert repr(targets) in text
    if targets != "(q_proj":
        assert text.endswith("down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj")
    if targets == ["q_proj", "query"]:
        assert "['query'] match no linear layer" in text


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("truncation", {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}),
        (
            "padding",
            {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
             "pad_token": "<|endoftext|>"},
        ),
    ],
)  # fmt: skip
def test_what_a_tokenizer_kept_of_an_earlier_call_changes_no_text(
    folder: Path, tmp_path: Path, key: str, kept: dict[str, Any]
) -> None:
    text = "What is said?"
    plain = load_tokenizer(model(folder), tmp_path).backend_tokenizer.encode(text).ids
    edit_json(folder / "tokenizer.json", lambda c: c.update({key: kept}))
    assert load_tokenizer(model(folder), tmp_path).backend_tokenizer.encode(text).ids == plain
    assert 2 < len(plain) < 9
