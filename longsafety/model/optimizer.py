"""The optimiser: torch's AdamW, or torchao's with 8-bit states (one byte per state and parameter, in blocks of 256).

On a GPU torch's AdamW is fused: one pass over weights, gradients and states, without float32 copies between.

The 8-bit optimiser rounds bfloat16 weights stochastically: most updates are smaller than half a bfloat16 ulp, and
rounding to the nearest would lose them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch

from longsafety.errors import ConfigError
from longsafety.model.kernels import EIGHT_BIT_MISSING
from longsafety.settings import Training


def optimizer(parameters: Iterable[torch.nn.Parameter], training: Training, seed: int) -> torch.optim.Optimizer:
    """Over ``parameters``, at the peak rate. Raises ConfigError where its package is not installed."""
    trained = list(parameters)
    kind = _eight_bit(seed) if training.optimizer == "adamw_8bit" else torch.optim.AdamW
    if training.optimizer == "adamw" and any(parameter.is_cuda for parameter in trained):
        kind = Fused
    return kind(
        trained,
        lr=training.lr_peak,
        betas=(training.betas[0], training.betas[1]),
        weight_decay=training.weight_decay,
    )


class Fused(torch.optim.AdamW):
    """torch's fused AdamW, which Lightning's clipping takes: with bfloat16 nothing unscales gradients, though the
    fused kernel could, and Lightning refuses to clip for such an optimiser."""

    def __init__(self, parameters: Any, **options: Any) -> None:
        super().__init__(parameters, **options, fused=True)
        self._step_supports_amp_scaling = False


def _eight_bit(seed: int) -> Any:
    logging.getLogger("torchao").setLevel(logging.ERROR)  # it lists kernels that this machine cannot load
    try:
        from torchao.optim import AdamW8bit
    except ImportError:
        raise ConfigError([EIGHT_BIT_MISSING]) from None

    class Seeded(AdamW8bit):  # type: ignore[misc]
        """Its rounding depends on ``seed`` and step only: a resumed training is bit-identical, and ranks stay equal."""

        def __init__(self, parameters: Any, **options: Any) -> None:
            super().__init__(parameters, **options, bf16_stochastic_round=True)

        def step(self, closure: Callable[[], Any] | None = None) -> Any:
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            done = max((int(state["step"]) for state in self.state.values()), default=0)
            device = self.param_groups[0]["params"][0].device
            # torchao compiles the step for each shape: worth it on a GPU, but on a processor compiling takes minutes.
            stance = "default" if device.type == "cuda" else "force_eager"
            with (
                torch.random.fork_rng([device] if device.type == "cuda" else []),
                torch.compiler.set_stance(stance),
            ):
                torch.manual_seed((1_000_003 * seed + done) % 2**32)  # the range of the CPU generator
                super().step()
            return loss

    return Seeded
