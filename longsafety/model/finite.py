"""A training that diverges ends: a loss or weights that are not finite are an error, and nothing of them is kept."""

from __future__ import annotations

import math
from typing import Any

import torch

from longsafety.errors import DataError


def check_loss(loss: float, step: int, lr_peak: float) -> None:
    """Raises DataError for the loss of a step, the mean over all ranks, that is NaN or infinite."""
    if not math.isfinite(loss):
        raise _diverged(f"the loss is {loss}", step, lr_peak)


def check_finite(trainer: Any, module: Any, step: int) -> None:
    """Raises DataError, in every rank, if a trained weight of any rank is NaN or infinite."""
    held = (getattr(item, "ds_tensor", item) for item in module.parameters() if item.requires_grad)
    broken = not all(map(is_finite, held))
    if trainer.strategy.reduce_boolean_decision(broken, all=False):
        raise _diverged("weights are not finite", step, module.settings.training.lr_peak)


def is_finite(weight: torch.Tensor) -> bool:
    """Whether no element is NaN or infinite, without a copy of the weight."""
    return not weight.numel() or bool(torch.isfinite(torch.stack(torch.aminmax(weight))).all())


def _diverged(what: str, step: int, lr_peak: float) -> DataError:
    return DataError(
        f"training.lr_peak = {lr_peak}: the training diverged, {what} at step {step}, and nothing of it is kept; lower "
        "training.lr_peak, or set trainer.precision=32-true"
    )
