"""The content address of every stage of a run, from its settings alone: no torch, so a finished run answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longsafety.model.load import identity
from longsafety.scenarios.corpus import fingerprint
from longsafety.scenarios.seeds import seeds_fingerprint
from longsafety.settings import Settings
from longsafety.stages import address, code_version


@dataclass(frozen=True)
class Keys:
    """Stage → address. ``weights`` is empty for the untrained arm."""

    corpus: str
    samples: str
    benchmark: str
    weights: str
    answers: str
    run: str


def keys(settings: Settings) -> Keys:
    """Addresses of one run. What two runs have in common has one address, and is made once."""
    scenario = settings.scenario
    model = identity(settings.model, Path(settings.paths.cache))
    corpus = address(
        settings.corpus.model_dump(),
        fingerprint(settings.corpus),
        seeds_fingerprint(scenario.seeds),
        model,
        code_version("scenarios"),
    )
    common = (corpus, scenario.model_dump(exclude={"name", "seeds", "train_samples", "bench_items"}), settings.seed)
    samples = address("train", *common, scenario.train_samples, settings.length.training_tokens)
    benchmark = address("bench", *common, scenario.bench_items, settings.length.bench_tokens)
    weights = ""
    if settings.data_mix.sources:
        weights = address(
            samples,
            settings.data_mix.model_dump(exclude={"name"}),
            settings.model.model_dump(exclude={"name", "assumed", "num_parameters"}),
            settings.training.model_dump(),
            settings.trainer.model_dump(exclude={"name"}),
            settings.seed,
            code_version("data", "model"),
        )
    asked = settings.evaluation.model_dump(include={"scorers", "wordings", "twins", "precision"})
    answers = address(
        weights or model,
        benchmark,
        asked,
        settings.model.attention,
        code_version("evaluation/ask.py", "evaluation/backend.py"),
    )
    frozen = settings.model_dump(exclude={"paths", "tracking"})
    run = address(frozen, answers, code_version("tracking", "evaluation"))
    return Keys(corpus, samples, benchmark, weights, answers, run)
