"""Stages ``samples`` and ``benchmark``: the scenarios' tasks, built from seed items and documents."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.progress import Progress

from longsafety.errors import DataError
from longsafety.pipeline.corpus import encoder, seed_items, tokenizer
from longsafety.pipeline.items import STORE, items
from longsafety.pipeline.run import Run, once, read_json, write_json
from longsafety.pipeline.seeds import COUNTS
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.store import TokenStore
from longsafety.scenarios.build import Builder, build
from longsafety.scenarios.seed_problems import seed_problems
from longsafety.scenarios.seed_use import SeedUse, seed_use
from longsafety.scenarios.seeds.shipped import SHIPPED
from longsafety.scenarios.write import num_workers, write

SAMPLES, SEED_USE = "samples.parquet", "seed_use.json"


def samples(run: Run) -> Path:
    """The training samples of every task, with their twins."""
    return _built(run, "samples", "train")


def benchmark(run: Run) -> Path:
    """The benchmark items of every task, with their twins; or those of ``evaluation.items``."""
    if run.settings.evaluation.items.path is not None:
        return items(run)
    return _built(run, "benchmark", "bench")


@once
def bench_encoder(run: Run) -> ChatEncoder:
    """Renders and tokenises the benchmark's items."""
    if run.settings.evaluation.items.path is None:
        return encoder(run)
    return ChatEncoder(tokenizer(run), TokenStore.open(items(run) / STORE))


def splits(run: Run) -> dict[str, bool]:
    """Whether the scenario has training samples (``train``) and benchmark items (``bench``)."""
    tasks = run.settings.scenario.tasks.values()
    return {"train": any(task.train for task in tasks), "bench": any(task.bench for task in tasks)}


def used_seeds(run: Run) -> list[SeedUse]:
    """What came of the user's seed items, in all splits that were built; empty with shipped ones."""
    files = [folder / SEED_USE for stage in ("samples", "benchmark") if (folder := run.find(stage)) is not None]
    return [row for file in files if file.is_file() for row in read_json(file)]


def told(run: Run) -> dict[str, str]:
    """Reason → how many built items of which tasks could not be made as meant: ``train: LawQA 2, MedicalQuiz 3``."""
    found: dict[tuple[str, str], list[str]] = {}
    for split, stage in (("train", samples), ("bench", benchmark)):
        for name, count in (read_json(stage(run) / COUNTS) if splits(run)[split] else {}).items():
            task, _, reason = name.removeprefix(f"{split}: ").partition(": ")
            if reason:
                found.setdefault((reason, split), []).append(f"{task} {count}")
    reasons = dict.fromkeys(reason for reason, _ in found)
    return {
        reason: "; ".join(f"{split}: {', '.join(parts)}" for (why, split), parts in found.items() if why == reason)
        for reason in reasons
    }


def _print_use(source: str, split: str, used: list[SeedUse]) -> None:
    """Says how many items are made of the user's seed items, and which tasks are left out."""
    own, shipped = sum(row["own"] for row in used), sum(row["shipped"] for row in used)
    print(f"  {split}: {own:,} items made of {source}, {shipped:,} of shipped seed items", flush=True)
    for row in used:
        if not row["own"] and not row["shipped"]:
            print(f"  left out   {row['task']} ({split}): {row['why']}", flush=True)


def builder(run: Run, split: str) -> Builder:
    """What draws the samples of a split. Raises DataError where a task lost all of its seed items."""
    found, scenario = seed_items(run), run.settings.scenario
    if found.counts and (problems := seed_problems(scenario, found.items, seed=scenario.seed)):
        lost = "; ".join(f"{reason}: {count}" for reason, count in found.counts.items())
        raise DataError(
            f"scenario.seeds = {scenario.seeds}: {lost}; remove the token from them; without them: {problems[0]}"
        )
    return build(
        scenario,
        run.settings.length,
        found.items,
        encoder(run),
        split=split,
        seed=scenario.seed,
        context_seeds={seed.id: seed for seed in found.context},
    )


def _built(run: Run, stage: str, split: str) -> Path:
    def make(folder: Path) -> None:
        drawn = builder(run, split)
        told: Counter[str] = Counter()
        with Progress(transient=True) as bar:
            task = bar.add_task(f"{stage}: building", total=sum(drawn.counts.values()))
            write(
                drawn,
                folder / SAMPLES,
                workers=num_workers(run.settings.trainer.num_threads),
                progress=lambda count: bar.advance(task, count),
                told=told,
            )
        counts = {f"{split}: {name}": count for name, count in (drawn.counts | told).items()}
        if run.settings.scenario.seeds != SHIPPED:
            used = seed_use(drawn)
            write_json(folder / SEED_USE, used)
            counts |= {f"{split}: {row['task']}, made of your seed items": row["own"] for row in used}
            _print_use(run.settings.scenario.seeds, split, used)
        write_json(folder / COUNTS, counts)

    return run.stage(stage, make)
