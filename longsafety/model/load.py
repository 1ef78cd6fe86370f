"""From ``settings.Model`` to a tokenizer and a network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longsafety import settings
from longsafety.errors import DataError, first_line
from longsafety.model import tiny
from longsafety.model.kernels import check_flash, loaded_attention
from longsafety.model.source import read_json, source_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TINY_WINDOW = 2048
"""The pretrained window of ``tiny`` where its positions are scaled."""


def load_tokenizer(model: settings.Model, cache: Path) -> PreTrainedTokenizerBase:
    """The model's fast tokenizer, with a chat template and a pad token (the end token where it has none)."""
    folder = tiny.tokenizer_folder(cache) if model.source == "tiny" else source_folder(model, cache, weights=False)
    from transformers import AutoTokenizer

    _check_architecture(folder)
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
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise DataError(f"{folder}: its tokenizer has no end token; name an eos_token in tokenizer_config.json")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def template_hash(tokenizer: Any) -> str:
    """Twelve hex digits of the chat template (of all, where a tokenizer has several by name)."""
    template = tokenizer.chat_template
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_model(model: settings.Model, cache: Path, *, seed: int, rope: settings.Rope | None = None) -> PreTrainedModel:
    """The network in float32, on the CPU, in evaluation mode and without LoRA. ``seed`` makes the weights of ``tiny``.

    ``rope`` scales its positions to ``model.window``, the window after scaling (:mod:`longsafety.model.rope`).
    Raises DataError for a model that cannot be had or read, ConfigError for an attention that is not installed and for
    a scaling that the model cannot have.
    """
    check_flash(model.attention)
    rope = rope or settings.Rope()
    folder = base_folder(model, cache, seed=seed, rope=rope)
    return read_network(folder, loaded_attention(model.attention), rope, model.window)


def base_folder(model: settings.Model, cache: Path, *, seed: int, rope: settings.Rope) -> Path:
    """The folder that :func:`load_model` reads; it is made if it is missing.

    Call it before a process group exists: within one, transformers would write it in the first rank only.
    """
    if model.source == "tiny":
        return tiny.model_folder(cache, model.window if rope.kind == "none" else TINY_WINDOW, seed)
    return source_folder(model, cache, weights=True)


def read_network(
    folder: Path, attention: str, rope: settings.Rope | None = None, window: int | None = None
) -> PreTrainedModel:
    """The network in a local folder, in float32, on the CPU and in evaluation mode.

    ``rope`` scales its positions to ``window`` tokens; a folder that was written with a scaling has it in its
    config.json and needs none here. Raises as :func:`load_model`.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    from longsafety.model.rope import apply, settle_frequencies

    _check_architecture(folder)
    common: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, **common)
        if rope is not None and window is not None:
            apply(config, rope, window)
        loader: Any = AutoModelForCausalLM
        network, report = loader.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            output_loading_info=True,
            **common,
        )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise DataError(f"{folder}: its model cannot be read ({first_line(error)}); restore its files") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise DataError(
            f"{folder}: its files lack {len(missing)} of the model's weights ({missing[0]}, …), which would be random; "
            f"give a complete causal language model"
        )
    result: PreTrainedModel = network.eval()
    settle_frequencies(result)
    return result


def _check_architecture(folder: Path) -> None:
    """Refuses a model whose architecture transformers lacks: code that a model brings along is never executed."""
    import transformers

    path = folder / "config.json"
    if not path.is_file():  # tiny's tokenizer
        return
    kind = read_json(path).get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise DataError(
            f"{path}: transformers {transformers.__version__} has no architecture {kind!r}, and code that a model "
            f"brings along is not executed; give a model that transformers knows, or convert it to such a one"
        )
