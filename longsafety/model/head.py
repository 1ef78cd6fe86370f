"""The loss of supervised tokens, from hidden states: logits exist for some positions at a time, and only once."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

CHUNK = 1024
"""Positions whose logits exist at once."""


def answer_loss(head: Any, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ weights · −log p(targets), a scalar, of ``hidden [N, H]``, ``targets [N]`` and ``weights [N]``.

    A plain linear head's gradients are computed along with its loss, from the same logits. Any other head (one with a
    bias) is called as a module, and again in the backward pass.

    The head is called once, however many positions there are: its weights may be sharded over ranks, which gather
    them at every call and have different numbers of positions.
    """
    forward = head.forward
    plain = type(head) is torch.nn.Linear and head.bias is None

    def loss(hidden: torch.Tensor) -> torch.Tensor:
        if plain:
            whole: torch.Tensor = _LinearLoss.apply(hidden, head.weight, targets, weights)  # type: ignore[no-untyped-call]
            return whole
        parts = zip(*(torch.split(whole, CHUNK) for whole in (hidden, targets, weights)), strict=True)
        return torch.stack([checkpoint(_part, forward, *part, use_reentrant=False) for part in parts]).sum()

    head.forward = loss
    try:
        result: torch.Tensor = head(hidden)
    finally:
        del head.forward
    return result


def _part(head: Any, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (cross_entropy(head(hidden).float(), targets, reduction="none") * weights).sum()


class _LinearLoss(torch.autograd.Function):
    """Computes the gradients of ``hidden`` and ``weight`` along with the loss; the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        loss = hidden.new_zeros((), dtype=torch.float32)
        device = hidden.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        cast = weight.to(kind)  # once, and not in every product
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            logits = linear(hidden[part], cast)
            chance = logits.float().log_softmax(dim=-1)
            del logits
            at = targets[part, None]
            loss -= (chance.gather(1, at)[:, 0] * weights[part]).sum()
            chance.exp_().scatter_add_(1, at, -torch.ones_like(at, dtype=chance.dtype)).mul_(weights[part, None])
            slope = chance.to(kind)
            if to_hidden is not None:
                to_hidden[part] = slope @ cast
            if to_weight is not None:
                to_weight += slope.T @ hidden[part].to(kind)
        ctx.save_for_backward(to_hidden, to_weight)
        return loss

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # In place: the saved gradients are used once, and a copy of the head's would be as large as the head.
        hidden, weight = (None if whole is None else whole.mul_(slope.to(whole.dtype)) for whole in ctx.saved_tensors)
        return hidden, weight, None, None
