"""Impossible combinations of settings that are each right by themselves. No heavy import."""

from __future__ import annotations

from collections.abc import Iterator

from longsafety.scenarios import TASK_NAMES
from longsafety.settings import Settings

OPTION_ROOM_TOKENS = 256
"""Room behind a prompt for the listed options, a twin's longer wording, and the scored reply."""


def combination_problems(settings: Settings, broken: frozenset[str]) -> list[str]:
    """Every violated rule as ``key = value: rule; fix``; rules over a broken key are left out."""
    return [
        line
        for keys, line in _rules(settings)
        if not any(key == wrong or key.startswith(f"{wrong}.") for key in keys for wrong in broken)
    ]


def _rules(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    yield from _lengths(settings)
    yield from _data(settings)
    yield from _hardware(settings)


def _lengths(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    length, window = settings.length, settings.model.window
    wanted = {
        "length.max_tokens": (length.bench_tokens, f"{length.max_tokens} × length.factor {length.factor}"),
        "length.train_tokens": (length.training_tokens, "the training samples"),
    }
    for key, (tokens, what) in wanted.items():
        if key == "length.train_tokens" and length.train_tokens is None:
            continue
        if tokens + OPTION_ROOM_TOKENS > window:
            longest = (window - OPTION_ROOM_TOKENS) // (length.factor if key == "length.max_tokens" else 1)
            shown = length.max_tokens if key == "length.max_tokens" else tokens
            yield (
                (key, "model.window", "length.factor"),
                f"{key} = {shown}: {what} and {OPTION_ROOM_TOKENS} tokens for the options do not fit the "
                f"{window}-token window of model {settings.model.name}; give at most {longest} or another model",
            )


def _data(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    scenario, mix = settings.scenario, settings.data_mix
    for name in scenario.tasks:
        if name not in TASK_NAMES:
            yield (
                (f"scenario.tasks.{name}",),
                f"scenario.tasks.{name} = {scenario.tasks[name].model_dump()}: no such task; "
                f"choose from {', '.join(TASK_NAMES)}",
            )
    if not scenario.tasks:
        yield (("scenario.tasks",), "scenario.tasks = {}: at least one task is needed; choose from the tasks' names")
    for index, depth in enumerate(scenario.depths):
        if not 0 <= depth <= 1:
            yield (("scenario.depths",), f"scenario.depths.{index} = {depth}: a depth is between 0 and 1; change it")
    total = sum(source.share for source in mix.sources.values())
    if mix.sources and abs(total - 1) > 1e-6:
        yield (
            ("data_mix.sources",),
            f"data_mix.sources = {{{', '.join(f'{key}: {item.share}' for key, item in mix.sources.items())}}}: "
            f"the shares sum to {total:g}; make them sum to 1",
        )
    built = scenario.train_samples or sum(counts.train for counts in scenario.tasks.values())
    if mix.sources and mix.budget_unit == "samples" and mix.budget > built:
        yield (
            ("data_mix.budget", "scenario.train_samples", "scenario.tasks"),
            f"data_mix.budget = {mix.budget}: the scenario builds {built} training samples; "
            f"give at most {built}, or a larger scenario.train_samples",
        )


def _hardware(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    training, trainer = settings.training, settings.trainer
    if training.batch_size % training.micro_batch_size:
        yield (
            ("training.batch_size", "training.micro_batch_size"),
            f"training.batch_size = {training.batch_size}: not a multiple of training.micro_batch_size "
            f"{training.micro_batch_size}; change one of them",
        )
    elif isinstance(trainer.devices, int):
        step = training.micro_batch_size * trainer.devices * trainer.num_nodes
        if training.batch_size % step:
            yield (
                ("training.batch_size", "training.micro_batch_size", "trainer.devices", "trainer.num_nodes"),
                f"training.batch_size = {training.batch_size}: not a multiple of micro_batch_size × devices × nodes "
                f"= {step}; change one of them",
            )
    if trainer.accelerator == "cpu" and trainer.strategy == "deepspeed":
        yield (
            ("trainer.strategy", "trainer.accelerator"),
            "trainer.strategy = deepspeed: needs trainer.accelerator=gpu; choose trainer=cpu or a GPU trainer",
        )
    if trainer.strategy == "deepspeed" and settings.model.tune == "lora" and trainer.zero.stage == 3:
        yield (
            ("trainer.zero.stage", "model.tune"),
            "trainer.zero.stage = 3: adapters are not sharded by ZeRO-3 here; set model.tune=full or "
            "trainer.zero.stage=2",
        )
    if settings.model.attention == "flash_attention_2" and trainer.accelerator == "cpu":
        yield (
            ("model.attention", "trainer.accelerator"),
            "model.attention = flash_attention_2: needs a GPU; set model.attention=sdpa",
        )
    if not {"likelihood", "letter"} & set(settings.evaluation.scorers):
        yield (("evaluation.scorers",), "evaluation.scorers = []: nothing would be scored; give likelihood or letter")
    if settings.scoring == "official" and "letter" not in settings.evaluation.scorers:
        yield (
            ("scoring", "evaluation.scorers"),
            "scoring = official: the published evaluator reads letters; add letter to evaluation.scorers",
        )
    uri = settings.tracking.uri
    if settings.tracking.enabled and uri and "://" not in uri:
        yield (
            ("tracking.uri",),
            f"tracking.uri = {uri!r}: is a plain path, which MLflow refuses; give sqlite:///PATH.db or http://HOST:PORT",
        )
