"""Asking 8B about long contexts on one GPU: the orders of four options in one pass, by letters.

python tests/benchmarks/gpu_evaluation.py ask42k|ask128k [--shape tiny] [--items 4] [--limit-gib 80]

Weights are random, of Llama-3.1-8B's shape in bfloat16; ``--shape tiny`` is for a processor, with sequences 64 times
shorter, and keeps no result. ask42k: items of 42,000 tokens with 4 orders of the options, and with 1: items a second,
share of the bfloat16 peak, the cost of 4 orders over 1, minutes for 1,000 items (reckoned from those that were asked).
ask128k: the peak memory of one item of 131,072 tokens. The first item's letters are compared with a pass an order
through transformers alone, their logits too in float32; no figure is given where they differ.
"""

from __future__ import annotations

import argparse
import json
from statistics import median
from typing import Any

import gpu_setting as gpu
import numpy as np
import torch

from longsafety.evaluation.asking.backend import Question
from longsafety.evaluation.backends.transformers import TransformersBackend

CASES = {"ask42k": 42_000, "ask128k": 131_072}
QUESTION_TOKENS = 120
"""Of a question with its options: what the orders do not share."""
TOLERANCE = 0.2
"""Of a log-probability. Two bfloat16 passes in another order differ by .012 at a width of 512 and by .027 at 1,024 (on
a processor, 8 and 32 layers), so by .05 to .1 at 4,096."""
LETTERS = [np.array([letter]) for letter in (310, 311, 312, 313)]


def item(number: int, tokens: int, orders: int, vocabulary: int) -> list[Question]:
    generator = np.random.default_rng(number)
    context, *ends = (
        generator.integers(3, vocabulary, size) for size in (tokens - QUESTION_TOKENS, *[QUESTION_TOKENS] * orders)
    )
    return [Question(np.concatenate([context, end]), LETTERS) for end in ends]


@torch.no_grad()
def alone(model: Any, questions: list[Question]) -> np.ndarray:
    """A pass a question, by transformers and torch's attention."""
    model.set_attn_implementation("sdpa")
    rows = []
    for question in questions:
        ids = torch.from_numpy(question.prompt)[None].to(gpu.DEVICE)
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, -1]
        read = (model.lm_head.weight.float() @ hidden.float()).log_softmax(dim=-1)
        rows.append([float(read[int(letter[0])]) for letter in question.continuations])
    return np.array(rows)


def measure(arguments: argparse.Namespace) -> None:
    """In this process: prints the differences, the seconds of each item and the peak."""
    gpu.limit_memory(arguments.limit_gib)
    shape = gpu.SHAPES[arguments.shape]
    model = gpu.network(shape).eval()
    backend = TransformersBackend(model, precision="bf16-true", in_place=True)

    def ask(number: int) -> np.ndarray:
        questions = item(number, arguments.tokens, arguments.orders, shape.vocabulary)
        return np.array(backend.loglikelihoods(questions))

    found = ask(0)
    peak = gpu.peak_bytes()
    off = 0.0
    if arguments.check:
        expected = alone(model, item(0, arguments.tokens, arguments.orders, shape.vocabulary))
        off = float(np.abs(found - expected).max())
    numbers = iter(range(1, arguments.items + 1))
    seconds = gpu.seconds(lambda: ask(next(numbers)), arguments.items)
    print(json.dumps({"off": off, "seconds": seconds, "peak": peak}))


def asked(arguments: argparse.Namespace, tokens: int, orders: int, items: int) -> dict[str, Any] | None:
    given = ["--tokens", tokens, "--orders", orders, "--items", items, "--shape", arguments.shape]
    told = gpu.side(__file__, arguments.case, *given, "--check", limit_gib=arguments.limit_gib)
    if told is not None:
        assert told["off"] < TOLERANCE, f"{orders} orders: log-probabilities differ by {told['off']:.1e}"
    return told


def throughput(arguments: argparse.Namespace, tokens: int) -> dict[str, Any]:
    shape = gpu.SHAPES[arguments.shape]
    found: dict[str, dict[str, Any] | str] = {}
    rates: dict[int, float] = {}
    for orders in (4, 1):
        told = asked(arguments, tokens, orders, arguments.items)
        if told is None:
            found[f"{orders} orders"] = "out of memory"
            continue
        each = rates[orders] = median(told["seconds"])
        computed = tokens + (orders - 1) * QUESTION_TOKENS
        flops = 2 * shape.matrices * computed + 2 * shape.layers * shape.query * tokens * computed
        found[f"{orders} orders"] = {
            "items": arguments.items,
            "items a second": round(1 / each, 4),
            "share of the peak": gpu.share_of_peak(flops / each),
            f"minutes for 1,000 items, from {arguments.items}": round(1000 * each / 60, 1),
            "peak memory, GB": round(told["peak"] / 1e9, 2),
            "largest difference of log-probabilities": f"{told['off']:.1e}",
        }
    ratio = round(rates[4] / rates[1], 3) if len(rates) == 2 else None
    return {"tokens of an item": tokens, **found, "4 orders over 1": ratio}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--shape", choices=gpu.SHAPES, default="8b")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--limit-gib", type=float)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--orders", type=int, default=4)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.tokens:
        try:
            measure(arguments)
        except RuntimeError as error:
            if not gpu.no_memory(error):
                raise
            raise SystemExit(gpu.OUT_OF_MEMORY) from None
        return
    tokens = CASES[arguments.case] // gpu.SHORTER[arguments.shape]
    if arguments.case == "ask42k":
        gpu.keep("ask42k", arguments.shape, throughput(arguments, tokens))
        return
    told = asked(arguments, tokens, 4, 1)
    peak = round(told["peak"] / 1e9, 2) if told else "out of memory"
    gpu.keep("ask128k", arguments.shape, {"tokens of an item": tokens, "orders": 4, "peak memory, GB": peak})


if __name__ == "__main__":
    main()
