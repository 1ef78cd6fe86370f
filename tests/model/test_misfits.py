"""Local models whose files do not fit each other are refused in one line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from longsafety import settings
from longsafety.errors import ConfigError, DataError
from longsafety.model import tiny
from longsafety.model.load import load_model
from longsafety.model.source import identity
from longsafety.model.tokenizer import check_fits, load_tokenizer


def model(source: str | Path) -> settings.Model:
    return settings.Model(name="m", source=str(source), window=256)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model_folder(tmp_path_factory.mktemp("cache"), 256, 0)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A complete local model that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "local"))


def edit(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def add_weights(folder: Path, *names: str) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | {name: torch.zeros(4) for name in names}, path, metadata={"format": "pt"})


def change_weights(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    path = folder / "model.safetensors"
    save_file({name: change(weight) for name, weight in load_file(path).items()}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_read(folder: Path, tmp_path: Path, kind: torch.dtype) -> None:
    change_weights(folder, lambda weight: weight.to(kind))
    assert load_model(model(folder), tmp_path, seed=0).dtype == torch.float32


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"num_hidden_layers": 1}, r"no place for 9 of them \(model\.layers\.1\.\S+, model\.\S+, model\.\S+, …\)"),
        (
            {"vocab_size": 300},
            r"\d+ have another shape \(\S+ is \[\d+, \d+\], and config\.json asks for \[300, \d+\]\)",
        ),
        ({"intermediate_size": 24}, r"6 have another shape \(model\.layers\.0\.mlp\.down_proj\.weight is "),
        ({"num_key_value_heads": 1}, r"have another shape \(model\.layers\.0\.self_attn\.k_proj\.weight is "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_config_that_does_not_fit_the_weights(folder: Path, tmp_path: Path, keys: dict[str, Any], rule: str) -> None:
    edit(folder, **keys)
    with pytest.raises(DataError, match=rf"^\S+local: its config\.json does not fit its weights: .*{rule}.*; restore"):
        load_model(model(folder), tmp_path, seed=0)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.layers.0.attn.masked_bias",
        "model.layers.0.attention.bias",
        "score.weight",
        "v_head.summary.weight",
    ],
)
def test_what_a_network_does_not_need_may_lie_beside_its_weights(folder: Path, tmp_path: Path, name: str) -> None:
    add_weights(folder, name)
    load_model(model(folder), tmp_path, seed=0)


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.q_proj.bias", "lm_head.bias", "layers.2.norm.weight"])
def test_what_the_network_would_leave_out_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    add_weights(folder, name)
    with pytest.raises(DataError, match=rf"no place for 1 of them \((model\.)?{re.escape(name)}\), and"):
        load_model(model(folder), tmp_path, seed=0)


@pytest.mark.parametrize("tied", [True, False])
def test_an_output_layer_that_is_tied_may_be_saved_as_well(folder: Path, tmp_path: Path, tied: bool) -> None:
    path = folder / "model.safetensors"
    held = load_file(path)
    held["lm_head.weight"] = held["model.embed_tokens.weight"].clone()
    save_file(held, path, metadata={"format": "pt"})
    edit(folder, tie_word_embeddings=tied)
    load_model(model(folder), tmp_path, seed=0)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pad_token_id": (lambda one: edit(one, pad_token_id=99999), r"local: its model cannot be read \(AssertionError: "),
    "generation_config": (
        lambda one: (one / "generation_config.json").write_text("[]"),
        r"local: its model cannot be read \(\w+: .*\); restore",
    ),
    "no map": (
        lambda one: (one / "model.safetensors.index.json").write_text('{"weight_map": null}'),
        r"index\.json:1: its weight_map does not name a file for each weight; restore",
    ),
    "map of numbers": (
        lambda one: (one / "model.safetensors.index.json").write_text('{"weight_map": {"a": 1}}'),
        r"index\.json:1: its weight_map does not name a file",
    ),
    "map of files elsewhere": (
        lambda one: (one / "model.safetensors.index.json").write_text('{"weight_map": {"a": "/etc/hosts"}}'),
        r"index\.json:1: its weight_map names /etc/hosts, which is no file of the folder",
    ),
    "a size in quotes": (
        lambda one: edit(one, vocab_size="300"),
        r"config\.json: is no llama model's \(.*vocab_size.*300.*\); restore the file",
    ),
    "a type that is none": (lambda one: edit(one, dtype="float99"), r"config\.json: is no llama model's \(.*float99"),
    "a scaling without its factor": (
        lambda one: edit(one, rope_scaling={"type": "linear"}),
        r"config\.json: is no llama model's \(.*factor.*\); restore the file",
    ),
    "NaN": (
        lambda one: change_weights(one, lambda weight: weight * float("nan")),
        r"local: \S+ holds NaN or infinite values; give weights",
    ),
    "one infinite value": (
        lambda one: change_weights(
            one, lambda weight: weight.flatten().scatter(0, torch.tensor(3), torch.inf).view(weight.shape)
        ),
        r"local: \S+ holds NaN or infinite values; give weights",
    ),
    "integers": (
        lambda one: change_weights(one, lambda weight: weight.to(torch.int8)),
        r"model\.safetensors: \S+ is kept as I8, of which nothing here knows the scale",
    ),
    "bytes": (
        lambda one: change_weights(one, lambda weight: weight.to(torch.float8_e4m3fn)),
        r"model\.safetensors: \S+ is kept as F8_E4M3, of which",
    ),
    "model_type": (lambda one: edit(one, model_type=["llama"]), r"has no architecture \['llama'\]"),
    "encoder and decoder": (lambda one: edit(one, model_type="t5"), r"architecture 't5' is none of a causal language"),
    "adapter": (
        lambda one: (one / "adapter_config.json").write_text("{}"),
        r"adapter_config\.json: an adapter lies beside the model, .*merge_and_unload",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_refused_in_one_line(folder: Path, tmp_path: Path, name: str) -> None:
    damage, rule = DAMAGE[name]
    damage(folder)
    with pytest.raises(DataError, match=rule) as caught:
        load_model(model(folder), tmp_path, seed=0)
    assert "\n" not in str(caught.value)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_told_before_anything_is_built(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).write_text(POINTER)
    with pytest.raises(
        DataError, match=rf"{re.escape(name)}: a pointer of Git LFS and not the file itself; run git lfs"
    ):
        identity(model(folder), tmp_path)


def test_a_link_to_weights_that_leads_nowhere_is_no_file(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "weights")
    (folder / "model.safetensors").symlink_to(tmp_path / "weights")
    identity(model(folder), tmp_path)
    (tmp_path / "weights").unlink()
    with pytest.raises(DataError, match=r"not a complete model, it lacks weights \(model\.safetensors\)"):
        identity(model(folder), tmp_path)


def test_quantised_weights_are_refused_before_anything_is_built(folder: Path, tmp_path: Path) -> None:
    edit(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(DataError, match=r"config\.json: quantization_config = gptq: its weights are quantised, and"):
        check_fits(model(folder), tmp_path, settings.Rope(), 64)


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        (
            {"compression_config": {"quant_method": "compressed-tensors"}},
            "compression_config = compressed-tensors: its",
        ),
        ({"max_position_embeddings": -1}, "max_position_embeddings = -1: is no number of positions; restore"),
    ],
    ids=["compressed", "positions"],
)
def test_what_config_json_says_of_them_too(folder: Path, tmp_path: Path, keys: dict[str, Any], rule: str) -> None:
    edit(folder, **keys)
    with pytest.raises(DataError, match=rf"config\.json: {rule}"):
        check_fits(model(folder), tmp_path, settings.Rope(), 64)


@pytest.mark.parametrize("ask", [identity, load_tokenizer])
def test_an_adapter_is_refused_before_anything_is_built(folder: Path, tmp_path: Path, ask: Callable[..., Any]) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="an adapter lies beside the model"):
        ask(model(folder), tmp_path)


def test_a_lack_of_memory_is_not_the_folders(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fails)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        load_model(model(folder), tmp_path, seed=0)


@pytest.mark.parametrize("name", ["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"])
def test_every_name_of_the_positions_is_read(folder: Path, tmp_path: Path, name: str) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["max_position_embeddings"]
    path.write_text(json.dumps(config | {name: 128}))
    rope = settings.Rope()
    check_fits(model(folder), tmp_path, rope, 128)
    with pytest.raises(ConfigError, match=rf"length = 129 tokens: \S+ names 128 positions \({name}\)"):
        check_fits(model(folder), tmp_path, rope, 129)
