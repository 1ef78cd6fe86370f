"""The shape of a Llama-like model, from its config alone: parameters and the cost of a token. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from longsafety.files import user_path
from longsafety.settings import Model


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder with grouped heads, a gated MLP and RMS norms."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    """Norms of each head's queries and keys (Qwen3)."""

    @property
    def query(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_value(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def matrices(self) -> int:
        """Weights that every token is multiplied with: all layers' matrices, without embedding and head."""
        attention = 2 * self.hidden * (self.query + self.key_value)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def parameters(self) -> int:
        biases = self.layers * (self.query + 2 * self.key_value) if self.qkv_bias else 0
        norms = (2 * self.layers + 1) * self.hidden
        norms += 2 * self.layers * self.head_dim if self.qk_norm else 0
        return self.matrices + biases + norms + self.vocabulary * self.hidden * (1 if self.tied else 2)

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA adapters on every matrix of the layers."""
        ends = (
            2 * (self.hidden + self.query)  # query and output
            + 2 * (self.hidden + self.key_value)
            + 3 * (self.hidden + self.intermediate)
        )
        return self.layers * rank * ends


@cache
def _known() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "shapes.yaml").read_text("utf-8"))
    return found


_NEEDED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
_OTHER_LAYERS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_intermediate_size", "kv_lora_rank")
"""Fields of models whose layers are none of :class:`Shape`: mixtures of experts, latent attention."""
_TIED = ("gemma", "gemma2", "gemma3_text", "cohere", "cohere2")
"""Kinds that share embedding and head where config.json, which leaves out defaults, does not say it."""


def shape_of(model: Model) -> Shape | None:
    """From the table of known models or a local folder's config.json; ``None`` for a model of another shape."""
    if model.source in _known():
        return Shape(**_known()[model.source])
    config = _config(model)
    return None if config is None or _why_not(config) else _shape(config)


def shape_problem(model: Model) -> str:
    """Why :func:`shape_of` knows no shape, with the fix; empty where it knows one."""
    if model.source in _known():
        return ""
    place = user_path(model.source)
    if place.is_dir():
        config = _config(model)
        what = "cannot be read" if config is None else _why_not(config)
        return what and f"{place / 'config.json'} {what}"
    if model.source.startswith((".", "/", "~")) or model.source.count("/") > 1:
        return f"model.source = {model.source}: no such folder; give a folder with a model, or a hub name"
    return f"the shape of {model.source} is not known; give its folder as model.source, once it is downloaded"


def _config(model: Model) -> dict[str, Any] | None:
    try:
        config = json.loads((user_path(model.source) / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def _why_not(config: dict[str, Any]) -> str:
    """Why a config.json describes no shape of this kind; empty where it does."""
    if other := [name for name in _OTHER_LAYERS if config.get(name)]:
        return f"has {other[0]}: its layers are others than the plan computes with"
    if wrong := [name for name in _NEEDED if not _is_size(config.get(name))]:
        return f"has no usable {wrong[0]}: the plan needs {', '.join(_NEEDED)} as whole numbers above 0"
    if wrong := [name for name in ("num_key_value_heads", "head_dim") if not _is_size(config.get(name) or 1)]:
        return f"has {wrong[0]} = {config[wrong[0]]}: no whole number above 0"
    return ""


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _shape(config: dict[str, Any]) -> Shape:
    heads, kind = config["num_attention_heads"], config.get("model_type")
    return Shape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or max(config["hidden_size"] // heads, 1),
        intermediate=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", kind in _TIED)),
        qkv_bias=bool(config.get("attention_bias") or kind == "qwen2"),
        qk_norm=kind == "qwen3",
    )
