"""The plan's memory beside the memory of a training: do its formulae hold?

python tests/benchmarks/plan_memory.py          (the nano rows need SmolLM2 in the cache; they are left out without it)

Each row is one command's settings. Planned: ``longsafety.planning.training``, by part. Measured, in a fresh process:
by how much its resident memory grows from before the network is loaded to the peak of two optimiser steps of two packs
each, with AdamW, the packs filled to ``pack_tokens`` with chats of the training length and answers of as many
tokens as the plan assumes. Counted: weights, gradients (of the first pack, while the second is computed), the
optimiser's states, activations, logits. Not counted: the libraries, and loading. Tensors are mapped one by one
(``MALLOC_MMAP_THRESHOLD_``), so that what is freed leaves the process.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from setting import tell

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.data.module import packed
from longsafety.data.tokens import TokenRow
from longsafety.model.load import load_model
from longsafety.model.loss import supervised_loss
from longsafety.model.module import CausalTuner
from longsafety.planning.memory import ANSWER_TOKENS, PARTS
from longsafety.planning.training import plan
from longsafety.settings import Settings

CACHE = Path.home() / ".cache" / "longsafety"
TOLERANCE = 0.15
CPU = ["trainer=cpu", "trainer.precision=32-true", f"paths.cache={CACHE}"]
CASES = {
    "tiny": ["scale=smoke", "length=1k"],
    "tiny, LoRA": ["scale=smoke", "length=1k", "model.tune=lora"],
    "nano": ["scale=nano"],
    "nano, full": ["scale=nano", "model.tune=full"],
    "nano, layers computed again": ["scale=nano", "model.gradient_checkpointing=full"],
    "nano, all but attention again": ["scale=nano", "model.gradient_checkpointing=selective"],
}


def settings_of(case: str) -> Settings:
    [settings] = settle(compose_jobs([*CPU, *CASES[case]]))
    return settings


def resident(name: str) -> int:
    """``VmRSS`` or ``VmHWM`` (its peak) in bytes."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


def steps(module: CausalTuner, settings: Settings, pack_tokens: int) -> None:
    """Two optimiser steps of two packs each, as the trainer does them."""
    length = settings.length.training_tokens
    generator = np.random.default_rng(0)
    rows = [
        (TokenRow(generator.integers(3, 1900, length).astype(np.int32), ANSWER_TOKENS), 0.1)
        for _ in range(pack_tokens // length)
    ]
    batch = packed(rows, share=settings.training.share_prefixes)
    optimizer = module.configure_optimizers()["optimizer"]
    for _ in range(2):
        for _ in range(2):
            supervised_loss(module.network, batch).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def measure(case: str) -> None:
    """In this process: prints the growth in bytes."""
    settings = settings_of(case)
    made = plan(settings)
    warm = settings_of("tiny")
    tuner = CausalTuner(warm, num_steps=2)
    tuner.configure_model()
    steps(tuner, warm, 2048)
    load_model(warm.model, CACHE, seed=0)
    del tuner
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = resident("VmRSS")
    module = CausalTuner(settings, num_steps=2)
    module.configure_model()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # begins the peak anew
    steps(module, settings, made.pack_tokens)
    print(json.dumps({"peak": resident("VmHWM") - before, "precision": made.precision}))


def compare(case: str) -> dict[str, Any]:
    made = plan(settings_of(case))
    assert made.memory is not None and made.peak is not None
    done = subprocess.run(
        [sys.executable, __file__, case], check=True, stdout=subprocess.PIPE,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    peak = json.loads(done.stdout.splitlines()[-1])["peak"]
    return {
        "tokens of a pack": made.pack_tokens,
        "planned, MB": {part: round(made.memory[part] / 1e6, 1) for part in PARTS},
        "planned in all, MB": round(made.peak / 1e6, 1),
        "measured, MB": round(peak / 1e6, 1),
        "planned / measured": round(made.peak / peak, 3),
    }


def main() -> None:
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    there = any(CACHE.glob("smollm2*/model.safetensors"))
    rows: dict[str, dict[str, Any] | str] = {
        case: compare(case) for case in CASES if there or not case.startswith("nano")
    }
    rows |= {case: "left out: SmolLM2 is not in the cache" for case in CASES if case not in rows}
    tell("plan-memory", rows)
    off = [
        case for case, row in rows.items() if isinstance(row, dict) and abs(row["planned / measured"] - 1) > TOLERANCE
    ]
    assert not off, f"the plan is off by more than {TOLERANCE:.0%}: {', '.join(off)}"


if __name__ == "__main__":
    main()
