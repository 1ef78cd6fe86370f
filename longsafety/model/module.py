"""The LightningModule around a Hugging Face causal language model, and the loss at its supervised positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.nn.functional import cross_entropy

from longsafety.model.load import add_lora, load_model
from longsafety.settings import Model, Training


def supervised_loss(network: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The weighted sum of each sample's mean negative log-likelihood over its supervised tokens, a scalar.

    Chats are padded on the left, so that the supervised tokens of all rows end together and the LM head runs on
    those last positions only (``logits_to_keep``): no logits of shape tokens × vocabulary.
    """
    labels, mask = batch["labels"], batch["attention_mask"]
    kept = int((labels != -100).sum(dim=1).max())
    logits = network(
        input_ids=batch["input_ids"],
        attention_mask=None if bool(mask.all()) else mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=kept + 1,
    ).logits[:, :-1]
    targets = labels[:, -kept:]
    losses = cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=-100, reduction="none")
    means = losses.sum(dim=1) / (targets != -100).sum(dim=1)
    return (means * batch["weights"].to(means)).sum()


def learning_rate(training: Training, num_steps: int) -> Callable[[int], float]:
    """Step → share of ``lr_peak``: linear warm-up, then the schedule down to 0 (or constant)."""
    warmup = math.ceil(training.warmup_ratio * num_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(num_steps - warmup, 1)
        if training.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        return 1 - progress if training.schedule == "linear" else 1.0

    return factor


class CausalTuner(L.LightningModule):
    """Fine-tunes a causal language model, in full or with LoRA."""

    def __init__(self, model: Model, training: Training, *, num_steps: int, cache: Path, seed: int) -> None:
        super().__init__()
        self.model, self.training_settings, self.num_steps = model, training, num_steps
        self.cache, self.seed = cache, seed
        self.network: Any = None
        self.strict_loading = model.tune == "full"

    def configure_model(self) -> None:
        if self.network is not None:
            return
        network: Any = load_model(self.model, self.cache, seed=self.seed)
        if self.model.gradient_checkpointing:
            network.gradient_checkpointing_enable({"use_reentrant": False})
        if self.model.tune == "lora":
            network = add_lora(network, self.model.lora, self.seed)
        self.network = network.train()

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = supervised_loss(self.network, batch)
        # Lightning divides by the accumulated batches and averages over ranks; the weights have done both already.
        return loss * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def configure_optimizers(self) -> Any:
        settings = self.training_settings
        optimizer = torch.optim.AdamW(
            [parameter for parameter in self.network.parameters() if parameter.requires_grad],
            lr=settings.lr_peak,
            betas=(settings.betas[0], settings.betas[1]),
            weight_decay=settings.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate(settings, self.num_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what is trained: frozen weights come from the base model again."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        if self.model.tune == "lora":
            checkpoint["state_dict"] = {
                name: value for name, value in checkpoint["state_dict"].items() if name in trained
            }
