"""What this machine computes with."""

from __future__ import annotations

import torch


def chosen_precision(asked: str, accelerator: str, *, trains: bool) -> tuple[str, str]:
    """Lightning's precision and the device's name; ``auto`` is bfloat16 where the hardware multiplies it natively.

    Training keeps float32 weights beside it (mixed); asking does not (true), for casting them anew for every prompt
    costs more than it gains.
    """
    device = device_name(accelerator)
    gpu = _is_gpu(accelerator)
    if asked != "auto":
        return asked, device
    native = torch.cuda.is_bf16_supported() if gpu else native_cpu_bfloat16()
    if not native:
        return "32-true", device
    return ("bf16-mixed" if trains else "bf16-true"), device


def device_name(accelerator: str) -> str:
    """The GPU's name, or the number of processor threads."""
    return torch.cuda.get_device_name() if _is_gpu(accelerator) else f"cpu × {torch.get_num_threads()} threads"


def _is_gpu(accelerator: str) -> bool:
    return accelerator != "cpu" and torch.cuda.is_available()


def use_threads(num_threads: int | None) -> None:
    """Sets torch's processor threads; ``None`` leaves its choice."""
    if num_threads:
        torch.set_num_threads(num_threads)


def native_cpu_bfloat16() -> bool:
    """Whether the processor has bfloat16 matrix instructions (AVX512-BF16 or AMX); elsewhere they are emulated."""
    capability = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capability and bool(torch.cpu._is_avx512_bf16_supported())
