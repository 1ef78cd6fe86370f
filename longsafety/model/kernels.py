"""Which attention a training uses, and which packages a run needs: decided once, before anything is loaded."""

from __future__ import annotations

import importlib.util
import inspect

from longsafety.errors import ConfigError
from longsafety.settings import Settings

_VARLEN_NEEDS = {"scale", "window_size", "enable_gqa"}
"""Parameters that torch's first ``varlen_attn`` lacked."""
_FIX = "set model.attention=auto"
_FLASH_MISSING = (
    "model.attention = flash_attention_2: the package flash-attn is not installed; install longsafety[flash] on a "
    f"machine with a CUDA GPU, or {_FIX}"
)

EIGHT_BIT_MISSING = "training.optimizer = adamw_8bit: torchao is not installed; install longsafety[optim]"


def loaded_attention(attention: str) -> str:
    """The attention that transformers loads a network with; the one for packs is set afterwards, for training only."""
    return attention if attention in ("eager", "flash_attention_2") else "sdpa"


def missing_packages(settings: Settings) -> list[str]:
    """``key = value: …`` for each package that a run needs and that is not installed; imports none of them."""
    if not {"train", "evaluate"} & {*settings.stages}:
        return []
    found = []
    trains = bool(settings.data_mix.sources)
    if trains and settings.trainer.strategy == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        found.append("trainer.strategy = deepspeed: deepspeed is not installed; install longsafety[deepspeed]")
    if trains and settings.training.optimizer == "adamw_8bit" and importlib.util.find_spec("torchao") is None:
        found.append(EIGHT_BIT_MISSING)
    if settings.model.attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        found.append(_FLASH_MISSING)
    asks = "evaluate" in settings.stages and settings.evaluation.backend == "vllm"
    if asks and importlib.util.find_spec("vllm") is None:
        found.append(
            "evaluation.backend = vllm: vllm is not installed; install longsafety[vllm] on a machine with a CUDA GPU, "
            "or set evaluation.backend=transformers"
        )
    return found


def check_flash(attention: str) -> None:
    """Raises ConfigError if flash-attn is set and not installed."""
    if attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        raise ConfigError([_FLASH_MISSING])


def chosen_attention(settings: Settings) -> str:
    """The attention that ``model.attention`` means here; ``auto``: ``varlen`` for packs on a fit GPU, else ``sdpa``.

    Raises ConfigError for one that this machine cannot train with.
    """
    import torch

    from longsafety.model.device import chosen_precision

    trainer, asked = settings.trainer, settings.model.attention
    check_flash(asked)
    gpu = trainer.accelerator != "cpu" and torch.cuda.is_available()
    if trainer.accelerator == "gpu" and not gpu:
        raise ConfigError(["trainer.accelerator = gpu: torch finds no CUDA GPU here; set trainer=cpu or trainer=auto"])
    if asked == "auto":
        precision, _ = chosen_precision(trainer.precision, trainer.accelerator, trains=True)
        packed = settings.training.packing == "packed"
        return "varlen" if gpu and packed and _varlen_problem(precision) is None else "sdpa"
    problem = None
    if asked in ("varlen", "flex", "flash_attention_2") and not gpu:
        problem = "needs a CUDA GPU, and torch finds none here"
    elif asked == "varlen":
        precision, _ = chosen_precision(trainer.precision, trainer.accelerator, trains=True)
        problem = _varlen_problem(precision)
    if problem:
        raise ConfigError([f"model.attention = {asked}: {problem}; {_FIX}"])
    return asked


def _varlen_problem(precision: str) -> str | None:
    """Why this GPU and this torch cannot use ``varlen``, or ``None``; its kernel needs half precision."""
    import torch
    from torch.nn.attention.varlen import varlen_attn

    if precision == "32-true":
        return "computes in bfloat16, and trainer.precision is 32-true"
    if torch.cuda.get_device_capability() < (8, 0):
        return f"needs an Ampere GPU or a newer one, and this is a {torch.cuda.get_device_name()}"
    if not set(inspect.signature(varlen_attn).parameters) >= _VARLEN_NEEDS:
        return f"torch {torch.__version__} has an older one; install a newer torch"
    return None
