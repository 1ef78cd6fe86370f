"""How ranks share a training: Lightning's strategies, DeepSpeed ZeRO on GPUs or processors, saving whole weights."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch

from longsafety.errors import ConfigError
from longsafety.model.finite import check_finite
from longsafety.settings import Trainer

_CPU_BUCKET = 5_000_000
"""Elements of a communication buffer; DeepSpeed's default of 200 million is meant for GPUs."""


def ranks(trainer: Trainer) -> int:
    """The number of processes that train together, over all nodes."""
    count = 1
    if isinstance(trainer.devices, int):
        count = trainer.devices
    elif trainer.accelerator != "cpu":
        count = max(torch.cuda.device_count(), 1)
    return count * trainer.num_nodes


def strategy(trainer: Trainer) -> Any:
    """The ``strategy`` of Lightning's Trainer. Raises ConfigError if DeepSpeed is not installed.

    DeepSpeed takes precision, clipping and accumulation from Lightning's Trainer. With ``bf16-mixed`` it keeps the
    weights in bfloat16, and a float32 copy in the optimiser.
    """
    on_cpu = trainer.accelerator == "cpu"
    if on_cpu or not torch.cuda.is_available():
        # DeepSpeed decides when it is imported, and prefers a GPU; other libraries import it where it is there.
        os.environ["DS_ACCELERATOR"] = "cpu"
    if trainer.strategy != "deepspeed":
        return trainer.strategy
    try:
        import deepspeed
    except ImportError:
        raise ConfigError(
            ["trainer.strategy = deepspeed: deepspeed is not installed; install longsafety[deepspeed]"]
        ) from None
    # Lightning warns of what this function sets on purpose.
    logging.getLogger("lightning.pytorch.strategies.deepspeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r"`torch\.distributed\.\w+` is deprecated", category=FutureWarning)
    buckets = {"allgather_bucket_size": _CPU_BUCKET, "reduce_bucket_size": _CPU_BUCKET} if on_cpu else {}
    made = _strategies()["cpu" if on_cpu else "gpu"](
        stage=trainer.zero.stage,
        offload_optimizer=trainer.zero.offload_optimizer,
        offload_parameters=trainer.zero.offload_parameters,
        logging_batch_size_per_gpu=1,  # only its log of samples a second reads it; batches differ in size here
        exclude_frozen_parameters=True,
        **buckets,
    )
    if on_cpu:
        # A model small enough for a processor is below the size that ZeRO-3 shards at all.
        made.config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        # Gloo is enough; DeepSpeed would first compile its own all-reduce.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if trainer.zero.offload_optimizer:
        made.config["zero_force_ds_cpu_optimizer"] = False  # torch's own AdamW takes offloaded states too
    return made


def _strategies() -> dict[str, Any]:
    """Classes made in a function, because importing Lightning's DeepSpeed strategy imports DeepSpeed."""
    from lightning.pytorch.strategies import DeepSpeedStrategy

    class Sharded(DeepSpeedStrategy):
        """Lightning's strategy for Hugging Face models: under ZeRO-3 no rank ever holds all weights."""

        @contextmanager
        def model_sharded_context(self) -> Iterator[None]:
            """``from_pretrained`` shards by itself while a ``HfDeepSpeedConfig`` lives, and only then."""
            from transformers.integrations import deepspeed as hugging_face

            module: Any = hugging_face
            self._init_config_if_needed()
            alive = module.HfDeepSpeedConfig(self.config)
            yield
            del alive
            module.unset_hf_deepspeed_config()

        @property
        def handles_gradient_accumulation(self) -> bool:
            """Lightning accumulates: DeepSpeed would wait forever in a shorter last step."""
            return False

        @contextmanager
        def block_backward_sync(self) -> Iterator[None]:
            """DeepSpeed reduces at the accumulation boundary."""
            yield

        def backward(self, closure_loss: torch.Tensor, optimizer: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            """Marks the end of a step for DeepSpeed, which must not divide by the accumulated batches."""
            assert self.lightning_module is not None
            accumulates = self.lightning_module.trainer.fit_loop._should_accumulate()
            self.deepspeed_engine.set_gradient_accumulation_boundary(not accumulates)
            return super().backward(closure_loss, optimizer, *args, scale_wrt_gas=False, **kwargs)

    class ShardedOnCPU(Sharded):
        """The same on processors, which DeepSpeed supports and Lightning refuses."""

        def setup_environment(self) -> None:
            super(DeepSpeedStrategy, self).setup_environment()

        def setup_distributed(self) -> None:
            self.set_world_ranks()
            self._init_deepspeed_distributed()

        @property
        def root_device(self) -> torch.device:
            return torch.device("cpu", self.local_rank)

    return {"gpu": Sharded, "cpu": ShardedOnCPU}


class Saving(L.Callback):
    """Writes the weights into ``folder`` when the last step is done."""

    def __init__(self, folder: Path, num_steps: int) -> None:
        self.folder, self.num_steps = folder, num_steps

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.global_step == self.num_steps:
            check_finite(trainer, pl_module, self.num_steps)
            save(trainer, pl_module.network, self.folder)


def save(trainer: Any, network: Any, folder: Path) -> None:
    """Writes the weights as they stand, whole and in float32 where they are trained, by ``save_pretrained``.

    Every rank calls it within the fit (``on_train_end`` at the latest); the first one writes. For a DeepSpeed training
    it holds all weights in main memory meanwhile.
    """
    if hasattr(trainer.strategy, "deepspeed_engine"):
        state = _whole(network, trainer.is_global_zero)
        if trainer.is_global_zero:
            network.save_pretrained(folder, state_dict=state)
    elif trainer.is_global_zero:
        network.save_pretrained(folder)
    trainer.strategy.barrier()


def num_parameters(network: Any) -> tuple[int, int]:
    """The numbers of all and of trained parameters; ZeRO-3 leaves empty tensors that know their size."""
    sizes = [(getattr(item, "ds_numel", item.numel()), item.requires_grad) for item in network.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def _whole(network: Any, keep: bool) -> dict[str, torch.Tensor]:
    """The state dict from all ranks' shards, one parameter at a time; empty unless ``keep``. Names that share a
    parameter share a tensor."""
    import deepspeed
    from deepspeed.utils import safe_get_full_fp32_param

    state: dict[str, torch.Tensor] = {}
    seen: dict[int, torch.Tensor] = {}
    for name, value in network.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            is_shard = hasattr(value, "ds_id")
            with deepspeed.zero.GatheredParameters([value]) if is_shard and not value.requires_grad else nullcontext():
                full = safe_get_full_fp32_param(value) if value.requires_grad else None
                full = value if full is None else full
                seen[id(value)] = full.detach().to("cpu", copy=True) if keep else torch.empty(0)
        if keep:
            state[name] = seen[id(value)]
    return state
