"""Stage ``benchmark`` where the user names a file of items (``evaluation.items``): read in place of building."""

from __future__ import annotations

from pathlib import Path

from longsafety.errors import print_left_out
from longsafety.pipeline.corpus import tokenizer
from longsafety.pipeline.run import Run, write_json
from longsafety.pipeline.seeds import COUNTS
from longsafety.samples.recipe import write_samples
from longsafety.scenarios.items import read_items

STORE = "store"
"""The items' contexts, beside them."""


def items(run: Run) -> Path:
    """The items of the file, with their contexts in a token store of their own."""

    def make(folder: Path) -> None:
        found = read_items(
            run.settings.evaluation.items,
            tokenizer(run),
            folder / STORE,
            seed=run.settings.scenario.seed,
            on_bad_row=run.settings.on_bad_row,
            task_files=run.settings.scenario.task_files,
        )
        print_left_out(found.bad)
        for reason, count in found.counts.items():
            print(f"  {reason}: {count}", flush=True)
        write_samples(found.items, folder / "samples.parquet")
        write_json(folder / COUNTS, found.counts)

    return run.stage("benchmark", make)
