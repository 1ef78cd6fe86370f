"""What models with random weights score on every shipped benchmark seed item: nothing to find.

    python -m tests.benchmarks.random_models OUTPUTS

Five random two-layer Llamas answer one pair of each seed item of the ten tasks, with 512 tokens of context and without
(the short pairs), by the pipeline's own stages.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.asking.ask import collect_answers
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.evaluation.scores.compare import compare
from longsafety.evaluation.scores.comparison import Arm
from longsafety.evaluation.scores.scoring import PAIRS
from longsafety.model.load import load_model
from longsafety.pipeline.asked import asked
from longsafety.pipeline.run import Run
from longsafety.pipeline.samples import bench_encoder
from tests.benchmarks.null import COUNTS, CRIMES

MODELS = 5
TWINS = "[benign_query,benign_needle,short,short_benign]"


def asked_of(outputs: str) -> dict[int, pd.DataFrame]:
    """The seed of the weights → the answers of the model that has them."""
    [settings] = settle(
        compose_jobs([
            "scale=smoke", "scenario=longsafety", "length=512", "data_mix=base", "tracking=none",
            "limits.bench_items=null", f"evaluation.twins={TWINS}", "evaluation.controls=[]",
            "evaluation.scorers=[likelihood]", f"paths.outputs={outputs}",
            *(f"scenario.tasks.{name}.bench={60 if name in CRIMES else 40}" for name in COUNTS),
        ])
    )  # fmt: skip
    run = Run.freeze(settings)
    items, encoder, found = asked(run).items, bench_encoder(run), {}
    torch.set_num_threads(1)
    for seed in range(MODELS):
        network = load_model(settings.model, run.cache, seed=seed)
        backend = TransformersBackend(network, precision="32-true", accelerator="cpu")
        with TemporaryDirectory() as folder:
            collect_answers(
                items, backend, encoder, settings.evaluation,
                max_tokens=512, folder=Path(folder), progress=lambda: None,
            )  # fmt: skip
            found[seed] = read_answers(Path(folder) / ANSWERS)
    return found


def main(outputs: str) -> None:
    models = asked_of(outputs)
    alone = [
        compare([Arm("random", table)], baseline=None, scoring="fixed", confidence=0.95, equivalence_margin=0.05)
        for table in models.values()
    ]
    together = compare(
        [Arm("random", table, str(seed)) for seed, table in models.items()],
        baseline=None, scoring="fixed", confidence=0.95, equivalence_margin=0.05,
    )  # fmt: skip
    print("| weights | metric | pairs | seed items | value | interval | p |\n|---|---|---|---|---|---|---|")
    for name, found in [*((f"seed {seed}", one) for seed, one in enumerate(alone)), ("mean of five", together)]:
        table = found.scores[found.scores["task"] == "all"].set_index("metric")
        for metric in (f"{metric}{form}" for form in ("", "_short") for metric in PAIRS):
            row = table.loc[metric]
            p_value = "" if pd.isna(row["p_value"]) else f"{row['p_value']:.2f}"
            print(
                f"| {name} | {metric} | {row['n']} | {row['seeds']} | {row['value']:.3f} | "
                f"{row['low']:.3f} to {row['high']:.3f} | {p_value} |"
            )


if __name__ == "__main__":
    main(sys.argv[1])
