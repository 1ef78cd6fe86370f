"""The optimiser with 8-bit states: small, unbiased in bfloat16, and a function of its seed and step alone."""

from __future__ import annotations

import builtins
import copy
from typing import Any

import lightning as L
import pytest
import torch

from longsafety.errors import ConfigError
from longsafety.model.optimizer import Fused, optimizer
from longsafety.settings import Training

pytestmark = pytest.mark.usefixtures("tiny_one_thread")
EIGHT_BIT = Training(optimizer="adamw_8bit", lr_peak=1e-4, weight_decay=0.1)


@pytest.fixture
def torchao() -> None:
    pytest.importorskip("torchao")


def stepped(training: Training, seed: int = 0, steps: int = 3, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """A weight of ones after some steps down a slope of one."""
    weight = torch.nn.Parameter(torch.ones(64, 64, dtype=dtype))
    chosen = optimizer([weight], training, seed)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        chosen.step()
    return weight.detach()


def test_the_default_is_torchs_own() -> None:
    weight = torch.nn.Parameter(torch.ones(4))
    chosen = optimizer(iter([weight]), Training(), 0)
    assert type(chosen) is torch.optim.AdamW
    assert (chosen.defaults["lr"], chosen.defaults["betas"], chosen.defaults["weight_decay"]) == (2e-5, (0.9, 0.95), 0)


@pytest.mark.usefixtures("torchao")
def test_steps_are_adamws() -> None:
    plain = EIGHT_BIT.model_copy(update={"optimizer": "adamw"})
    expected, found = (stepped(training, dtype=torch.float32) for training in (plain, EIGHT_BIT))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.usefixtures("torchao")
def test_small_updates_are_kept_on_average_in_bfloat16() -> None:
    """Each is a fortieth of bfloat16's step below 1, which rounding to the nearest never leaves."""
    plain = EIGHT_BIT.model_copy(update={"optimizer": "adamw", "weight_decay": 0.0})
    eight = EIGHT_BIT.model_copy(update={"weight_decay": 0.0})
    assert bool((stepped(plain, steps=20) == 1).all())
    assert float(stepped(eight, steps=20).float().mean()) == pytest.approx(1 - 20 * 1e-4, abs=3e-4)


@pytest.mark.usefixtures("torchao")
def test_rounding_depends_on_seed_and_step_alone() -> None:
    torch.manual_seed(1)
    first, before = stepped(EIGHT_BIT), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(stepped(EIGHT_BIT), first)
    assert not torch.equal(stepped(EIGHT_BIT, seed=3), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)  # and what follows draws as without it


@pytest.mark.usefixtures("torchao")
def test_a_closure_draws_from_the_usual_numbers() -> None:
    weight = torch.nn.Parameter(torch.ones(4))
    chosen = optimizer([weight], EIGHT_BIT, 0)

    def closure() -> torch.Tensor:
        loss = (weight * torch.rand(4)).sum()
        loss.backward()
        return loss

    torch.manual_seed(5)
    found: Any = chosen.step(closure)  # type: ignore[arg-type]  # torch takes tensors too
    torch.manual_seed(5)
    assert float(found.detach()) == pytest.approx(float(torch.rand(4).sum()))


@pytest.mark.usefixtures("torchao")
def test_states_take_a_byte_each() -> None:
    weight = torch.nn.Parameter(torch.ones(64, 64, dtype=torch.bfloat16))
    chosen = optimizer([weight], EIGHT_BIT, 0)
    weight.grad = torch.ones_like(weight)
    chosen.step()
    kept = chosen.state[weight]
    for name in ("exp_avg", "exp_avg_sq"):
        assert kept[name].codes.dtype == torch.uint8 and kept[name].codes.numel() == weight.numel()
        assert kept[name].scale.numel() == weight.numel() // 256


def test_torchao_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = copy.copy(builtins.__import__)

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("torchao"):
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"training\.optimizer = adamw_8bit: .*install longsafety\[optim\]"):
        optimizer([torch.nn.Parameter(torch.ones(4))], EIGHT_BIT, 0)


def test_fused_steps_are_adamws_and_lightning_clips_for_them() -> None:
    """On a GPU the fused kernel is chosen; a processor has one too, so that its steps and its clipping show here."""

    class Tiny(L.LightningModule):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.kind = kind
            self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 64))

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            return 10 * ((self.weight * batch) ** 2).sum()

        def configure_optimizers(self) -> Any:
            return self.kind([self.weight], lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)

        def train_dataloader(self) -> Any:
            batches: Any = torch.linspace(0, 2, 5 * 64).view(5, 64)
            return torch.utils.data.DataLoader(batches, batch_size=None)

    found = []
    for kind in (torch.optim.AdamW, Fused):
        made = Tiny(kind)
        L.Trainer(
            accelerator="cpu", precision="bf16-mixed", gradient_clip_val=0.5, max_epochs=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        ).fit(made)  # fmt: skip
        found.append(made.weight.detach())
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-6)
    assert bool((found[0] - torch.linspace(-1, 1, 64)).abs().max() > 1e-2)
