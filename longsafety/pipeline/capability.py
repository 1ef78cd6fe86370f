"""Stage ``capability``: what safety training must not cost, by standard suites and in-context learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.evaluation.suites.capability import COLUMNS, measure_harness
from longsafety.evaluation.suites.in_context import check_in_context, measure_in_context
from longsafety.evaluation.suites.names import IN_CONTEXT, harness_suites
from longsafety.model.device import chosen_precision, use_threads
from longsafety.pipeline.corpus import tokenizer
from longsafety.pipeline.network import network
from longsafety.pipeline.run import CAPABILITY, Run
from longsafety.settings import Settings


def check_suites(run: Run) -> None:
    """Raises DataError where the evaluation's length does not hold a suite."""
    settings = run.settings
    if IN_CONTEXT in settings.evaluation.capability:
        check_in_context(tokenizer(run), settings.scenario.language, **_asked(settings))


def _asked(settings: Settings) -> dict[str, Any]:
    """How in-context learning is asked."""
    tokens, limit = settings.length.bench_tokens, settings.evaluation.capability_limit
    return {"tokens": tokens, "limit": limit, "seed": settings.seed}


def capability(run: Run) -> Path:
    """The scores of the suites that ``evaluation.capability`` names."""

    def make(folder: Path) -> None:
        settings, evaluation = run.settings, run.settings.evaluation
        use_threads(settings.trainer.num_threads)
        precision, _ = chosen_precision(evaluation.precision, settings.trainer.accelerator, trains=False)
        placed = TransformersBackend(network(run), precision=precision, accelerator=settings.trainer.accelerator)
        rows = []
        if harness := harness_suites(evaluation.capability):
            rows += measure_harness(
                placed.network,
                tokenizer(run),
                harness,
                limit=evaluation.capability_limit,
                batch_size=8,
                window=settings.model.window,
                seed=settings.seed,
            )
        if IN_CONTEXT in evaluation.capability:  # last, because it leaves the network with another attention
            rows += measure_in_context(placed, tokenizer(run), settings.scenario.language, **_asked(settings))
        for row in rows:
            print(
                f"  {row['task']}: {row['metric']} {row['value']:.3f} ± {row['stderr']:.3f} (n = {row['n']})",
                flush=True,
            )
        pd.DataFrame(rows, columns=COLUMNS).to_parquet(folder / CAPABILITY)

    return run.stage("capability", make)
