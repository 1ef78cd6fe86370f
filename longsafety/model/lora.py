"""Low-rank adapters (LoRA, arXiv 2106.09685) on a network, by peft."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longsafety import settings
from longsafety.errors import ConfigError
from longsafety.ranks import first_rank

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def add_lora(network: PreTrainedModel, lora: settings.Lora, seed: int, start: Path | None = None) -> PeftModel:
    """``network`` with low-rank adapters (their A random from ``seed``, their B zero), the only trainable weights.

    ``start``: a folder of adapters of the same shape, to begin with instead.

    Targets are peft's: ``all-linear``, a regular expression that matches whole names, or a list of last names.
    Raises ConfigError for a target that matches no linear layer.
    """
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    base: Any = network
    output = base.get_output_embeddings()
    linear = [name for name, m in base.named_modules() if isinstance(m, torch.nn.Linear) and m is not output]
    problem = _target_problem(lora.targets, linear)
    if problem:
        raise ConfigError([problem])
    if start is not None:
        return PeftModel.from_pretrained(network, str(start), is_trainable=True)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = get_peft_model(network, config)
    assert isinstance(adapted, PeftModel)
    if first_rank() and (untuned := _untuned_experts(base)):
        print(f"  model.lora: {untuned}", flush=True)
    return adapted


def _untuned_experts(network: Any) -> str:
    """Says that a mixture's experts are not tuned: transformers keeps all of a layer in one parameter, no linear layer.

    Attention and what else is linear has adapters as ever.
    """
    experts = [item for name, item in network.named_parameters() if "expert" in name and item.dim() == 3]
    if not experts:
        return ""
    share = sum(item.numel() for item in experts) / sum(item.numel() for item in network.parameters())
    return (
        f"the experts ({share:.0%} of the weights) are no linear layers and are not tuned; adapters are on the other "
        "layers. To tune experts too, set model.tune=full"
    )


def _target_problem(targets: str | list[str], linear: list[str]) -> str | None:
    """Why the LoRA targets are wrong, or ``None``; peft itself ignores a name in a list that matches nothing."""
    if targets == "all-linear":
        return None
    if isinstance(targets, str):
        try:
            unmatched = [] if any(re.fullmatch(targets, name) for name in linear) else [targets]
        except re.error as error:
            return f"model.lora.targets = {targets!r}: not a regular expression ({error}); fix it, or use all-linear"
    else:
        unmatched = [t for t in targets if not any(name == t or name.endswith(f".{t}") for name in linear)]
    if targets and not unmatched:
        return None
    names = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    return (
        f"model.lora.targets = {targets!r}: {unmatched} match no linear layer of this model; "
        f"use all-linear, or a list of some of: {names}"
    )
