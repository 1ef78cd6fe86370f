"""The shape of a model from its config.json: right, or unknown with the reason, never that of another model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longsafety.model.shape import shape_of, shape_problem
from longsafety.settings import Model

LLAMA: dict[str, Any] = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": 10,
}  # fmt: skip


def model(folder: Path, text: str) -> Model:
    (folder / "config.json").write_text(text, "utf-8")
    return Model(name="m", source=str(folder), window=64, licence="MIT", tune="full")


UNUSABLE: dict[str, tuple[str, str]] = {
    "no heads": (json.dumps(LLAMA | {"num_attention_heads": 0}), "has no usable num_attention_heads"),
    "no layers": (json.dumps(LLAMA | {"num_hidden_layers": -3}), "has no usable num_hidden_layers"),
    "a size without end": (json.dumps(LLAMA | {"hidden_size": float("inf")}), "has no usable hidden_size"),
    "a yes for a size": (json.dumps(LLAMA | {"hidden_size": True}), "has no usable hidden_size"),
    "a size for each layer": (json.dumps(LLAMA | {"num_attention_heads": [2, 2]}), "has no usable num_attention_heads"),
    "heads of another number": (json.dumps(LLAMA | {"num_key_value_heads": -1}), "has num_key_value_heads = -1"),
    "names of other kinds": ('{"n_embd": 768, "n_head": 12}', "has no usable num_hidden_layers"),
    "a mixture of experts": (json.dumps(LLAMA | {"num_local_experts": 8}), "has num_local_experts: its layers are"),
    "latent attention": (json.dumps(LLAMA | {"kv_lora_rank": 512}), "has kv_lora_rank: its layers are"),
    "a list": ("[]", "cannot be read"),
    "cut off": ('{"num_hidden', "cannot be read"),
    "lists in lists": ("[" * 100_000, "cannot be read"),
}


@pytest.mark.parametrize("how", UNUSABLE)
def test_another_shape_is_unknown_and_the_reason_is_told(how: str, tmp_path: Path) -> None:
    text, reason = UNUSABLE[how]
    found = model(tmp_path, text)
    assert shape_of(found) is None
    assert shape_problem(found).startswith(f"{tmp_path / 'config.json'} {reason}")


def test_a_known_shape_has_no_problem(tmp_path: Path) -> None:
    assert shape_problem(model(tmp_path, json.dumps(LLAMA))) == ""


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("/nowhere/model", "model.source = /nowhere/model: no such folder; give a folder"),
        ("owner/name", "the shape of owner/name is not known; give its folder"),
    ],
)
def test_what_is_no_folder_is_told(source: str, rule: str, tmp_path: Path) -> None:
    assert shape_problem(model(tmp_path, "{}").model_copy(update={"source": source})).startswith(rule)


@pytest.mark.parametrize(("kind", "tied"), [("gemma", True), ("llama", False)])
def test_a_default_that_config_json_leaves_out_is_the_kinds_own(kind: str, tied: bool, tmp_path: Path) -> None:
    shape = shape_of(model(tmp_path, json.dumps(LLAMA | {"model_type": kind})))
    assert shape is not None and shape.tied == tied
