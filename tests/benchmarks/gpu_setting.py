"""What the GPU's benchmarks share: Llama-3.1-8B's shape with random weights, made where it stays; peaks and FLOPs.

They import torch, transformers, lightning, and of ``gpu-wheels.txt`` pydantic and what it needs: nothing else, so that
they run on a rented machine's own environment.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from longsafety.model.rope import settle_frequencies
from longsafety.model.shape import Shape
from longsafety.planning.memory import PEAK_FLOPS
from longsafety.settings import Settings

SHAPES = {
    "8b": Shape(32, 4096, 32, 8, 128, 14_336, 128_256),
    "tiny": Shape(2, 64, 4, 2, 16, 224, 2048),
}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHORTER = {"8b": 1, "tiny": 64}
"""By how much a shape's sequences are shorter."""
OUT_OF_MEMORY = 3
"""Exit status of a side that the memory did not suffice for."""


def network(shape: Shape) -> Any:
    """A Llama in bfloat16, its weights made on the device; nothing is copied."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(  # type: ignore[call-arg]
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=1 << 20, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0}, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with DEVICE:
            made = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    settle_frequencies(made)
    return made


def settings(*, training: dict[str, Any], trainer: dict[str, Any], model: dict[str, Any]) -> Settings:
    """Those of a training, without the files that a run is composed of."""
    return Settings.model_validate(
        {
            "name": "gpu", "scale": "paper", "corpus": "embedded", "evaluation": {}, "tracking": {}, "report": {},
            "scenario": {"name": "s", "tasks": {"KeywordRAG": {"train": 1, "bench": 1}}}, "data_mix": {"name": "m"},
            "model": {"name": "llama", "source": "tiny", "window": 1 << 20, **model},
            "length": {"name": "l", "max_tokens": 32_512}, "training": training,
            "trainer": {"name": "gpu", "precision": "bf16-true", **trainer},
            "paths": {"outputs": "unused", "cache": "unused"},
        }
    )  # fmt: skip


def seconds(run: Callable[[], Any], repeats: int) -> list[float]:
    """Of each repeat, with the device's work."""
    times = []
    for _ in range(repeats):
        synchronize()
        began = time.perf_counter()
        run()
        synchronize()
        times.append(time.perf_counter() - began)
    return times


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def peak_bytes() -> int:
    """Allocated at most on the GPU; on a processor, resident in this process at most."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory(gib: float | None) -> None:
    """As if the device had so much."""
    if gib is None:
        return
    if DEVICE.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(gib * 2**30 / torch.cuda.get_device_properties(0).total_memory)
    else:
        resource.setrlimit(resource.RLIMIT_DATA, (int(gib * 2**30), int(gib * 2**30)))


def no_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def train_flops(shape: Shape, tokens: int, *, head: bool) -> float:
    """Of a token in one causal sequence of ``tokens``, nothing computed again; ``head``: as if all were supervised."""
    weights = shape.matrices + (shape.vocabulary * shape.hidden if head else 0)
    return 6 * weights + 6 * shape.layers * shape.query * tokens


def share_of_peak(flops_a_second: float) -> float | None:
    """Of the dense bfloat16 peak; ``None`` for a device that is not in the plan's table."""
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else ""
    peak = next((value for gpu, value in PEAK_FLOPS.items() if gpu.partition("-")[0] in name), None)
    return None if peak is None else round(flops_a_second / peak, 4)


def side(script: str, *arguments: object, limit_gib: float | None = None) -> dict[str, Any] | None:
    """What ``script`` prints last, in a process of its own; ``None`` where its memory did not suffice."""
    limit = [] if limit_gib is None else ["--limit-gib", limit_gib]
    command = [sys.executable, script, *map(str, [*arguments, *limit])]
    environment = {**os.environ, "PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment)
    if done.returncode == OUT_OF_MEMORY:
        return None
    done.check_returncode()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def keep(name: str, shape: str, values: dict[str, Any]) -> None:
    """Prints a result. That of the real shape is kept in the folder ``$OUT``, else in ``results/``; the tiny one only
    shows that the script runs."""
    gpu = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "none"
    values = {**values, "device": gpu, "torch": torch.__version__}
    print(json.dumps(values, indent=1))
    if shape == "8b":
        folder = Path(os.environ.get("OUT") or Path(__file__).with_name("results"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"gpu-{name}.json").write_text(json.dumps(values, indent=1) + "\n", "utf-8")
