"""From ``settings.Model`` to its tokenizer, without its network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from longsafety import settings
from longsafety.errors import ConfigError, DataError, first_line
from longsafety.model import tiny
from longsafety.model.source import read_json, source_folder
from longsafety.samples.template import dated, switched

_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
"""The names that architectures have for the number of positions; those with the first can mostly be scaled."""


_QUANTISED = ("quantization_config", "compression_config")
_LONGEST_REASON = 300


def load_tokenizer(model: settings.Model, cache: Path) -> PreTrainedTokenizerBase:
    """The model's fast tokenizer, with a chat template and a pad token (the end token where it has none).

    A template that writes the date of today is told one fixed date (:func:`longsafety.samples.template.dated`), and
    whether to think, where ``model.thinking`` says so.
    """
    folder = tiny.tokenizer_folder(cache) if model.source == "tiny" else source_folder(model, cache, weights=False)
    check_architecture(folder)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # a damaged tokenizer file raises nearly anything
        raise DataError(f"{folder}: its tokenizer cannot be read ({first_line(error)}); restore its files") from error
    if not tokenizer.chat_template:
        raise DataError(
            f"{folder}: model path without a chat template; chats are rendered with the model's own template: "
            f"give an instruction-tuned model that has one, or add a chat_template.jinja to the folder"
        )
    if not tokenizer.is_fast:
        raise DataError(f"{folder}: its tokenizer is not a fast one; add the tokenizer.json that a fast one needs")
    tokenizer.backend_tokenizer.no_truncation()  # some folders keep those of an earlier call, which would cut texts
    tokenizer.backend_tokenizer.no_padding()
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise DataError(f"{folder}: its tokenizer has no end token; name an eos_token in tokenizer_config.json")
        tokenizer.pad_token = tokenizer.eos_token

    def told(template: str) -> str:
        return switched(dated(template), model.thinking)

    template = tokenizer.chat_template
    tokenizer.chat_template = (
        told(template) if isinstance(template, str) else {name: told(text) for name, text in template.items()}
    )
    return tokenizer


def check_fits(model: settings.Model, cache: Path, rope: settings.Rope, longest: int) -> None:
    """Refuses a model that cannot read its tokenizer's tokens, or ``longest`` tokens, before anything is built.

    Raises DataError for quantised weights and for a tokenizer with more tokens than the embeddings have rows,
    ConfigError for lengths above the positions in config.json where nothing scales them.
    """
    if model.source == "tiny":
        return
    folder = source_folder(model, cache, weights=False)
    config = read_json(folder / "config.json")
    for key in _QUANTISED:
        if not (quantised := config.get(key)):
            continue
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
        raise DataError(
            f"{folder / 'config.json'}: {key} = {method}: its weights are quantised, and a model is read "
            "in float32 and trained whole; give the folder that it was quantised from, or serve it and ask it there "
            "(evaluation.backend=openai)"
        )
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    rows = text.get("vocab_size")
    name, positions = next(((key, text[key]) for key in _POSITIONS if isinstance(text.get(key), int)), ("", None))
    if isinstance(rows, int) and (needed := max(load_tokenizer(model, cache).get_vocab().values()) + 1) > rows:
        raise DataError(
            f"{folder}: its tokenizer has {needed:,} tokens and its embeddings have {rows:,} rows (vocab_size in "
            "config.json); resize the embeddings (model.resize_token_embeddings), or restore the tokenizer"
        )
    if positions is not None and positions < 1:
        raise DataError(f"{folder / 'config.json'}: {name} = {positions}: is no number of positions; restore the file")
    extended = ", or extend the window with length.rope.kind=yarn" if name == _POSITIONS[0] else ""
    if positions is not None and rope.kind == "none" and longest > positions:
        raise ConfigError(
            [
                f"length = {longest:,} tokens: {folder / 'config.json'} names {positions:,} positions "
                f"({name}), and length.rope.kind = none; take a length of at most {positions:,}{extended}"
            ]
        )


def template_hash(tokenizer: Any) -> str:
    """Twelve hex digits of the chat template (of all, where a tokenizer has several by name)."""
    template = tokenizer.chat_template
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_architecture(folder: Path) -> None:
    """Refuses a model whose architecture transformers lacks: code that a model brings along is never executed."""
    path = folder / "config.json"
    if not path.is_file():  # tiny's tokenizer
        return
    kind = read_json(path).get("model_type")
    if not isinstance(kind, str) or kind not in transformers.CONFIG_MAPPING:
        raise DataError(
            f"{path}: transformers {transformers.__version__} has no architecture {kind!r}, and code that a model "
            f"brings along is not executed; give a model that transformers knows, or convert it to such a one"
        )
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise DataError(
            f"{path}: the architecture {kind!r} is none of a causal language model, which continues a text; give a "
            "model that AutoModelForCausalLM reads"
        )
    try:
        transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # values that do not fit raise nearly anything
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise DataError(f"{path}: is no {kind} model's ({reason}); restore the file") from error
