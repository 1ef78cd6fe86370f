"""What this machine computes with: precision, threads, memory."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def chosen_precision(asked: str, accelerator: str, *, trains: bool) -> tuple[str, str]:
    """Lightning's precision and the device's name; ``auto`` is bfloat16 where the hardware multiplies it natively.

    Training keeps float32 weights (mixed). Evaluation does not (true): casting them for every prompt costs more than it
    gains.
    """
    device = device_name(accelerator)
    gpu = _is_gpu(accelerator)
    if asked != "auto":
        return asked, device
    # Turing and Volta emulate it, many times slower than they compute in float32.
    native = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else native_cpu_bfloat16()
    if not native:
        return "32-true", device
    return ("bf16-mixed" if trains else "bf16-true"), device


def device_name(accelerator: str) -> str:
    """The GPU's name, or the number of processor threads."""
    return torch.cuda.get_device_name() if _is_gpu(accelerator) else f"cpu × {torch.get_num_threads()} threads"


def _is_gpu(accelerator: str) -> bool:
    return accelerator != "cpu" and torch.cuda.is_available()


def use_threads(num_threads: int | None) -> None:
    """Sets torch's processor threads; ``None`` leaves torch's choice."""
    if num_threads:
        torch.set_num_threads(num_threads)


def native_cpu_bfloat16() -> bool:
    """Whether the processor has bfloat16 matrix instructions (AVX512-BF16 or AMX); elsewhere they are emulated."""
    capability = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capability and bool(torch.cpu._is_avx512_bf16_supported())


_MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -4, -3, -1
"""Parameters of glibc's mallopt."""


@contextmanager
def training_memory(*, reuse: bool) -> Iterator[None]:
    """Has glibc allocate tensors on a heap that keeps what is freed (``reuse``), or map each; no effect elsewhere.

    The heap is faster: no pass waits for fresh pages. It is fragmented by large tensors of many sizes: a training step
    takes 2 to 5 times the memory that it takes mapped, and mapped 1.2 (huge pages) to 1.7 times the time. Afterwards
    glibc is in the state that its own adaptation ends in.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_MAX, 0 if reuse else 65_536)
    mallopt(_MMAP_THRESHOLD, 64 << 10)
    mallopt(_TRIM_THRESHOLD, -1 if reuse else 128 << 10)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, 65_536)
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 64 << 20)


@contextmanager
def unfilled_memory() -> Iterator[None]:
    """Stops torch from filling every fresh tensor in deterministic mode, which only shows reads of fresh memory."""
    settings: Any = torch.utils.deterministic
    before = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = before
