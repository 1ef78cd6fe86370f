"""The shape of a Llama-like model, from its config alone: parameters and the cost of a token. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

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


def shape_of(model: Model) -> Shape | None:
    """From the table of known models or a local folder's config.json; ``None`` for an unknown model."""
    if model.source in _known():
        return Shape(**_known()[model.source])
    path = Path(model.source).expanduser() / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
        heads = int(config["num_attention_heads"])
        return Shape(
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or config["hidden_size"] // heads),
            intermediate=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=bool(config.get("attention_bias") or config.get("model_type") == "qwen2"),
            qk_norm=config.get("model_type") == "qwen3",
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
