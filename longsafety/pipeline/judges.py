"""Who judges the open replies of a run: the chat model, then the guard models, loaded where they are needed."""

from __future__ import annotations

from pathlib import Path

from longsafety import settings
from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.asking.backend import TokenBackend
from longsafety.evaluation.open_replies.guard_judge import GuardJudge
from longsafety.evaluation.open_replies.judge import Judge, Judging
from longsafety.evaluation.open_replies.server_guard import ServerGuard
from longsafety.model.device import chosen_precision
from longsafety.settings import Settings


def open_judges(run: Settings, cache: Path) -> list[Judging]:
    """All judges of the settings; the first gives the verdicts. Raises DataError for a guard that cannot be had."""
    evaluation = run.evaluation
    chat: list[Judging] = [Judge(evaluation.judge, cache)] if evaluation.judge else []
    return [*chat, *(_opened(run, guard, cache) for guard in evaluation.guards)]


def guard_model(guard: settings.Guard) -> settings.Model:
    """The guard as a model of the settings."""
    return settings.Model(name="guard", source=guard.model, window=guard.window)


def _opened(run: Settings, guard: settings.Guard, cache: Path) -> Judging:
    if guard.backend == "server":
        return ServerGuard(guard, cache)
    from longsafety.model.load import load_model
    from longsafety.model.tokenizer import load_tokenizer

    model, accelerator = guard_model(guard), run.trainer.accelerator
    try:
        network, tokenizer = load_model(model, cache, seed=0), load_tokenizer(model, cache)
    except (ConfigError, DataError) as error:
        raise DataError(f"evaluation.guards: model = {guard.model!r}: cannot be had ({error})") from error
    window = min(guard.window, getattr(network.config, "max_position_embeddings", None) or guard.window)
    precision, _ = chosen_precision(run.evaluation.precision, accelerator, trains=False)
    backend: TokenBackend
    if guard.backend == "vllm":
        from longsafety.evaluation.backends.vllm import VllmBackend

        backend = VllmBackend(network, tokenizer, precision=precision, window=window)
    else:
        from longsafety.evaluation.backends.transformers import TransformersBackend

        backend = TransformersBackend(network, precision=precision, accelerator=accelerator)
    return GuardJudge(guard, backend, tokenizer, window)
