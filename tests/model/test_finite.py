"""A training that diverges ends with its step, in every rank, and keeps nothing."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from longsafety.errors import DataError
from longsafety.model.finite import check_finite, check_loss


def asked(*weights: torch.Tensor, elsewhere: bool = False) -> tuple[Any, Any]:
    """A trainer whose other ranks have weights that are finite, or not; and a module."""
    module = torch.nn.Module()
    for number, weight in enumerate(weights):
        module.register_parameter(f"w{number}", torch.nn.Parameter(weight))
    module.settings = SimpleNamespace(training=SimpleNamespace(lr_peak=1e30))  # type: ignore[assignment]
    decided = SimpleNamespace(reduce_boolean_decision=lambda here, all: here or elsewhere)
    return SimpleNamespace(strategy=decided), module


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite(loss: float) -> None:
    with pytest.raises(DataError, match=r"training\.lr_peak = 1e\+30: .* the loss is -?(nan|inf) at step 7, .* lower"):
        check_loss(loss, 7, 1e30)


def test_any_finite_loss_trains_on() -> None:
    check_loss(3e38, 7, 1e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_not_finite(value: float) -> None:
    broken = torch.zeros(3, 3)
    broken[2, 1] = value
    check_finite(*asked(torch.ones(2)), step=4)
    with pytest.raises(DataError, match=r"weights are not finite at step 4, and nothing of it is kept"):
        check_finite(*asked(torch.ones(2), broken), step=4)


def test_weights_of_another_rank() -> None:
    with pytest.raises(DataError, match="weights are not finite"):
        check_finite(*asked(torch.ones(2), elsewhere=True), step=4)


def test_frozen_weights_are_the_base_models() -> None:
    trainer, module = asked(torch.full((2,), math.nan))
    module.w0.requires_grad = False
    check_finite(trainer, module, step=4)
