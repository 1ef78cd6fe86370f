"""The random model: deterministic, complete for the Auto classes, and keyed by what it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from longsafety.model import tiny

CHAT = [{"role": "user", "content": "Where is it?"}]
IDS = [451, 932, 508, 84, 1894, 325, 1462, 356, 16, 223, 163, 124, 257, 164, 101, 124]


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first, second = (tiny.model_folder(tmp_path / name, 256, 3) for name in ("a", "b"))
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(names)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_another_seed_gives_other_weights_and_leaves_the_generator_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    folders = [tiny.model_folder(tmp_path, 256, seed) for seed in (0, 1)]
    assert torch.equal(before, torch.random.get_rng_state())
    first, second = (load_file(folder / "model.safetensors")["model.embed_tokens.weight"] for folder in folders)
    assert not torch.equal(first, second)


def test_auto_classes_load_the_declared_architecture(tmp_path: Path) -> None:
    folder = tiny.model_folder(tmp_path, 300, 0)
    network = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = network.config
    assert (config.num_hidden_layers, config.hidden_size) == (2, 64)
    assert (config.num_attention_heads, config.num_key_value_heads) == (4, 2)
    assert config.max_position_embeddings == 300
    assert config.vocab_size == len(tokenizer) == 2000
    assert network(torch.tensor([tokenizer("lantern").input_ids])).logits.shape[-1] == len(tokenizer)


def test_tokenizer_keeps_every_text(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny.tokenizer_folder(tmp_path))
    text = "naïve — 日本語\t\x04 two  spaces , and\r\n\n12 lines"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer("The keeper of gate").input_ids) < 8


def test_template_is_chatml_with_a_default_system_message(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny.tokenizer_folder(tmp_path))
    text = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    assert text == f"{system}<|im_start|>user\nWhere is it?<|im_end|>\n<|im_start|>assistant\n"
    own = [{"role": "system", "content": "Be brief."}, *CHAT]
    assert str(tokenizer.apply_chat_template(own, tokenize=False)).startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == list(tiny.SPECIAL_TOKENS)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")


def test_another_tokenizer_is_another_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder, identity = tiny.tokenizer_folder(tmp_path), tiny.identity(256)
    assert tiny.identity(512) != identity
    frozen = tiny._tokenizer_file()
    monkeypatch.setattr(tiny, "_tokenizer_file", lambda: f"{frozen} ")
    assert tiny.identity(256) != identity
    assert tiny.tokenizer_folder(tmp_path) != folder


def test_seed_items_do_not_change_the_tokenizer(tmp_path: Path) -> None:
    """Scores of a smoke run are compared between versions: these ids are those of the first one."""
    tokenizer = AutoTokenizer.from_pretrained(tiny.tokenizer_folder(tmp_path))
    assert tokenizer("The insurer asks for receipts. 你好").input_ids == IDS
