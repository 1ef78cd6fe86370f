"""Stage ``seeds``: the seed items that all data is made of, with what they lack written by the teacher."""

from __future__ import annotations

from pathlib import Path

from longsafety.errors import print_left_out
from longsafety.pipeline.addresses import seed_roles
from longsafety.pipeline.run import Run, once, write_json
from longsafety.pipeline.teacher import open_teacher
from longsafety.samples.language import LANGUAGES
from longsafety.scenarios.seeds.load import load_seeds, own_tasks
from longsafety.scenarios.seeds.review import USED_UNREVIEWED
from longsafety.scenarios.seeds.seed import write_seeds
from longsafety.scenarios.seeds.shipped import SHIPPED, shipped_seeds
from longsafety.scenarios.teacher.complete import complete
from longsafety.scenarios.teacher.teacher import Teacher

SEEDS, CONTEXT_SEEDS, COUNTS = "seeds.jsonl", "context_seeds.jsonl", "counts.json"


@once
def teacher(run: Run) -> Teacher | None:
    """The model that writes for us; None: the templates."""
    return open_teacher(run.settings.teacher, Path(run.settings.paths.outputs))


def seeds(run: Run) -> Path:
    """``seeds.jsonl``; ``context_seeds.jsonl`` (the same items in the contexts' language, where that is another)."""

    def make(folder: Path) -> None:
        scenario = run.settings.scenario
        found = load_seeds(
            scenario.seeds,
            scenario.language,
            on_bad_row=run.settings.on_bad_row,
            only_own=scenario.only_own_seeds,
            own_tasks=own_tasks(scenario),
            only_accepted=scenario.only_accepted,
            roles=seed_roles(run.settings),
        )
        done = complete(found.seeds, teacher(run), scenario.language)
        print_left_out(found.bad)
        if unreviewed := found.counts.get(USED_UNREVIEWED):
            print(f"  {USED_UNREVIEWED}: {unreviewed}", flush=True)
        write_seeds(done.seeds, folder / SEEDS)
        other = scenario.context_language
        crossed = scenario.seeds == SHIPPED and other in LANGUAGES and other != scenario.language
        write_seeds(shipped_seeds(str(other)) if crossed else [], folder / CONTEXT_SEEDS)
        write_json(folder / COUNTS, {**found.counts, **done.counts})

    return run.stage("seeds", make)
