"""A full fine-tune of 8B in bfloat16 on one GPU, nothing in the processor's memory: speed, peak, longest sequence.

python tests/benchmarks/gpu_training.py train32k|train128k|longest [--shape tiny] [--steps 5] [--limit-gib 80]

Weights are random, of Llama-3.1-8B's shape; ``--shape tiny`` is for a processor, with sequences 64 times shorter, and
keeps no result. One chat a pack, 64 of its tokens supervised, through the module and the optimiser (8-bit states) of a
training, layers computed again (``--recompute``). train32k: beside TRL's SFTTrainer in its best setting where trl is
importable, its optimiser the same; a row counts only if losses and gradients agree. longest: doubled, then halved
between, up to the first that the memory does not suffice for; ``--tile`` and ``--offload-activations`` as in the
settings. Each attempt is a process; the states exist before the long step.

The share of the peak counts 6 FLOPs a weight and token and causal attention, not what is computed again; with the head
for every token, as others count, and without it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import gpu_setting as gpu
import numpy as np
import torch

from longsafety.data.module import packed
from longsafety.data.tokens import TokenRow
from longsafety.model.loss import supervised_loss
from longsafety.model.module import CausalTuner, offloaded
from longsafety.model.optimizer import optimizer
from longsafety.settings import Settings

ANSWER = 64
TOLERANCE = 0.05  # of the gradients' norm: two bfloat16 sums in another order
CASES = {"train32k": 32_768, "train128k": 131_072, "longest": 65_536}
GRAIN = 16_384
"""Tokens that the longest is told to."""


def settings(arguments: argparse.Namespace) -> Settings:
    """As ``trainer=h200_1`` has them; 8-bit states where torchao is there, which a rented machine may lack."""
    eight = importlib.util.find_spec("torchao") is not None
    return gpu.settings(
        training={"micro_batch_size": 1, "optimizer": "adamw_8bit" if eight else "adamw"},
        trainer={"accelerator": "auto", "offload_activations": arguments.offload_activations},
        model={"gradient_checkpointing": arguments.recompute, "mlp_tile_tokens": arguments.tile},
    )


def chat(tokens: int, vocabulary: int) -> TokenRow:
    return TokenRow(np.random.default_rng(0).integers(3, vocabulary, tokens).astype(np.int32), min(ANSWER, tokens // 4))


def ours(arguments: argparse.Namespace, row: TokenRow) -> tuple[Any, torch.optim.Optimizer, Callable[[], float]]:
    made = settings(arguments)
    module = CausalTuner(made, num_steps=100)
    module.network = module.prepared(gpu.network(gpu.SHAPES[arguments.shape]))
    batch = packed([(row, 1.0)], share=True)
    batch = {name: value.to(gpu.DEVICE) if torch.is_tensor(value) else value for name, value in batch.items()}

    def backward() -> float:
        with offloaded(made.trainer.offload_activations):
            loss = supervised_loss(module.network, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    return module.network, module.configure_optimizers()["optimizer"], backward


def trl(arguments: argparse.Namespace, row: TokenRow) -> tuple[Any, torch.optim.Optimizer, Callable[[], float]]:
    """SFTTrainer's own collator and ``compute_loss``, with what is installed of flash-attn and liger-kernel."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    plain = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>"
    )
    model = gpu.network(gpu.SHAPES[arguments.shape])
    if importlib.util.find_spec("flash_attn") is not None and gpu.DEVICE.type == "cuda":
        model.set_attn_implementation("flash_attention_2")
    liger = importlib.util.find_spec("liger_kernel") is not None and gpu.DEVICE.type == "cuda"
    mask = [0] * (len(row.ids) - row.num_answer) + [1] * row.num_answer
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(), packing=True, packing_strategy="bfd", max_length=len(row.ids),
        completion_only_loss=True, loss_type="nll", use_liger_kernel=liger,
        per_device_train_batch_size=1, report_to=[], use_cpu=gpu.DEVICE.type == "cpu", bf16=gpu.DEVICE.type == "cuda",
        gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False}, disable_tqdm=True,
    )  # fmt: skip
    data = Dataset.from_dict({"input_ids": [row.ids.tolist()], "completion_mask": [mask]})
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    model.gradient_checkpointing_enable({"use_reentrant": False})  # what ``train`` would do first
    batch = next(iter(trainer.get_train_dataloader()))
    print(f"# trl: liger {liger}, {model.config._attn_implementation}, keys {sorted(batch)}", file=sys.stderr)
    model.train()

    def backward() -> float:
        loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=None)
        loss.backward()
        value: float = loss.item()
        return value

    made = settings(arguments)
    return model, optimizer(model.parameters(), made.training, made.seed), backward


SIDES = {"ours": ours, "trl": trl}


def measure(arguments: argparse.Namespace) -> None:
    """One side, in this process: prints loss, seconds a step and the peak; keeps some gradients for the comparison."""
    gpu.limit_memory(arguments.limit_gib)
    row = chat(arguments.tokens, gpu.SHAPES[arguments.shape].vocabulary)
    model, chosen, backward = SIDES[arguments.side](arguments, row)

    def step() -> float:
        loss = backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        chosen.step()
        chosen.zero_grad()
        return loss

    if arguments.states_first:  # their memory counts in the one long step, and a short one makes them
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        chosen.step()
        chosen.zero_grad()
    loss = backward()
    if arguments.folder:
        names = ("layers.0.input_layernorm", "layers.0.self_attn.q_proj", "layers.1.mlp.down_proj", "model.norm")
        kept = {
            name: parameter.grad.float().cpu()
            for name, parameter in model.named_parameters()
            if any(part in name for part in names) and parameter.grad is not None
        }
        torch.save(kept, arguments.folder / f"{arguments.side}.pt")
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    chosen.step()
    chosen.zero_grad()
    if arguments.steps > 1:
        step()  # what the allocator and the compiler do once
    times = gpu.seconds(step, arguments.steps) if arguments.steps else [float("nan")]
    print(json.dumps({"loss": loss, "seconds": median(times), "peak": gpu.peak_bytes(), "steps": len(times)}))


def figures(arguments: argparse.Namespace, tokens: int, told: dict[str, Any]) -> dict[str, Any]:
    shape, rate = gpu.SHAPES[arguments.shape], tokens / told["seconds"]
    shares = {head: gpu.share_of_peak(rate * gpu.train_flops(shape, tokens, head=head)) for head in (True, False)}
    return {
        "seconds a step": round(told["seconds"], 3),
        "steps": told["steps"],
        "tokens a second": round(rate, 1),
        "share of the peak, head for every token": shares[True],
        "share of the peak, without the head": shares[False],
        "peak memory, GB": round(told["peak"] / 1e9, 2),
    }


def compare(arguments: argparse.Namespace, tokens: int) -> dict[str, Any]:
    names = ["ours", "trl"] if arguments.case == "train32k" and importlib.util.find_spec("trl") else ["ours"]
    with tempfile.TemporaryDirectory() as folder:
        told = {name: attempt(arguments, tokens, name, "--folder", folder) for name in names}
        found: dict[str, Any] = {"tokens of a pack": tokens}
        for name, values in told.items():
            found[name] = figures(arguments, tokens, values) if values else "out of memory"
        mine, peer = told["ours"], told.get("trl")
        if mine and peer:
            gradients = [torch.load(Path(folder) / f"{name}.pt") for name in names]
            assert gradients[0].keys() == gradients[1].keys()
            off = max(float((gradients[0][key] - value).norm() / value.norm()) for key, value in gradients[1].items())
            gap = abs(mine["loss"] - peer["loss"]) / peer["loss"]
            assert gap < 0.01 and off < TOLERANCE, f"losses differ by {gap:.1e}, gradients by {off:.1e}"
            found |= {
                "largest relative difference of gradients": f"{off:.1e}",
                "ratio of time": round(peer["seconds"] / mine["seconds"], 3),
                "ratio of peak memory": round(peer["peak"] / mine["peak"], 3),
            }
    return found


def attempt(arguments: argparse.Namespace, tokens: int, name: str, *more: object) -> dict[str, Any] | None:
    given = ["--side", name, "--tokens", tokens, "--shape", arguments.shape, "--steps", arguments.steps, *more]
    given += ["--tile", arguments.tile] if arguments.tile else []
    given += ["--recompute", arguments.recompute]
    given += ["--offload-activations"] if arguments.offload_activations else []
    return gpu.side(__file__, arguments.case, *given, limit_gib=arguments.limit_gib)


def longest(fits: Callable[[int], bool], start: int, most: int, grain: int) -> int:
    """The most tokens, in ``grain``, that fit; 0 where ``start`` does not. At most ``most``."""
    low, high = 0, start
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + grain)
    while low and high - low > grain:
        middle = (low + high) // 2 // grain * grain
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def stretch(arguments: argparse.Namespace, start: int) -> dict[str, Any]:
    tried: dict[int, dict[str, Any] | None] = {}

    def fits(tokens: int) -> bool:
        tried[tokens] = attempt(arguments, tokens, "ours", "--states-first", "--steps", 0)
        print(f"# {tokens} tokens: {tried[tokens] or 'out of memory'}", file=sys.stderr)
        return tried[tokens] is not None

    found = longest(fits, start, arguments.most // gpu.SHORTER[arguments.shape], GRAIN // gpu.SHORTER[arguments.shape])
    return {
        "longest, tokens": found,
        "feed-forward tile, tokens": arguments.tile,
        "activations in the processor's memory": arguments.offload_activations,
        "peak memory by tokens, GB": {
            tokens: round(values["peak"] / 1e9, 2) if values else "out of memory" for tokens, values in tried.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--shape", choices=gpu.SHAPES, default="8b")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--limit-gib", type=float)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--recompute", default="full", help="none, selective, full, or layers=k")
    parser.add_argument("--offload-activations", action="store_true")
    parser.add_argument("--most", type=int, default=524_288)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--states-first", action="store_true")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        try:
            measure(arguments)
        except RuntimeError as error:
            if not gpu.no_memory(error):
                raise
            raise SystemExit(gpu.OUT_OF_MEMORY) from None
        return
    tokens = CASES[arguments.case] // gpu.SHORTER[arguments.shape]
    made = stretch(arguments, tokens) if arguments.case == "longest" else compare(arguments, tokens)
    gpu.keep(arguments.case, arguments.shape, made)


if __name__ == "__main__":
    main()
