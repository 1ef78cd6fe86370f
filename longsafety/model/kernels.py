"""Which attention a training uses, and which packages a run needs: decided once, before anything is loaded."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from longsafety.errors import ConfigError, first_line
from longsafety.settings import Settings

_NEWER_FLASH = (("FA4", "flash_attn.cute", (10,)), ("FA3", "flash_attn_interface", (9,)))
"""torch's name of a flash implementation, the package that has it, and the GPUs that it is faster on (the major number
of their compute capability)."""
_CUDNN = 91500
"""From torch 2.11 on, SDPA prefers a cuDNN above this on Hopper: 1.7 to 2.3 times as fast as FA2."""
_BROKEN_DEEPSPEED = ("0.19.2",)
"""Versions in which ZeRO-3 with LoRA and recomputation fails."""
_FIX = "set model.attention=auto"
_FLASH_MISSING = (
    "model.attention = flash_attention_2: the package flash-attn is not installed; install longsafety[flash] on a "
    f"machine with a CUDA GPU, or {_FIX}"
)

EIGHT_BIT_MISSING = "training.optimizer = adamw_8bit: torchao is not installed; install longsafety[optim]"


class Choice(NamedTuple):
    """The attention for a training or an evaluation, why, and the implementation of torch's flash operator."""

    name: str
    reason: str
    implementation: str = "FA2"


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
    elif (
        trains
        and settings.trainer.strategy == "deepspeed"
        and (bad := _installed_version("deepspeed")) in _BROKEN_DEEPSPEED
    ):
        found.append(
            f"trainer.strategy = deepspeed: deepspeed {bad} fails in ZeRO-3 with LoRA and recomputation; "
            "install another"
        )
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


def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_flash(attention: str) -> None:
    """Raises ConfigError if flash-attn is set and not installed."""
    if attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        raise ConfigError([_FLASH_MISSING])


def chosen_attention(settings: Settings) -> Choice:
    """The attention that ``model.attention`` means here; ``auto``: flash calls for packs on a fit GPU, else ``sdpa``.

    Raises ConfigError for one that this machine cannot train with.
    """
    import torch

    from longsafety.model.device import chosen_precision

    trainer, asked = settings.trainer, settings.model.attention
    check_flash(asked)
    gpu = trainer.accelerator != "cpu" and torch.cuda.is_available()
    if trainer.accelerator == "gpu" and not gpu:
        raise ConfigError(["trainer.accelerator = gpu: torch finds no CUDA GPU here; set trainer=cpu or trainer=auto"])
    half = chosen_precision(trainer.precision, trainer.accelerator, trains=True)[0] != "32-true"
    if asked == "auto":
        if settings.training.packing != "packed":
            return Choice("sdpa", f"training.packing = {settings.training.packing} has masks")
        return packed_attention(gpu=gpu, half=half)
    problem = None
    if asked in ("varlen", "flex", "flash_attention_2") and not gpu:
        problem = "needs a CUDA GPU, and torch finds none here"
    elif asked == "varlen":
        problem = _flash_problem(half=half)
    if problem:
        raise ConfigError([f"model.attention = {asked}: {problem}; {_FIX}"])
    if asked == "varlen":
        return packed_attention(gpu=gpu, half=half)._replace(name="varlen")
    return Choice(asked, "model.attention asks for it")


def packed_attention(*, gpu: bool, half: bool) -> Choice:
    """The fastest exact attention for packed chats on this machine's GPU, or on its processor, and why."""
    if not gpu:
        return Choice("sdpa", "a processor")
    if problem := _flash_problem(half=half):
        return Choice("sdpa", f"flash {problem}")
    import torch

    major, minor = torch.cuda.get_device_capability()
    where, reasons = f"compute capability {major}.{minor}", []
    for kind, package, majors in _NEWER_FLASH:
        if major not in majors:
            continue
        if not _installed(package):
            reasons.append(f"{package} ({kind}) is not installed")
        elif not hasattr(torch.nn.attention, "activate_flash_attention_impl"):
            reasons.append(f"torch {torch.__version__} cannot activate {kind}")
        else:
            return Choice("varlen", f"{where}, {package} is installed", kind)
    if major in (9, 10):
        cudnn = torch.backends.cudnn.version() or 0  # type: ignore[no-untyped-call]
        if _torch_version() >= (2, 11) and cudnn > _CUDNN:
            return Choice(
                "varlen+cudnn",
                "; ".join([where, *reasons, f"cuDNN {cudnn} for long chats that share nothing, FA2 for the others"]),
            )
        reasons.append(f"torch {torch.__version__} with cuDNN {cudnn} does not prefer cuDNN")
    if _installed("flash_attn"):
        reasons.append("flash-attn has the same kernels as torch")
    return Choice("varlen", "; ".join([where, *reasons, "FA2 of torch"]))


def use_flash(choice: Choice) -> None:
    """Has torch's flash operator run the chosen implementation; says so where that fails, and FA2 remains."""
    if choice.implementation == "FA2":
        return
    from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl

    if current_flash_attention_impl() == choice.implementation:
        return
    try:
        activate_flash_attention_impl(choice.implementation)
    except Exception as error:  # whatever a package of another version raises
        print(f"  {choice.implementation} cannot be used ({first_line(error)}); FA2 of torch is used", flush=True)


def _flash_problem(*, half: bool) -> str | None:
    """Why this GPU and precision cannot use flash calls, or ``None``."""
    import torch

    if not half:
        return "computes in bfloat16, and trainer.precision is 32-true"
    if torch.cuda.get_device_capability() < (8, 0):
        return f"needs an Ampere GPU or a newer one, and this is a {torch.cuda.get_device_name()}"
    return None


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the package above it
        return False


def _torch_version() -> tuple[int, int]:
    import torch

    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)
