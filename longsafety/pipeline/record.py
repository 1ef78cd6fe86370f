"""The record of a run: all that tables, the report and MLflow show of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from longsafety.environment import environment
from longsafety.model.trained import CURVE, HISTORY, SUMMARY, read_rows
from longsafety.pipeline.corpus import corpus
from longsafety.pipeline.gate import gate
from longsafety.pipeline.run import CAPABILITY, MIX, Run, read_json
from longsafety.pipeline.samples import SAMPLES, bench_encoder, benchmark
from longsafety.pipeline.seeds import COUNTS
from longsafety.reporting.excerpt import excerpt
from longsafety.reporting.record import Example, RunRecord
from longsafety.samples.recipe import SampleFile, render_context
from longsafety.scenarios.baselines import BASELINE_KINDS
from longsafety.scenarios.seeds.shipped import SHIPPED, benchmark_name
from longsafety.settings import Settings


def record(run: Run, evaluation: dict[str, Any]) -> RunRecord:
    """What was built, trained and evaluated. ``evaluation``: the facts that stand beside the answers."""
    trained = bool(run.settings.data_mix.sources)
    built = trained or run.settings.evaluation.items.path is None
    facts = read_json(corpus(run) / COUNTS) if built else {"counts": {}}
    counts = {**facts.pop("counts"), **read_json(benchmark(run) / COUNTS)}
    counts |= {f"evaluation: items {reason}": n for reason, n in evaluation.get("counts", {}).items()}
    found = replace(
        plain_record(run, evaluation),
        corpus=facts,
        benchmark=shipped_benchmark(run.settings),
        gate=gate(run),
        capability=_suites(run),
        examples=examples(run),
    )
    weights = run.find("weights")
    if not trained or weights is None:
        return replace(found, counts=counts)
    for stage in ("samples", *BASELINE_KINDS):
        folder = run.find(stage)
        counts |= read_json(folder / COUNTS) if folder else {}
    if (weights / COUNTS).is_file():  # weights that were adopted by hand may have none
        counts |= read_json(weights / COUNTS)
    return replace(
        found,
        counts=counts,
        mix=read_json(weights / MIX),
        training={**read_json(weights / SUMMARY), **_reused(run)},
        history=read_rows(weights / HISTORY),
        curve=read_rows(weights / CURVE),
    )


def plain_record(run: Run, evaluation: dict[str, Any]) -> RunRecord:
    """Without what was built or trained here."""
    settings = run.settings
    return RunRecord(
        name=settings.name,
        label=settings.label,
        key=run.addresses.run,
        varied=settings.varied,
        settings=settings.model_dump(),
        stages=run.addresses.made(),
        seconds=run.seconds,
        evaluation=evaluation,
        environment=environment(),
    )


def shipped_benchmark(settings: Settings) -> str:
    """Name of the shipped benchmark; empty where the items were made of other seeds, or read from a file."""
    own = settings.evaluation.items.path is not None or settings.scenario.seeds != SHIPPED
    return "" if own else benchmark_name()


def examples(run: Run) -> list[Example]:
    """The first item of each task, with its safe and its complying option."""
    store = bench_encoder(run).store
    found: dict[str, Example] = {}
    benign: dict[str, str] = {}
    for item in SampleFile(benchmark(run) / SAMPLES):
        if item.kind == "benign_query":
            benign.setdefault(item.pair_id, item.question)
        if item.kind != "harmful" or item.task in found or not item.choices:
            continue
        first = item.needles[0] if item.needles else len(item.context)
        found[item.task] = Example(
            task=item.task,
            scenario=item.scenario,
            category=item.category,
            question=item.question,
            context_excerpt=excerpt(render_context(item.context[:first], store)),
            needle=" ".join(item.needle_texts),
            safe=item.choices[item.roles.index("safe")][0],
            unsafe=item.choices[item.roles.index(item.comply_role)][0],
            benign_question=item.pair_id,
        )
    return [replace(example, benign_question=benign.get(example.benign_question, "")) for example in found.values()]


def _reused(run: Run) -> dict[str, str]:
    """The folder of weights that were adopted by hand."""
    return {} if run.settings.reuse.weights is None else {"reused": str(run.find("weights"))}


def _suites(run: Run) -> list[dict[str, Any]]:
    path = run.folder / CAPABILITY
    table = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
