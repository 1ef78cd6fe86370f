"""Checks of lengths, tasks, mixes and the teacher."""

from __future__ import annotations

from collections.abc import Iterator

from longsafety.configuration.checks_tasks import task_problems
from longsafety.model.rope import rope_problems
from longsafety.scenarios.teacher.teacher import teacher_problems
from longsafety.settings import OPTION_ROOM_TOKENS, Settings


def length_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Problems of ``length``: the keys of the rule, and the line."""
    length, window = settings.length, settings.model.window
    for index, tokens in enumerate(length.lengths):
        if tokens > length.max_tokens:
            yield (
                ("length.lengths", "length.max_tokens"),
                f"length.lengths.{index} = {tokens}: above length.max_tokens = {length.max_tokens}; raise it",
            )
    for key in ("mean_tokens", "bench_mean_tokens"):
        mean = getattr(length, key)
        if mean is not None and mean >= length.max_tokens:
            yield (
                (f"length.{key}", "length.max_tokens"),
                f"length.{key} = {mean}: the spread ends at length.max_tokens = {length.max_tokens}, which must be "
                "larger; raise it",
            )
        if mean is not None and length.lengths:
            yield (
                (f"length.{key}", "length.lengths"),
                f"length.{key} = {mean}: length.lengths = {length.lengths} already gives the lengths; leave one out",
            )
    if settings.only_builds:
        return  # no model reads the data
    for problem in rope_problems(length.rope):
        yield (("length.rope",), problem)
    if length.rope.kind == "dynamic" and settings.training.packing != "none":
        yield (
            ("length.rope", "training.packing"),
            f"length.rope.kind = dynamic: it depends on the longest chat of a batch, and "
            f"training.packing = {settings.training.packing} puts chats together; choose yarn, or "
            "training.packing=none",
        )
    wanted = {
        "length.max_tokens": (length.bench_tokens, f"{length.max_tokens} × length.factor {length.factor}"),
        "length.train_tokens": (length.training_tokens, "the training samples"),
    }
    for key, (tokens, what) in wanted.items():
        if key == "length.train_tokens" and length.train_tokens is None:
            continue
        if tokens + OPTION_ROOM_TOKENS > window:
            longest = (window - OPTION_ROOM_TOKENS) // (length.factor if key == "length.max_tokens" else 1)
            fix = f"give at most {longest} or another model" if longest > 0 else "choose another model"
            shown = length.max_tokens if key == "length.max_tokens" else tokens
            yield (
                (key, "model.window", "length.factor"),
                f"{key} = {shown}: {what} and {OPTION_ROOM_TOKENS} tokens for the options do not fit the "
                f"{window}-token window of model {settings.model.name}; {fix}",
            )


def mix_problems(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Problems of tasks, mix and teacher: the keys of the rule, and the line."""
    scenario, mix = settings.scenario, settings.data_mix
    yield from task_problems(settings)
    if not any(counts.train or counts.bench for counts in scenario.tasks.values()):
        yield (("scenario.tasks",), "scenario.tasks = {}: at least one task is needed; choose from the tasks' names")
    total = sum(source.share for source in mix.sources.values())
    if mix.sources and abs(total - 1) > 1e-6:
        yield (
            ("data_mix.sources",),
            f"data_mix.sources = {{{', '.join(f'{key}: {item.share}' for key, item in mix.sources.items())}}}: "
            f"the shares sum to {total:g}; make them sum to 1",
        )
    for name, source in settings.data_mix.sources.items():
        if (source.kind == "chats") != (source.path is not None):
            rule = "needs a path" if source.kind == "chats" else f"a source of kind {source.kind} is built, not read"
            fix = "give one" if source.kind == "chats" else "leave it out, or set kind=chats"
            yield (
                (f"data_mix.sources.{name}",),
                f"data_mix.sources.{name}.path = {source.path}: {rule}; {fix}",
            )
        if source.kind == "oracle" and settings.reads_items:
            yield (
                (f"data_mix.sources.{name}", "evaluation.items"),
                f"data_mix.sources.{name}.kind = oracle: an oracle is trained on the built benchmark, not on "
                f"evaluation.items.path = {settings.evaluation.items.path}; leave one of them out",
            )
    for problem in teacher_problems(settings.teacher):
        yield (("teacher.kind", problem.split(" ", 1)[0]), problem)
    if settings.only_builds:
        return
    built = sum(counts.train for counts in scenario.tasks.values())
    built = built and (scenario.train_samples or settings.limits.train_samples or built)
    own = any(source.kind not in ("chats", "oracle") for source in mix.sources.values())
    if own and (not built or (mix.budget_unit == "samples" and mix.budget > built)):
        fix = (
            f"give at most {built}, or a larger scenario.train_samples"
            if built
            else "choose data_mix=base, or a scenario with training samples"
        )
        yield (
            ("data_mix.budget", "scenario.train_samples", "scenario.tasks"),
            f"data_mix.budget = {mix.budget}: the scenario builds {built} training samples; {fix}",
        )
