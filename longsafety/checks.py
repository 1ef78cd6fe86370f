"""Impossible combinations of settings that are each right by themselves. No heavy import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from longsafety.evaluation.capability import suite_problems
from longsafety.evaluation.judge import judge_problems
from longsafety.model.rope import rope_problems
from longsafety.model.sequence import heads_problem
from longsafety.model.shape import shape_of
from longsafety.scenarios.language import texts
from longsafety.scenarios.teacher import teacher_problems
from longsafety.server import SCORERS, server_problems
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
    yield from _files(settings)
    yield from _hardware(settings)
    yield from _recorded(settings)
    yield from _open(settings)
    yield from _asked_of(settings)


def _lengths(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
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
                f"length.{key} = {mean}: lengths spread up to length.max_tokens = {length.max_tokens}, which must be "
                "larger; raise it",
            )
        if mean is not None and length.lengths:
            yield (
                (f"length.{key}", "length.lengths"),
                f"length.{key} = {mean}: length.lengths = {length.lengths} gives the lengths already; leave one out",
            )
    if settings.only_builds:
        return  # no model sees what is built
    for problem in rope_problems(length.rope):
        yield (("length.rope",), problem)
    if length.rope.kind == "dynamic" and settings.training.packing != "none":
        yield (
            ("length.rope", "training.packing"),
            f"length.rope.kind = dynamic: it depends on the longest chat of a pass, and training.packing = "
            f"{settings.training.packing} puts chats together; choose yarn, or training.packing=none",
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
            shown = length.max_tokens if key == "length.max_tokens" else tokens
            yield (
                (key, "model.window", "length.factor"),
                f"{key} = {shown}: {what} and {OPTION_ROOM_TOKENS} tokens for the options do not fit the "
                f"{window}-token window of model {settings.model.name}; give at most {longest} or another model",
            )


def _data(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    scenario, mix = settings.scenario, settings.data_mix
    names = [name for name in texts("en") if name != "common"]
    for name in scenario.tasks:
        if name not in names:
            yield (
                (f"scenario.tasks.{name}",),
                f"scenario.tasks.{name} = {scenario.tasks[name].model_dump()}: no such task; "
                f"choose from {', '.join(names)}",
            )
    if not any(counts.train or counts.bench for counts in scenario.tasks.values()):
        yield (("scenario.tasks",), "scenario.tasks = {}: at least one task is needed; choose from the tasks' names")
    total = sum(source.share for source in mix.sources.values())
    if mix.sources and abs(total - 1) > 1e-6:
        yield (
            ("data_mix.sources",),
            f"data_mix.sources = {{{', '.join(f'{key}: {item.share}' for key, item in mix.sources.items())}}}: "
            f"the shares sum to {total:g}; make them sum to 1",
        )
    if settings.only_builds:
        return
    built = sum(counts.train for counts in scenario.tasks.values())
    built = built and (scenario.train_samples or settings.limits.train_samples or built)
    own = any(source.kind != "chats" for source in mix.sources.values())
    if own and mix.budget_unit == "samples" and mix.budget > built:
        yield (
            ("data_mix.budget", "scenario.train_samples", "scenario.tasks"),
            f"data_mix.budget = {mix.budget}: the scenario builds {built} training samples; "
            + (
                f"give at most {built}, or a larger scenario.train_samples"
                if built
                else "choose data_mix=base, or a scenario with training samples"
            ),
        )


def _files(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, source in settings.data_mix.sources.items():
        if (source.kind == "chats") != (source.path is not None):
            rule = "needs a path" if source.kind == "chats" else f"a source of kind {source.kind} is built, not read"
            fix = "give one" if source.kind == "chats" else "leave it out, or set kind=chats"
            yield (
                (f"data_mix.sources.{name}",),
                f"data_mix.sources.{name}.path = {source.path}: {rule}; {fix}",
            )
    teacher, export, exports = settings.teacher, settings.export, "export" in settings.stages
    for problem in teacher_problems(teacher):
        yield (("teacher.kind", problem.split(" ", 1)[0]), problem)
    for key in ("format", "path"):
        if exports != (getattr(export, key) is not None):
            rule = "stages has export, which needs it" if exports else "stages has no export"
            fix = "give it" if exports else "add export to stages"
            yield ((f"export.{key}", "stages"), f"export.{key} = {getattr(export, key)}: {rule}; {fix}")
    if exports and export.format is not None and export.path is not None:
        from longsafety.data.export import folder_problem

        folder = Path(export.path).expanduser().resolve()
        problem = folder_problem(folder, export.format)
        # A sweep's models stand beside each other in it, those of an earlier attempt too.
        if problem and not (settings.exports_weights and settings.varied and folder.is_dir()):
            yield (("export.path", "export.format", "stages"), problem)
    if settings.read.path is not None and not (exports and settings.only_builds):
        yield (
            ("read.path", "stages"),
            f"read.path = {settings.read.path}: a file is read in order to be exported; set stages=[build,export]",
        )
    items, select = settings.evaluation.items, settings.evaluation.select
    if items.path is not None and settings.only_builds:
        yield (
            ("evaluation.items", "stages"),
            f"evaluation.items = {items.path}: items that are read are asked, not built; add evaluate to stages, or "
            "give read.path to convert a file",
        )
    unknown = [task for task in select.tasks if items.path is None and task not in settings.scenario.tasks]
    if unknown:
        yield (
            ("evaluation.select.tasks", "scenario.tasks"),
            f"evaluation.select.tasks = [{', '.join(unknown)}]: no task of scenario {settings.scenario.name}; choose "
            f"from {', '.join(settings.scenario.tasks)}",
        )
    formats = {"read": settings.read.format if settings.read.path is not None else "auto"}
    formats["evaluation.items"] = items.format
    formats |= {f"data_mix.sources.{name}": source.format for name, source in settings.data_mix.sources.items()}
    for section, schema in formats.items():
        if schema != "auto":
            from longsafety.scenarios.schemas import SCHEMAS

            if schema not in SCHEMAS:
                yield (
                    (f"{section}.format",),
                    f"{section}.format = {schema}: no such schema; choose from auto, {', '.join(SCHEMAS)}",
                )
    if settings.exports_weights and not settings.data_mix.sources and not settings.varied:
        yield (
            ("data_mix.sources", "export.format"),
            f"export.format = weights: data_mix={settings.data_mix.name} trains nothing; choose another data_mix",
        )
    if exports and export.format not in (None, "weights") and settings.read.path is None:
        bench = export.format in ("longsafety_bench", "lm_eval", "inspect")
        if not any(count.bench if bench else count.train for count in settings.scenario.tasks.values()):
            yield (
                ("export.format", "scenario.tasks"),
                f"export.format = {export.format}: writes {'benchmark items' if bench else 'training samples'}, and "
                f"scenario {settings.scenario.name} has none; choose another scenario",
            )


def _padded(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Padded batches are cut from a step's samples; packs are not."""
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


def _sequence_parallel(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    trainer, key = settings.trainer, "trainer.sequence_parallel"
    size, head = trainer.sequence_parallel, f"trainer.sequence_parallel = {trainer.sequence_parallel}"
    if size == 1:
        return
    if trainer.strategy != "deepspeed":
        yield (
            (key, "trainer.strategy"),
            f"{head}: is DeepSpeed's, and trainer.strategy = {trainer.strategy}; set trainer=deepspeed_zero3",
        )
    elif not isinstance(trainer.devices, int) or trainer.devices * trainer.num_nodes % size:
        yield (
            (key, "trainer.devices", "trainer.num_nodes"),
            f"{head}: does not divide trainer.devices × trainer.num_nodes = {trainer.devices} × {trainer.num_nodes}; "
            "change one of them",
        )
    if settings.training.packing != "packed":
        yield (
            (key, "training.packing"),
            f"{head}: shares packs, and training.packing = {settings.training.packing}; set training.packing=packed",
        )
    if settings.model.attention == "flash_attention_2":
        yield (
            (key, "model.attention"),
            f"{head}: model.attention = flash_attention_2 is not used with it; set model.attention=auto",
        )
    shape = shape_of(settings.model)
    if problem := shape and heads_problem(shape, size):
        yield ((key, "model.source"), f"{head}: {problem}; give a divisor of both, or 1")


def _hardware(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    if "plan" in settings.stages and len(settings.stages) > 1:
        yield (
            ("stages",),
            f"stages = [{','.join(settings.stages)}]: plan only reckons, and stands alone; set stages=[plan] first, "
            "then give the command without it",
        )
    training, trainer = settings.training, settings.trainer
    if training.packing != "packed":
        yield from _padded(settings)
    elif settings.model.attention == "eager":
        yield (
            ("training.packing", "model.attention"),
            "training.packing = packed: model.attention = eager would need a mask of tokens × tokens; set "
            "model.attention=auto, or training.packing=none",
        )
    elif settings.model.attention == "flash_attention_2" and training.share_prefixes:
        yield (
            ("training.share_prefixes", "model.attention"),
            "training.share_prefixes = true: flash_attention_2 does not know of shared beginnings; set "
            "model.attention=auto, or training.share_prefixes=false",
        )
    attention = settings.model.attention
    if attention in ("varlen", "flex") and training.packing != "packed":
        yield (
            ("training.packing", "model.attention"),
            f"model.attention = {attention}: is for packs, and training.packing = {training.packing}; set "
            "model.attention=auto",
        )
    if attention in ("varlen", "flex", "flash_attention_2") and trainer.accelerator == "cpu":
        yield (
            ("model.attention", "trainer.accelerator"),
            f"model.attention = {attention}: needs a GPU; set model.attention=auto",
        )
    if training.optimizer == "adamw_8bit" and trainer.strategy == "deepspeed":
        yield (
            ("training.optimizer", "trainer.strategy"),
            "training.optimizer = adamw_8bit: DeepSpeed keeps float32 weights and states of its own, and shards them; "
            "set training.optimizer=adamw, or trainer.strategy=auto",
        )
    if settings.model.mlp_tile_tokens and trainer.strategy == "deepspeed" and trainer.zero.stage == 3:
        yield (
            ("model.mlp_tile_tokens", "trainer.strategy", "trainer.zero"),
            f"model.mlp_tile_tokens = {settings.model.mlp_tile_tokens}: was not tried with ZeRO-3, which would gather "
            "the weights for each tile; set it to null, or trainer.zero.stage=2",
        )
    if attention == "flex" and settings.model.gradient_checkpointing == "selective":
        yield (
            ("model.attention", "model.gradient_checkpointing"),
            "model.gradient_checkpointing = selective: cannot keep what FlexAttention returns; set "
            "model.gradient_checkpointing=full, or model.attention=auto",
        )
    yield from _sequence_parallel(settings)
    training = settings.training
    if training.keep == "best" and training.curve_every_steps is None:
        yield (
            ("training.keep", "training.curve_every_steps"),
            "training.keep = best: no curve tells which is; set training.curve_every_steps",
        )
    if training.curve_every_steps is not None and trainer.sequence_parallel > 1:
        yield (
            ("training.curve_every_steps", "trainer.sequence_parallel"),
            f"training.curve_every_steps = {training.curve_every_steps}: devices that share a pack "
            f"(trainer.sequence_parallel = {trainer.sequence_parallel}) cannot ask; set it to null",
        )
    if not settings.evaluation.scorers:
        yield (("evaluation.scorers",), "evaluation.scorers = []: nothing would be scored; give likelihood or letter")
    judged = "open" in settings.evaluation.scorers and settings.evaluation.judge is not None
    read = judged or settings.rescores or "letter" in settings.evaluation.scorers
    if settings.scoring == "official" and not read:
        yield (
            ("scoring", "evaluation.scorers", "evaluation.judge"),
            "scoring = official: the published evaluators read letters, or (open, with evaluation.judge) verdicts; "
            "add letter to evaluation.scorers",
        )
    for problem in suite_problems(settings.evaluation.capability):
        yield (("evaluation.capability",), problem)
    uri = settings.tracking.uri
    if settings.tracking.enabled and uri and "://" not in uri:
        yield (
            ("tracking.uri",),
            f"tracking.uri = {uri!r}: is a plain path, which MLflow refuses; give sqlite:///PATH.db or http://HOST:PORT",
        )


def _recorded(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    evaluation, stages = settings.evaluation, settings.stages
    shown = next((scorer for scorer in evaluation.scorers if scorer in ("letter", "generate")), None)
    if evaluation.write_official and (settings.rescores or "score" not in stages or shown is None):
        rule = "own answers of letter or generate are written, by the stage score"
        yield (
            ("evaluation.write_official", "evaluation.answers", "evaluation.scorers", "stages"),
            f"evaluation.write_official = true: {rule}; set it to false, or ask with one of them",
        )
    if evaluation.answers is None:
        return
    key, folder = "evaluation.answers", Path(evaluation.answers).expanduser()
    if "score" not in stages or not {*stages} <= {"score", "report"}:
        yield (
            (key, "stages"),
            f"{key} = {evaluation.answers}: recorded answers are scored only, and stages = [{', '.join(stages)}]; set "
            "stages=[score], or [score,report]",
        )
    if not folder.is_dir():
        yield ((key,), f"{key} = {evaluation.answers}: no such folder; give a model's folder of <Task>.jsonl files")
    elif not any(folder.glob("*.jsonl")):
        below = sorted(path.name for path in folder.iterdir() if path.is_dir() and any(path.glob("*.jsonl")))
        fix = f"give one of its models: {', '.join(below)}" if below else "give a model's folder"
        yield ((key,), f"{key} = {evaluation.answers}: holds no <Task>.jsonl file; {fix}")


def _asked_of(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    evaluation, key = settings.evaluation, "evaluation.server"
    if evaluation.backend != "transformers" and evaluation.processes != 1:
        yield (
            ("evaluation.processes", "evaluation.backend"),
            f"evaluation.processes = {evaluation.processes}: is for evaluation.backend = transformers, and "
            f"{evaluation.backend} asks many at once by itself; set it to 1",
        )
    if evaluation.backend != "openai":
        if evaluation.server is not None:
            yield (
                (key, "evaluation.backend"),
                f"{key}.model = {evaluation.server.model}: evaluation.backend = {evaluation.backend} asks the model "
                "here; set evaluation.backend=openai, or leave the server out",
            )
        return
    if evaluation.server is None:
        yield (
            (key, "evaluation.backend"),
            "evaluation.backend = openai: there is no server; give evaluation.server.model and "
            "evaluation.server.base_url",
        )
    elif "evaluate" in settings.stages:
        for problem in server_problems(evaluation.server, key):
            yield ((problem.split(" ", 1)[0],), problem)
    unread = [scorer for scorer in evaluation.scorers if scorer not in SCORERS]
    if unread:
        yield (
            ("evaluation.scorers", "evaluation.backend"),
            f"evaluation.scorers = [{', '.join(evaluation.scorers)}]: a chat server tells no likelihood of given "
            f"texts; choose of {', '.join(SCORERS)}",
        )
    if evaluation.capability:
        yield (
            ("evaluation.capability", "evaluation.backend"),
            f"evaluation.capability = [{', '.join(evaluation.capability)}]: suites ask the model here, not the server; "
            "set it to [], or evaluation.backend=transformers (vllm)",
        )
    if settings.data_mix.sources:
        yield (
            ("data_mix", "evaluation.backend"),
            f"data_mix = {settings.data_mix.name}: a server answers with the model that it serves, not with what is "
            "trained here; set data_mix=base, or evaluation.backend=transformers (vllm)",
        )


def _open(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    evaluation, key = settings.evaluation, "evaluation.judge"
    if "open" not in evaluation.scorers:
        if evaluation.judge is not None:
            yield (
                (key, "evaluation.scorers"),
                f"{key}.model = {evaluation.judge.model}: there is nothing to judge; add open to evaluation.scorers",
            )
        return
    if evaluation.judge is not None and "score" in settings.stages:
        for problem in judge_problems(evaluation.judge):
            yield ((problem.split(" ", 1)[0],), problem)
    if settings.scoring == "official" and evaluation.judge is None:
        yield (
            ("scoring", "evaluation.scorers", key),
            "scoring = official: open replies are scored by a judge; give evaluation.judge, or leave open out of "
            "evaluation.scorers",
        )
