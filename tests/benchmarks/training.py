"""A training step: ours against the usual ways, in losses, gradients, time, FLOPs and memory.

python tests/benchmarks/training.py ragged|smollm2|long|prefix [--repeats 3]      (ragged and smollm2 need trl)

ragged: 12 chats of a log-normal spread of lengths, at most 4,096 tokens, a 4-layer Llama with a 32k vocabulary, beside
TRL's SFTTrainer in its best setting. smollm2: the same with SmolLM2-135M and LoRA r=16, layers computed again in the
backward pass on both sides (TRL's default; without it TRL's side takes more than 24 GB), one timed step a process.
long: one chat of 8,192 tokens, 200 supervised, 2 layers, a vocabulary of 128,256, beside
``LlamaForCausalLM(labels=…)``. prefix: 2, 4 and 8 chats on one context of 4,096 tokens, beside a loop over them. Each
side runs in a process of its own, one after the other in turns; a row counts only if losses and gradients agree.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from setting import tell

from longsafety.data.module import Member, packed
from longsafety.data.tokens import TokenRow
from longsafety.model.attention import NAME
from longsafety.model.loss import supervised_loss
from longsafety.model.recompute import recompute

CASES = ("ragged", "smollm2", "long", "prefix")
TOLERANCE = 1e-3  # of the gradients' norm: float32 sums in another order


def network(case: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if case == "smollm2":
        from longsafety.model.load import load_model
        from longsafety.model.lora import add_lora
        from longsafety.settings import Lora, Model

        cache = Path.home() / ".cache" / "longsafety"
        base = load_model(Model(name="smollm2", source="smollm2", window=8192), cache, seed=0)
        recompute(base, "full")
        return add_lora(base, Lora(), 0).train()
    shapes = {"ragged": (4, 32_000), "prefix": (4, 32_000), "long": (2, 128_256)}
    layers, vocabulary = shapes[case]
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=128, intermediate_size=448, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=1, max_position_embeddings=131_072, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).train()


def chats(case: str, count: int) -> list[Member]:
    generator = np.random.default_rng(0)

    def ids(size: int) -> np.ndarray:
        return generator.integers(3, 32_000, size).astype(np.int32)

    if case == "long":
        return [(TokenRow(ids(8192), 200), 1.0)]
    if case == "prefix":
        shared = ids(4096)
        return [(TokenRow(np.concatenate([shared, ids(100)]), 100), 1 / count) for _ in range(count)]
    lengths = np.clip(generator.lognormal(6.3, 0.9, 12).astype(int), 64, 4096)
    lengths[0] = 4096
    answers = generator.integers(20, 61, 12)
    weights = answers / answers.sum()  # as TRL counts: every supervised token alike
    rows = [TokenRow(ids(size), int(answer)) for size, answer in zip(lengths, answers, strict=True)]
    return list(zip(rows, weights.tolist(), strict=True))


def step_of(side: str, case: str, count: int) -> Any:
    """A function that makes one step's gradients and returns the loss; and the network."""
    members = chats(case, count)
    model = network(case)
    if side == "ours":
        base = model.get_base_model() if case == "smollm2" else model
        base.set_attn_implementation(NAME)
        batch = packed(members, share=True)

        def step() -> float:
            loss = supervised_loss(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        return step, model
    if side == "trl":
        return _trl_step(model, members), model

    def alone() -> float:
        total = 0.0
        for chat, weight in members:
            ids = torch.from_numpy(chat.ids.astype(np.int64))[None]
            labels = ids.clone()
            labels[:, : -chat.num_answer] = -100
            keep = {} if case == "long" else {"logits_to_keep": chat.num_answer + 1}
            if keep:  # only the supervised logits: the gain is the shared context's alone
                logits = model(input_ids=ids, use_cache=False, **keep).logits[0, :-1]
                loss = weight * torch.nn.functional.cross_entropy(logits.float(), ids[0, -chat.num_answer :])
            else:
                loss = weight * model(input_ids=ids, labels=labels, use_cache=False).loss
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    return alone, model


def _trl_step(model: Any, members: list[Member]) -> Any:
    """One packed micro-batch through SFTTrainer's own collator and ``compute_loss``, mean over tokens as it does it."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    plain = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>"
    )
    rows = {
        "input_ids": [chat.ids.tolist() for chat, _ in members],
        "completion_mask": [[0] * (len(chat.ids) - chat.num_answer) + [1] * chat.num_answer for chat, _ in members],
    }
    total = sum(len(chat.ids) for chat, _ in members)
    arguments = SFTConfig(
        output_dir=tempfile.mkdtemp(), packing=True, packing_strategy="bfd", max_length=total,
        completion_only_loss=True, loss_type="chunked_nll", per_device_train_batch_size=1, report_to=[], use_cpu=True,
        bf16=False, gradient_checkpointing=model.is_gradient_checkpointing, disable_tqdm=True,
    )  # fmt: skip
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(rows), processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    supervised = int((batch["labels"] != -100).sum())

    def step() -> float:
        loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=None)
        loss.backward()
        value: float = loss.item()
        return value

    print(f"# trl: {total} tokens, {supervised} supervised, keys {sorted(batch)}", file=sys.stderr)
    return step


def measure(side: str, case: str, count: int, gradients: Path) -> None:
    """One side, in this process: prints loss, gradient, seconds, FLOPs and the growth of the peak memory."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(2)
    step, model = step_of(side, case, count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with FlopCounterMode(display=False) as counter:
        loss = step()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    gradient = torch.cat([p.grad.flatten() for _, p in sorted(model.named_parameters()) if p.grad is not None])
    torch.save(gradient, gradients)
    seconds = []
    for _ in range(1 if case == "smollm2" else 3):
        model.zero_grad(set_to_none=True)
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    told = {"loss": loss, "seconds": median(seconds), "flops": counter.get_total_flops(), "peak_kib": grown}
    print(json.dumps(told))


def compare(case: str, count: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Both sides in turns, ``repeats`` processes each."""
    peer = "trl" if case in ("ragged", "smollm2") else "alone"
    told: dict[str, list[dict[str, float]]] = {"ours": [], peer: []}
    for _ in range(repeats):
        for side, runs in told.items():
            command = [sys.executable, __file__, case, "--side", side, "--count", str(count), "--folder", str(folder)]
            runs.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]))
    ours, theirs = (torch.load(folder / f"{side}.pt") for side in told)
    off = float((ours - theirs).norm() / theirs.norm())
    mean = {side: {key: median([run[key] for run in runs]) for key in runs[0]} for side, runs in told.items()}
    gap = abs(mean["ours"]["loss"] - mean[peer]["loss"])
    assert gap < 1e-4 and off < TOLERANCE, f"{case}: losses differ by {gap:.1e}, gradients by {off:.1e}"
    rows = chats(case, count)
    supervised = sum(chat.num_answer for chat, _ in rows)
    return {
        "chats": len(rows),
        "tokens": sum(len(chat.ids) for chat, _ in rows),
        "supervised tokens": supervised,
        "relative difference of gradients": f"{off:.1e}",
        "seconds a step": {side: round(values["seconds"], 3) for side, values in mean.items()},
        "ratio of time": round(mean[peer]["seconds"] / mean["ours"]["seconds"], 2),
        "ratio of FLOPs": round(mean[peer]["flops"] / mean["ours"]["flops"], 2),
        "peak memory, growth in GB": {side: round(values["peak_kib"] / 1e6, 2) for side, values in mean.items()},
        "ratio of memory": round(mean[peer]["peak_kib"] / mean["ours"]["peak_kib"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        path = arguments.folder / f"{arguments.side}.pt"
        measure(arguments.side, arguments.case, arguments.count, path)
        return
    with tempfile.TemporaryDirectory() as folder:
        counts = (2, 4, 8) if arguments.case == "prefix" else (1,)
        for count in counts:
            name = f"training-{arguments.case}" + (f"-{count}" if count > 1 else "")
            tell(name, compare(arguments.case, count, arguments.repeats, Path(folder)))


if __name__ == "__main__":
    main()
