"""How often the tests of a report reject: under the null, and with a true effect. A simulation.

    python -m tests.benchmarks.null [DRAWS]

The items have the structure of the 1,201-item benchmark: ten tasks with the paper's numbers of items, 40 seed items a
task (the three tasks about crimes share 60). Each arm, and each side of a pair, has an answer for every seed item; half
of these are common ones. An item's answer is its seed item's with probability √.7, else its own, so that outcomes
have an intraclass correlation of .7. All arms and all sides follow one law, so no test has anything to find. A true
effect makes all items of some seed items right.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longsafety.evaluation.scores.shares import interval
from longsafety.evaluation.scores.statistics import Floats, cluster_error, equivalence, mcnemar_exact, sign_flip
from longsafety.vocabulary import PAPER_TASKS

CRIMES = ("HarmfulExtraction", "HarmfulTendency", "CountingCrimes")
COUNTS = {name: task.bench_items for name, task in PAPER_TASKS.items() if task.bench_items}
ROLES, GOES_AHEAD, SAFE = (0.2, 0.2, 0.3, 0.3), 2, 3
COPIES = np.sqrt(0.7)
LATENT = np.sin(0.35 * np.pi)
"""Correlation of normal margins whose signs correlate by .7."""
LEVEL = 0.05


@dataclass(frozen=True)
class Structure:
    """Items' tasks and seed items: names a cell's items by a mask."""

    task: NDArray[np.str_]
    seed: NDArray[np.int64]

    @classmethod
    def of_benchmark(cls) -> Structure:
        tasks, seeds, first = [], [], 60
        for name, count in COUNTS.items():
            start, size = (0, 60) if name in CRIMES else (first, 40)
            first += 0 if name in CRIMES else 40
            tasks += [name] * count
            seeds += [start + place % size for place in range(count)]
        return cls(np.array(tasks), np.array(seeds))

    def cells(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        for name in COUNTS:
            yield name, self.task == name
        yield "all", np.full(len(self.task), True)
        yield "each seed item once", np.isin(np.arange(len(self.seed)), np.unique(self.seed, return_index=True)[1])

    def answers(self, rng: np.random.Generator, draws: int, sides: int) -> NDArray[np.int8]:
        """Roles, [sides, draws, items]."""
        seeds = self.seed.max() + 1

        def drawn(*size: int) -> NDArray[np.int8]:
            return np.searchsorted(np.cumsum(ROLES)[:-1], rng.random(size), side="right").astype(np.int8)

        common = drawn(draws, seeds)
        of_seed = np.where(rng.random((sides, draws, seeds)) < 0.5, common, drawn(sides, draws, seeds))
        own = drawn(sides, draws, len(self.seed))
        return np.where(rng.random(own.shape) < COPIES, of_seed[:, :, self.seed], own)

    def prefers(self, rng: np.random.Generator, draws: int, arms: int) -> Floats:
        """Whether declining is preferred more strongly on the harmful side, [arms, draws, items]."""
        of_seed = rng.standard_normal((arms, draws, self.seed.max() + 1))[:, :, self.seed]
        own = rng.standard_normal(of_seed.shape)
        return (np.sqrt(LATENT) * of_seed + np.sqrt(1 - LATENT) * own > 0) * 1.0

    def turned(self, rng: np.random.Generator, draws: int, share: float) -> NDArray[np.bool_]:
        """Items of the seed items that an effect makes right, [draws, items]."""
        return (rng.random((draws, self.seed.max() + 1)) < share)[:, self.seed]


def differences(structure: Structure, rng: np.random.Generator, draws: int, effect: float) -> dict[str, Floats]:
    """Test → each item's difference (outcome against its null), [draws, items], whose true mean is ``effect``."""
    harmful, twin = (structure.answers(rng, draws, arms) for arms in (6, 2))
    both = structure.answers(rng, draws, 4).reshape(2, 2, draws, -1)  # arm, side
    control = structure.answers(rng, draws, 2)
    prefers = structure.prefers(rng, draws, 2)

    def right(outcome: NDArray[np.bool_] | Floats, share: float) -> Floats:
        return np.where(structure.turned(rng, draws, share), 1.0, outcome)

    def pair(sides: NDArray[np.int8]) -> Floats:
        declines, goes_ahead = sides == SAFE, sides == GOES_AHEAD
        return (declines[0] & goes_ahead[1]) * 1.0 - (goes_ahead[0] & declines[1])

    safe = (harmful == SAFE) * 1.0
    rest = effect / (1 - ROLES[SAFE])
    return {
        "safe_response, arm against baseline": right(safe[0], rest) - safe[3],
        "compliance, arm against baseline": right(twin[0] == GOES_AHEAD, rest) - (twin[1] == GOES_AHEAD),
        "pair_difference, arm against baseline": right(pair(both[0]), effect) - pair(both[1]),
        "swap_contrast, arm against baseline": right(prefers[0], 2 * effect) - prefers[1],
        "pair_difference, one arm against 0": right(pair(both[0]), effect),
        "swap_contrast, one arm against .5": right(prefers[0], 2 * effect) - 0.5,
        "safe_response, item against its control": right(control[0] == SAFE, rest) - (control[1] == SAFE),
        "safe_response, contrast of two arms of three trainings": (
            right(safe[:3].mean(axis=0), rest) - safe[3:].mean(axis=0)
        ),
    }


@dataclass(frozen=True)
class Rates:
    """Of one test in one cell: shares of draws."""

    test: str
    cell: str
    differing: float
    """Mean number of seed items that differ."""
    sign_flip: float
    interval: float
    """The interval leaves out the null."""
    equivalent: float
    """The two one-sided tests find the difference within ±.05."""
    mcnemar: float
    """Of two arms; nan where an item's difference is none of −1, 0 and 1, or a seed item stands more than once."""


def rates(
    structure: Structure, *, draws: int, effect: float = 0.0, seed: int = 0, cells: tuple[str, ...] = ("",)
) -> list[Rates]:
    """The rates of all tests in all cells whose name starts with one of ``cells``."""
    found = []
    rng = np.random.default_rng(seed)
    for test, values in differences(structure, rng, draws, effect).items():
        for cell, mask in structure.cells():
            if cell.startswith(cells):
                found.append(_rates(test, cell, structure.seed[mask], values[:, mask]))
    return found


def _rates(test: str, cell: str, seeds: NDArray[np.int64], values: Floats) -> Rates:
    _, cluster, sizes = np.unique(seeds, return_inverse=True, return_counts=True)
    sums = values @ (cluster[:, None] == np.arange(len(sizes)))
    metric, one = test.split(",")[0], test.endswith(".5")
    flipped = np.mean([sign_flip(row) < LEVEL for row in sums])
    left_out = equal = 0.0
    for row in sums:
        # The share itself has Wilson's interval; differences have Student's.
        low, high = interval(metric if one else "pair_difference", row + one * 0.5 * sizes, sizes, 1 - LEVEL)
        left_out += (low > one * 0.5) + (high < one * 0.5)
        error = cluster_error(row, sizes)
        equal += float(equivalence(row.sum() / sizes.sum(), error, 0.05, clusters=len(sizes))) < LEVEL
    once = "arm against" in test and bool((sizes == 1).all()) and bool(np.isin(values, (-1, 0, 1)).all())
    exact = np.mean(mcnemar_exact((values > 0).sum(1), (values < 0).sum(1)) < LEVEL) if once else np.nan
    differing = (np.abs(sums) > 1e-9).sum(axis=1).mean()
    return Rates(test, cell, float(differing), float(flipped), left_out / len(sums), equal / len(sums), float(exact))


def main(draws: int) -> None:
    structure = Structure.of_benchmark()
    null = rates(structure, draws=draws)
    print("| test | cell | differing seed items | sign-flip | interval | McNemar |")
    print("|---|---|---|---|---|---|")
    for test in dict.fromkeys(row.test for row in null):
        rows = [row for row in null if row.test == test]
        tasks = [row for row in rows if row.cell in COUNTS]
        least, most = min(row.differing for row in tasks), max(row.differing for row in tasks)
        ends = [
            f"{min(values):.3f} to {max(values):.3f}"
            for values in ([row.sign_flip for row in tasks], [row.interval for row in tasks])
        ]
        print(f"| {test} | ten tasks | {least:.0f} to {most:.0f} | {' | '.join(ends)} | |")
        for row in rows:
            if row.cell not in COUNTS:
                exact = "" if np.isnan(row.mcnemar) else f"{row.mcnemar:.3f}"
                print(f"| | {row.cell} | {row.differing:.0f} | {row.sign_flip:.3f} | {row.interval:.3f} | {exact} |")
    powers = {
        effect: rates(structure, draws=draws // 4, effect=effect, seed=1, cells=("all", "DocAttack"))
        for effect in (0.05, 0.1, 0.2)
    }
    print("\n| test | cell | power at .05 | .10 | .20 | called equal at .05 |\n|---|---|---|---|---|---|")
    for place, row in enumerate(powers[0.05]):
        shown = " | ".join(f"{found[place].sign_flip:.2f}" for found in powers.values())
        cell = "one task of 40 seed items" if row.cell in COUNTS else row.cell
        print(f"| {row.test} | {cell} | {shown} | {row.equivalent:.3f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
