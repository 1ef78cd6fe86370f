"""A random two-layer Llama with a tokenizer of its own, made in a second and offline: for tests and smoke runs.

The tokenizer lies beside this file. It was trained once, on English seed items of version 0, so that the numbers of a
smoke run do not depend on the seed items of today.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from longsafety.files import cached_folder

VERSION = 1
"""Raised whenever what is built here changes."""
TOKENIZER = "tiny_tokenizer.json"
"""A byte-level BPE tokenizer of 2,000 tokens, as ``tokenizers`` writes it."""
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# ChatML with a system message of its own where the chat brings none, as SmolLM2's template has it.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def digest() -> str:
    """Fixes the tokenizer: the builder's version and the tokenizer's file."""
    return hashlib.sha256(f"{VERSION}\n{_tokenizer_file()}".encode()).hexdigest()[:16]


def identity(window: int) -> str:
    """Fixes tokenizer and architecture; the weights are fixed by the seed besides."""
    return f"tiny:{VERSION}:{digest()}:{window}"


def tokenizer_folder(cache: Path) -> Path:
    """A folder with the byte-level BPE tokenizer and its chat template."""
    return cached_folder(cache / f"tiny-{digest()}-tokenizer", _fill_tokenizer)


BASE_SEED = 0
"""The seed of the weights that a run starts from: another training seed does not mean another model."""


def model_folder(cache: Path, window: int, seed: int) -> Path:
    """A folder with the float32 weights that ``seed`` gives, and the tokenizer, for transformers' Auto classes."""
    tokenizer = tokenizer_folder(cache)
    return cached_folder(
        cache / f"tiny-{digest()}-window{window}-seed{seed}",
        lambda folder: _fill_model(folder, tokenizer, window, seed),
    )


def _tokenizer_file() -> str:
    return (resources.files("longsafety.model") / TOKENIZER).read_text("utf-8")


def _fill_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    unknown, start, end = SPECIAL_TOKENS
    build: Any = PreTrainedTokenizerFast
    tokenizer = build(
        tokenizer_object=Tokenizer.from_str(_tokenizer_file()),
        unk_token=unknown,
        bos_token=start,
        eos_token=end,
        pad_token=end,
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.save_pretrained(folder)


def _fill_model(folder: Path, tokenizer_source: Path, window: int, seed: int) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_source)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=window,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
