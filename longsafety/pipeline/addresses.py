"""The content address of every stage of a run, from its settings alone: no torch, so a finished run answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longsafety.corpus.corpus import fingerprint
from longsafety.evaluation.open_replies.judge import LABELLED
from longsafety.evaluation.suites.names import IN_CONTEXT, suites_fingerprint
from longsafety.formats.rows import rows_fingerprint
from longsafety.model.kernels import loaded_attention
from longsafety.model.source import identity
from longsafety.scenarios.seeds import SHIPPED, seeds_fingerprint
from longsafety.settings import Evaluation, Settings
from longsafety.stages import address, code_version

_IN_CONTEXT = ("evaluation/suites/in_context.py", "evaluation/backends/transformers.py")


@dataclass(frozen=True)
class Keys:
    """Stage → address. ``weights`` is empty for the untrained arm."""

    seeds: str
    corpus: str
    samples: str
    benchmark: str
    short_safety: str
    long_align: str
    audit: str
    weights: str
    answers: str
    capability: str
    """Empty where no suite is asked."""
    run: str


def _who(evaluation: Evaluation) -> object:
    server = evaluation.server
    if evaluation.backend != "openai" or server is None:
        return evaluation.backend
    return server.model_dump(include={"model", "base_url", "top_logprobs"})


def keys(settings: Settings) -> Keys:
    """Addresses of one run. What two runs have in common has one address, and is made once."""
    if settings.rescores:
        return _rescored(settings)
    scenario, length, teacher = settings.scenario, settings.length, settings.teacher
    model = identity(settings.model, Path(settings.paths.cache))
    scenarios = code_version("scenarios", "corpus", "samples")
    writer = teacher.model_dump(include={"kind", "model", "max_reply_tokens", "temperature", "retries"})
    seeds = address(
        seeds_fingerprint(scenario.seeds),
        scenario.language,
        scenario.context_language,
        settings.on_bad_row,
        "template" if teacher.kind == "template" else writer,
        scenarios,
    )
    corpus = address(settings.corpus.model_dump(), fingerprint(settings.corpus), seeds, model, scenarios)
    sizes = {"name", "seeds", "train_samples", "bench_items", "tasks"}
    common = (corpus, scenario.model_dump(exclude=sizes), settings.seed)
    train_length = length.model_dump(exclude={"name", "bench_mean_tokens", "factor", "rope"})
    bench_length = length.model_dump(exclude={"name", "train_tokens", "rope"})
    counts = {
        split: {name: getattr(number, split) for name, number in scenario.tasks.items() if getattr(number, split)}
        for split in ("train", "bench")
    }
    if length.train_tokens or not (length.lengths or length.mean_tokens):
        train_length = {"max_tokens": length.training_tokens}
    samples = address("train", *common, counts["train"], scenario.train_samples, train_length)
    benchmark = address("bench", *common, counts["bench"], scenario.bench_items, bench_length)
    if settings.evaluation.items.path is not None:
        from longsafety.scenarios.items import items_fingerprint

        read = items_fingerprint(settings.evaluation.items)
        benchmark = address("items", read, settings.on_bad_row, settings.seed, model, scenarios)
    short_safety = address("short_safety", *common, sum(counts["train"].values()), scenario.train_samples)
    long_align = address("long_align", samples, writer)
    weights = ""
    if settings.data_mix.sources:
        parts = {"short_safety": short_safety, "long_align": long_align}
        weights = address(
            [
                rows_fingerprint(source.path) if source.kind == "chats" else parts.get(source.kind, samples)
                for source in settings.data_mix.sources.values()
            ],
            settings.data_mix.model_dump(exclude={"name"}),
            settings.model.model_dump(exclude={"name", "assumed", "num_parameters"}),
            settings.training.model_dump(),
            settings.length.rope.model_dump(),
            settings.trainer.model_dump(exclude={"name", "gpu", "assumed"}),
            settings.seed,
            code_version("data", "model"),
            *(
                [benchmark, settings.evaluation.model_dump(exclude={"judge", "processes"})]
                if settings.training.curve_every_steps
                else []
            ),
        )
    asked = settings.evaluation.model_dump(
        include={"scorers", "orders", "wordings", "max_new_tokens", "twins", "precision", "select", "truncation"}
        | {"max_open_tokens", "open_prompts"}
    )
    answers = address(
        weights or model,
        benchmark,
        asked,
        _who(settings.evaluation),
        (length.bench_tokens, settings.model.window),
        loaded_attention(settings.model.attention),
        settings.length.rope.model_dump(),
        code_version("evaluation/asking", "evaluation/backends"),
    )
    suites = settings.evaluation.capability
    capability = ""
    if suites:
        capability = address(
            weights or model,
            suites,
            suites_fingerprint(suites),
            settings.evaluation.model_dump(include={"capability_limit", "precision"}),
            settings.length.rope.model_dump(),
            (settings.model.window, settings.seed),
            code_version("evaluation/suites/capability.py"),
            *(
                [length.bench_tokens, scenario.language, seeds_fingerprint(SHIPPED), code_version(*_IN_CONTEXT)]
                if IN_CONTEXT in suites
                else []
            ),
        )
    evaluation = settings.evaluation.model_dump(exclude={"processes"})
    frozen = {**settings.model_dump(exclude={"paths", "tracking", "limits"}), "evaluation": evaluation}
    judge = settings.evaluation.judge
    measured = rows_fingerprint(judge.labelled or str(LABELLED)) if judge else ""
    run = address(
        frozen, answers, capability, samples, long_align, measured, code_version("reporting", "tracking", "evaluation")
    )
    audit = address(samples, benchmark)
    return Keys(
        seeds, corpus, samples, benchmark, short_safety, long_align, audit, weights, answers, capability, run
    )  # fmt: skip


def _rescored(settings: Settings) -> Keys:
    """Of answers that others recorded; what they came of has no address here."""
    evaluation = settings.evaluation
    read = [rows_fingerprint(evaluation.answers), settings.scoring, settings.on_bad_row]
    if evaluation.items.path is not None:
        from longsafety.scenarios.items import items_fingerprint

        read.append(str(items_fingerprint(evaluation.items)))
    answers = address(
        *read, code_version("evaluation/scores/official.py", "evaluation/asking/parse.py", "formats/item_sets.py")
    )
    run = address(settings.model_dump(exclude={"paths", "tracking", "limits"}), answers, code_version("evaluation"))
    return Keys(**dict.fromkeys(Keys.__dataclass_fields__, "") | {"answers": answers, "run": run})
