"""The content address of every stage: what its result depends on, one function a stage, without torch.

An address hashes three things: the settings that the stage reads, the content of what comes in (documents, seed files,
the base model, the addresses of earlier stages), and the source code that the stage's file imports. Two runs with an
address in common share that stage, and it is made once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from longsafety.code import CODE
from longsafety.corpus.corpus import fingerprint
from longsafety.evaluation.asking.system_text import system_text
from longsafety.evaluation.open_replies.labelled import LABELLED
from longsafety.evaluation.open_replies.sheet import KEY
from longsafety.evaluation.suites.names import IN_CONTEXT, suites_fingerprint
from longsafety.formats.rows import rows_fingerprint
from longsafety.model.kernels import loaded_attention
from longsafety.model.source import identity
from longsafety.pipeline.reuse import HARMLESS, adopted
from longsafety.scenarios.items import items_fingerprint
from longsafety.scenarios.seeds.load import own_tasks, seeds_fingerprint
from longsafety.scenarios.seeds.shipped import SHIPPED
from longsafety.scenarios.task_counts import benchmark_families
from longsafety.scenarios.tasks.registry import option_roles, task_files_fingerprint
from longsafety.settings import Model, Settings
from longsafety.stages import address

SHOWS = ("reporting", "tracking", "planning")
"""Packages that decide what is shown, and no result."""
MACHINERY = (
    "settings",
    "configuration",
    "errors",
    "environment",
    "code",
    "stages",
    "files",
    "hub",
    "ranks",
    "launched",
    "host",
)
"""Modules that decide where and how a result is written. Of the settings, the values that a stage reads count."""
STAGES = (
    "seeds",
    "teacher",
    "corpus",
    "samples",
    "items",
    "baselines",
    "audit",
    "gate",
    "weights",
    "curve",
    "answers",
    "recorded",
    "capability",
)
"""Files of ``pipeline/`` that have an address of their own, by which others depend on them."""
RUNNERS = (
    "run",
    "clean",
    "joined",
    "release",
    "results",
    "status",
    "reuse",
    "unfinished",
    "addresses",
    "phases",
    "pipeline",
    "write_seeds",
    "scores",
    "record",
    "show",
    "export",
    "compare",
    "launch",
    "executed",
    "parallel",
    "slurm",
    "slurm_job",
    "slurm_queue",
    "slurm_submit",
    "skypilot",
    "ended",
    "worker",
    "workers",
)


SHOWN = {"paths", "tracking", "limits", "question", "gate", "clean", "fail_fast", "plan", "launcher"}
"""Settings that no score depends on."""


@dataclass(frozen=True)
class Addresses:
    """Stage → twelve hex digits; empty for a stage that the run does not have."""

    run: str
    seeds: str = ""
    corpus: str = ""
    samples: str = ""
    benchmark: str = ""
    short_safety: str = ""
    long_align: str = ""
    audit: str = ""
    gate: str = ""
    weights: str = ""
    """Empty for the untrained arm."""
    answers: str = ""
    capability: str = ""
    """Empty where no capability suite is asked for."""

    def made(self) -> dict[str, str]:
        """The stages that the run has, with their addresses."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {stage: key for stage, key in found.items() if key}


def addresses(settings: Settings) -> Addresses:
    """The addresses of one run, from the seed items to the scores.

    Raises DataError for files that cannot be read and models that cannot be had.
    """
    if settings.rescores:
        answers = recorded_answers(settings)
        return Addresses(run=run(settings, answers), answers=answers)
    model = identity(settings.model, Path(settings.paths.cache))
    if settings.model.thinking != "auto":  # it changes how prompts end
        model += f", thinking {settings.model.thinking}"
    seed_items = seeds(settings)
    documents = corpus(settings, seed_items, model)
    training = samples(settings, documents)
    items = benchmark(settings, documents, model)
    short, long = short_safety(settings, documents), long_align(settings, training)
    trained = weights(settings, training, short, long, items) if settings.data_mix.sources else ""
    answers = own_answers(settings, trained or model, items)
    suites = capability(settings, trained or model) if settings.evaluation.capability else ""
    words = address(items, code("gate"))
    return Addresses(
        seeds=seed_items,
        corpus=documents,
        samples=training,
        benchmark=items,
        short_safety=short,
        long_align=long,
        audit=address(training, items, words, code("audit")),
        gate=words,
        weights=trained,
        answers=answers,
        capability=suites,
        run=run(settings, answers, suites, training, long, words),
    )


# --- data -----------------------------------------------------------------------------------------------------------


def seeds(settings: Settings) -> str:
    """Seed items: their files, the languages, and who writes what they lack."""
    scenario = settings.scenario
    return address(
        seeds_fingerprint(scenario.seeds),
        (own_tasks(scenario), seed_roles(settings), scenario.only_accepted) if scenario.seeds != SHIPPED else [],
        (scenario.language, scenario.context_language, scenario.only_own_seeds),
        settings.on_bad_row,
        _teacher(settings),
        code("seeds"),
    )


def seed_roles(settings: Settings) -> dict[str, dict[str, tuple[str, ...]]]:
    """The roles that options of seed items may have. The stage reads them here, as values: the tasks' code is no part
    of its address."""
    return option_roles(settings.scenario.task_files)


def corpus(settings: Settings, seed_items: str, model: str) -> str:
    """Tokenised documents, and the texts that are made of seed items."""
    documents = (settings.corpus.model_dump(), fingerprint(settings.corpus))
    return address(*documents, seed_items, settings.scenario.stubs, model, code("corpus"))


def samples(settings: Settings, documents: str) -> str:
    """Training samples of every task."""
    return address(
        "train",
        _scenario(settings, documents),
        _counts(settings, "train"),
        settings.scenario.train_seeds,
        asdict(settings.length.training_lengths),
    )


def benchmark(settings: Settings, documents: str, model: str) -> str:
    """Benchmark items: built, or read from the user's file."""
    if settings.evaluation.items.path is not None:
        read = items_fingerprint(settings.evaluation.items)
        return address(
            "items",
            read,
            settings.on_bad_row,
            settings.scenario.seed,
            task_files_fingerprint(settings.scenario.task_files),
            model,
            code("items"),
        )
    scenario, lengths = settings.scenario, asdict(settings.length.bench_lengths)
    filled = (scenario.bench_goal or scenario.goal, scenario.bench_padding)
    return address("bench", _scenario(settings, documents), _counts(settings, "bench"), filled, lengths)


def short_safety(settings: Settings, documents: str) -> str:
    """The short-safety arm's samples: as many as the tasks' together."""
    number, limit = _counts(settings, "train")
    return address(
        "short_safety", _scenario(settings, documents), sum(number.values()), limit, code("baselines")
    )  # fmt: skip


def long_align(settings: Settings, training: str) -> str:
    """The long-alignment arm's samples, on the contexts of the training samples."""
    return address("long_align", training, _teacher(settings), code("baselines"))


def _scenario(settings: Settings, documents: str) -> Any:
    apart = {"name", "strict", "seeds", "only_accepted", "train_samples", "bench_items", "tasks", "task_files"}
    apart |= {"bench_goal", "bench_padding", "leave_out", "train_seeds"}
    own = task_files_fingerprint(settings.scenario.task_files)
    families = sorted(benchmark_families(settings.scenario))  # by these the seed items are split
    return (documents, settings.scenario.model_dump(exclude=apart), families, own, code("samples"))


def _counts(settings: Settings, split: str) -> tuple[dict[str, int], int | None]:
    """Task → samples of a split, and their limit."""
    scenario = settings.scenario
    counts = {name: getattr(number, split) for name, number in scenario.tasks.items() if getattr(number, split)}
    return counts, scenario.train_samples if split == "train" else scenario.bench_items


def _teacher(settings: Settings) -> object:
    """Who writes. The code of the models that write counts where one is asked."""
    if settings.teacher.kind == "template":
        return "template"
    asked = settings.teacher.model_dump(include={"kind", "model", "max_reply_tokens", "temperature", "retries"})
    return (asked, code("teacher"))


# --- training -------------------------------------------------------------------------------------------------------


def weights(settings: Settings, training: str, short: str, long: str, items: str) -> str:
    """A trained arm: its mix, the base model, the recipe; the benchmark too where a safety curve asks it."""
    if len(settings.phases) > 1:
        return address("further", *(weights(phase, training, short, long, items) for phase in settings.phases))
    if (folder := adopted(settings)) is not None:
        return address("reused", folder.name, rows_fingerprint(str(folder / "training.json")))
    of_kind = {"short_safety": short, "long_align": long, "oracle": items}
    sources = [
        [rows_fingerprint(source.path), settings.on_bad_row]
        if source.kind == "chats"
        else of_kind.get(source.kind, training)
        for source in settings.data_mix.sources.values()
    ]
    curve = []
    if settings.training.curve_every_steps:
        unread = {"judge", "guards", "processes", "sheet", "labels"}
        curve = [items, settings.evaluation.model_dump(exclude=unread), code("curve")]
        curve.append(system_text(settings.evaluation.system))
    return address(
        sources,
        settings.data_mix.model_dump(exclude={"name", "seed_offset", "epoch_factor"}),
        settings.model.model_dump(exclude={"name", "assumed", "num_parameters", "source", *HARMLESS["model"]}),
        identity(settings.model, Path(settings.paths.cache)),
        settings.training.model_dump(exclude=HARMLESS["training"]),
        (settings.length.training_tokens, settings.length.rope.model_dump()),
        settings.trainer.model_dump(exclude={"name", "gpu", "price_per_hour", "assumed", *HARMLESS["trainer"]}),
        settings.training_seed,
        settings.scenario.seed,
        curve,
        code("weights"),
    )


# --- evaluation -----------------------------------------------------------------------------------------------------


def own_answers(settings: Settings, model: str, items: str) -> str:
    """The model's answers. ``model``: the address of its weights, or the base model's identity."""
    evaluation = settings.evaluation
    read = {"scorers", "orders", "wordings", "max_new_tokens", "twins", "controls", "precision", "select", "truncation"}
    backend: object = evaluation.backend
    if evaluation.backend == "openai" and evaluation.server is not None:
        backend = evaluation.server.model_dump(include={"model", "base_url", "top_logprobs"})
    return address(
        model,
        items,
        evaluation.model_dump(include=read | {"max_open_tokens", "max_thought_tokens", "open_prompts"}),
        backend,
        (settings.length.bench_tokens, settings.model.window),
        loaded_attention(settings.model.attention),
        settings.length.rope.model_dump(),
        (system_text(evaluation.system), settings.model.fold_system),
        code("answers"),
    )


def recorded_answers(settings: Settings) -> str:
    """Answers that another program recorded. Which model and data they came from is not known here."""
    evaluation = settings.evaluation
    read: list[object] = [rows_fingerprint(evaluation.answers), settings.scoring, settings.on_bad_row]
    if evaluation.items.path is not None:
        read.append(items_fingerprint(evaluation.items))
    return address(*read, code("recorded"))


def capability(settings: Settings, model: str) -> str:
    """The scores of capability suites; in-context learning is asked at the benchmark's length, of the shipped seeds."""
    suites = settings.evaluation.capability
    in_context = [settings.length.bench_tokens, settings.scenario.language, seeds_fingerprint(SHIPPED)]
    return address(
        model,
        suites,
        suites_fingerprint(suites),
        settings.evaluation.model_dump(include={"capability_limit", "precision"}),
        settings.length.rope.model_dump(),
        (settings.model.window, settings.seed),
        in_context if IN_CONTEXT in suites else [],
        code("capability"),
    )


def run(settings: Settings, *stages: str) -> str:
    """Scores and record: every setting but those of places, tracking and processes."""
    frozen = settings.model_dump(exclude=SHOWN)
    for name in ("processes", "sheet"):
        frozen["evaluation"].pop(name)
    frozen["report"] = {"redact": settings.report.redact}
    judge = settings.evaluation.judge
    labelled = rows_fingerprint(judge.labelled or str(LABELLED)) if judge else ""
    judges = [rows_fingerprint(guard.labelled or str(LABELLED)) for guard in settings.evaluation.guards]
    judges += [
        identity(Model(name="guard", source=guard.model, window=guard.window), Path(settings.paths.cache))
        for guard in settings.evaluation.guards
        if guard.backend != "server"
    ]
    if settings.evaluation.labels is not None:
        sheet = Path(settings.evaluation.labels).expanduser()
        judges += [rows_fingerprint(str(path)) for path in (sheet, sheet.parent / KEY)]
    return address(frozen, *stages, labelled, judges, code("scores", shows=True))


def sweep(runs: list[str], baseline: str | None) -> str:
    """The comparison of a sweep's runs, and its report."""
    return address(runs, baseline, code("compare", shows=True))


# --- source code ----------------------------------------------------------------------------------------------------


@cache
def code(stage: str, *, shows: bool = False) -> str:
    """The version of what ``pipeline/<stage>.py`` imports.

    Not followed: stages with an address of their own, the machinery, and, unless ``shows``, what only shows.
    """
    others = [f"pipeline.{name}" for name in (*STAGES, *RUNNERS) if not (shows and name == "record")]
    return CODE.version(f"pipeline.{stage}", without=[*MACHINERY, *others, *(() if shows else SHOWS)])
