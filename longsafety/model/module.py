"""The LightningModule around a Hugging Face causal language model."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.autograd.graph import save_on_cpu

from longsafety.errors import ConfigError
from longsafety.model.attention import PACKED
from longsafety.model.checkpoints import described
from longsafety.model.device import chosen_precision
from longsafety.model.frozen import cast_frozen
from longsafety.model.fused import fuse
from longsafety.model.kernels import chosen_attention, loaded_attention, use_flash
from longsafety.model.load import load_model, read_network
from longsafety.model.lora import add_lora
from longsafety.model.loss import supervised_loss, training_problem
from longsafety.model.optimizer import optimizer
from longsafety.model.recompute import recompute
from longsafety.model.sequence import share_sequences
from longsafety.model.tiles import tile_mlps, tiles_problem
from longsafety.model.tiny import BASE_SEED
from longsafety.settings import Settings, Training


def use_attention(network: Any, name: str) -> None:
    """Sets the registered attention ``name`` in ``network``. Raises ConfigError if the network ignores it."""
    network.set_attn_implementation(name)
    if network.config._attn_implementation != name:
        kind = type(network).__name__
        raise ConfigError(
            [f"training.packing = packed: {kind} has an attention of its own that cannot be replaced; set packing=none"]
        )


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


def offloaded(wanted: bool) -> Any:
    """A context that keeps what the forward pass saves in CPU memory: pinned, where a GPU copies from it."""
    return save_on_cpu(pin_memory=torch.cuda.is_available()) if wanted else nullcontext()


class CausalTuner(L.LightningModule):
    """Fine-tunes a causal language model, in full or with LoRA.

    ``start``: a folder of trained weights or adapters, which are tuned further.
    """

    def __init__(self, settings: Settings, *, num_steps: int, start: Path | None = None) -> None:
        super().__init__()
        self.settings, self.num_steps, self.start = settings, num_steps, start
        self.choice = chosen_attention(settings)
        self.attention = self.choice.name
        self.network: Any = None
        self.strict_loading = settings.model.tune == "full"

    def configure_model(self) -> None:
        if self.network is not None:
            return
        model = self.settings.model
        if self.start is not None and model.tune == "full":
            network = read_network(self.start, loaded_attention(model.attention))
        else:
            network = load_model(model, Path(self.settings.paths.cache), seed=BASE_SEED, rope=self.settings.length.rope)
        self.network = self.prepared(network)

    def prepared(self, network: Any) -> Any:
        """``network`` as it is trained: its attention, activation recomputation and adapters are set, in place."""
        model = self.settings.model
        problem = training_problem(network, self.settings.training.packing)
        if problem:
            raise ConfigError([f"training.packing = {self.settings.training.packing}: {problem}"])
        use_flash(self.choice)
        if self.settings.training.packing == "packed" and self.attention in PACKED:
            use_attention(network, PACKED[self.attention])
        if self.settings.trainer.sequence_parallel > 1:
            share_sequences(network, PACKED[self.attention], self.settings.trainer.sequence_parallel)
        if model.fuse:
            fuse(network)
        if model.mlp_tile_tokens is not None:
            if problem := tiles_problem(network):
                raise ConfigError([f"model.mlp_tile_tokens = {model.mlp_tile_tokens}: {problem}"])
            tile_mlps(network, model.mlp_tile_tokens)
        recompute(network, model.gradient_checkpointing)
        if model.tune == "lora":
            network = add_lora(network, model.lora, self.settings.training_seed, start=self.start)
        if self._casts_frozen:
            cast_frozen(network, torch.bfloat16)
        return network.train()

    @property
    def _casts_frozen(self) -> bool:
        """Whether autocast would cast frozen weights in every pass: on a processor; DeepSpeed casts them itself."""
        trainer = self.settings.trainer
        precision, _ = chosen_precision(trainer.precision, trainer.accelerator, trains=True)
        gpu = trainer.accelerator != "cpu" and torch.cuda.is_available()
        lora = self.settings.model.tune == "lora"
        return lora and precision == "bf16-mixed" and trainer.strategy != "deepspeed" and not gpu

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        with offloaded(self.settings.trainer.offload_activations):
            loss = supervised_loss(self.network, batch)
        # Lightning divides by the accumulated batches and averages over ranks; the samples' weights include both.
        return loss * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def configure_optimizers(self) -> Any:
        settings = self.settings.training
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        chosen = optimizer(trained, settings, self.settings.training_seed)
        schedule = torch.optim.lr_scheduler.LambdaLR(chosen, learning_rate(settings, self.num_steps))
        return {"optimizer": chosen, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the trained weights only: frozen ones are loaded from the base model."""
        checkpoint["longsafety"] = described(self.settings)
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        if self.settings.model.tune == "lora":
            checkpoint["state_dict"] = {
                name: value for name, value in checkpoint["state_dict"].items() if name in trained
            }
