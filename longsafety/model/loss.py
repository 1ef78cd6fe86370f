"""The loss of a causal language model at its supervised positions."""

from __future__ import annotations

from typing import Any

import torch

from longsafety.model.head import answer_loss
from longsafety.model.last_layer import read_rows

_AFTER_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""Settings of models that change the logits after their head."""
_INPUTS = ("input_ids", "position_ids", "attention_mask", "nodes")


def supervised_loss(network: Any, batch: dict[str, Any]) -> torch.Tensor:
    """The weighted sum of the supervised tokens' negative log-likelihoods, a scalar.

    ``batch`` is one of :mod:`longsafety.data.module`. The LM head sees the supervised positions only.
    """
    causal = network.get_base_model() if hasattr(network, "get_base_model") else network
    inputs = {name: batch[name] for name in _INPUTS if name in batch}
    if "attention_mask" in inputs and bool(inputs["attention_mask"].all()):
        inputs["attention_mask"] = None
    if causal.config._attn_implementation == "flash_attention_2":  # it finds the chats by their positions
        inputs.pop("nodes", None)
    if "nodes" in inputs:
        ids = inputs["input_ids"]
        inputs |= read_rows(causal, batch["rows"], inputs["nodes"], ids.shape[1], ids.device)
    hidden = causal.base_model(**inputs, use_cache=False).last_hidden_state
    hidden = hidden.flatten(0, 1)[batch["positions"]]
    weights = torch.as_tensor(batch["weights"], device=hidden.device)
    return answer_loss(causal.get_output_embeddings(), hidden, batch["targets"], weights)


def training_problem(network: Any, packing: str) -> str | None:
    """Why a network cannot be trained with this packing, or ``None``."""
    config = network.config.get_text_config()
    changed = [name for name in _AFTER_HEAD if getattr(config, name, None) not in (None, 1, 1.0)]
    if changed:
        return f"the model changes its logits behind the head ({changed[0]}), which the loss does not do; give another"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if packing == "packed" and kinds != {"full_attention"}:
        return f"packed chats need full attention and the model has {', '.join(sorted(kinds))}; set packing=none"
    return None
