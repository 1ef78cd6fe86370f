"""Packing 17,468 samples from their lengths alone, beside ``trl.pack_dataset``; and the balance over eight ranks.

python tests/benchmarks/packing.py [--peer 4000]      (needs trl)

The gate: every sample once, no pack above the budget, and no more packs than the peer on the same lengths. TRL packs
token rows, so that its side is measured on the first ``--peer`` samples, ours on the same and on all.
"""

from __future__ import annotations

import argparse
from statistics import mean

import datasets
import numpy as np
from setting import median_seconds, tell

from longsafety.data.pack import best_fit_decreasing
from longsafety.data.schedule import Schedule
from longsafety.settings import Training

BUDGET, RANKS = 32_768, 8


def spread(count: int) -> np.ndarray:
    """Lengths around the paper's mean, log-normal, cut at the budget; how the paper's are spread is not known."""
    return np.clip(np.random.default_rng(0).lognormal(np.log(12_000), 0.7, count), 512, BUDGET).astype(np.int64)


def imbalance(lengths: np.ndarray, batch_size: int) -> float:
    """Of a step: the dearest rank's work over the mean rank's; the mean over all steps."""
    rows = [np.full(size, number, dtype=np.int32) for number, size in enumerate(lengths)]
    training = Training(batch_size=batch_size, micro_batch_size=1, share_prefixes=False)
    schedule = Schedule.plan(rows, [1] * len(rows), training, ranks=RANKS, seed=0, longest=BUDGET)
    worst = []
    for step in schedule.steps[:-1]:
        work = [sum(_work(lengths[index]) for pack in rank for index, weight in pack if weight) for rank in step]
        worst.append(max(work) / mean(work))
    return mean(worst)


def _work(tokens: int) -> float:
    """FLOPs of a Llama-3.1-8B's forward and backward pass: 6 a weight and token, and causal attention."""
    return 6 * 7.5e9 * tokens + 6 * 32 * 4096 * float(tokens) ** 2


def main() -> None:
    from trl import pack_dataset

    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", type=int, default=4000)
    few = parser.parse_args().peer
    datasets.disable_progress_bars()
    lengths = spread(17_468)
    packs = best_fit_decreasing(lengths, BUDGET)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    assert max(int(lengths[pack].sum()) for pack in packs) <= BUDGET
    whole = datasets.Dataset.from_dict({"input_ids": [np.zeros(size, dtype=np.int32) for size in lengths[:few]]})

    def peer() -> int:
        return len(pack_dataset(whole, BUDGET, "bfd", map_kwargs={"load_from_cache_file": False}))

    ours = len(best_fit_decreasing(lengths[:few], BUDGET))
    theirs = peer()
    assert ours <= theirs, f"{ours} packs, the peer has {theirs}"
    all_seconds, few_seconds = median_seconds(
        [lambda: best_fit_decreasing(lengths, BUDGET), lambda: best_fit_decreasing(lengths[:few], BUDGET)], 5
    )
    [peer_seconds] = median_seconds([peer], 3)
    tell(
        "packing",
        {
            "17,468 samples, ms": round(all_seconds * 1e3, 1),
            "efficiency: tokens over packs × budget": round(float(lengths.sum() / (len(packs) * BUDGET)), 4),
            f"{few} samples, ms": round(few_seconds * 1e3, 1),
            "trl.pack_dataset(bfd), s": round(peer_seconds, 2),
            "ratio": round(peer_seconds / few_seconds),
            "packs, ours / TRL's": f"{ours} / {theirs}",
            "FLOP imbalance over 8 ranks, 64 samples a step": round(imbalance(lengths[:4096], 64), 3),
            "FLOP imbalance over 8 ranks, 128 samples a step": round(imbalance(lengths[:4096], 128), 3),
        },
    )


if __name__ == "__main__":
    main()
