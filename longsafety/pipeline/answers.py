"""Stage ``answers``: every item is put to the model, and each raw answer is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from longsafety.evaluation.asking.ask import ask, put, wanted
from longsafety.evaluation.asking.journal import JOURNAL
from longsafety.evaluation.asking.processes import SHARE, TOLD, Processes, devices
from longsafety.evaluation.backends.server import ServerBackend
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.evaluation.backends.vllm import VllmBackend
from longsafety.model.device import chosen_precision, use_threads
from longsafety.model.load import template_hash
from longsafety.pipeline.asked import asked, fitting
from longsafety.pipeline.corpus import tokenizer
from longsafety.pipeline.network import check_template, network
from longsafety.pipeline.run import Run, read_json, write_json
from longsafety.pipeline.samples import bench_encoder
from longsafety.settings import Settings

FACTS = "evaluation.json"


def answers(run: Run) -> Path:
    """``answers.parquet``, a row an answer; and what is known of the evaluation."""

    def make(folder: Path) -> None:
        settings, found = run.settings, asked(run)
        backend, about = _backend(run, folder)
        began = time.perf_counter()
        with Progress(transient=True) as bar:
            task = bar.add_task(f"{settings.label}: evaluating", total=len(found.items))
            ask(
                found.items,
                backend,
                bench_encoder(run),
                settings.evaluation,
                max_tokens=settings.length.bench_tokens,
                folder=folder,
                progress=lambda: bar.advance(task),
                cuts=found.cuts,
            )
        facts = {
            "items": len({item.pair_id for item in found.items}),
            "answers": sum(len(wanted(item, settings.evaluation)) for item in found.items),
            "seconds": time.perf_counter() - began,
            "counts": found.counts,
            **about(),
        }
        write_json(folder / FACTS, facts)

    return run.stage("answers", make, resumable=True)


def ask_share(run: Run, folder: Path) -> None:
    """What one of several processes does: it asks the share of the questions that lies in ``folder``."""
    share = read_json(folder / SHARE)
    settings, found = run.settings, fitting(run, run.settings.evaluation)
    use_threads(share["threads"])
    backend, about = _local(run, settings)
    known = {one.key: one for item in found.items for one in wanted(item, settings.evaluation)}
    for _ in put(
        ([known[tuple(key)] for key in keys] for keys in share["batches"]),
        backend,
        bench_encoder(run),
        settings.evaluation,
        max_tokens=settings.length.bench_tokens,
        journal=folder / JOURNAL,
        cuts=found.cuts,
    ):
        pass
    write_json(folder / TOLD, about())


def _backend(run: Run, folder: Path) -> tuple[Any, Callable[[], dict[str, Any]]]:
    """What answers, and a function that returns its facts afterwards; processes work in ``folder``."""
    settings, server = run.settings, run.settings.evaluation.server
    if server is not None and settings.evaluation.backend == "openai":
        remote = ServerBackend(server)
        facts = {"chat_template": "the server's", "precision": "unknown", "device": f"server {server.base_url}"}
        return remote, lambda: {"prompt_tokens": remote.prompt_tokens, "reply_tokens": remote.reply_tokens, **facts}
    use_threads(settings.trainer.num_threads)
    check_template(run)
    shared = devices(settings.evaluation, settings.trainer.accelerator)
    if len(shared) == 1:
        return _local(run, settings)
    processes = Processes(run.folder, folder, shared, torch.get_num_threads())
    return processes, _facts(run, processes, len(shared))


def _local(run: Run, settings: Settings) -> tuple[Any, Callable[[], dict[str, Any]]]:
    """The model in this process, by transformers or by vLLM."""
    accelerator = settings.trainer.accelerator
    precision, _ = chosen_precision(settings.evaluation.precision, accelerator, trains=False)
    backend: Any
    if settings.evaluation.backend == "vllm":
        backend = VllmBackend(network(run), tokenizer(run), precision=precision, window=settings.model.window)
    else:
        backend = TransformersBackend(network(run), precision=precision, accelerator=accelerator)
    return backend, _facts(run, backend, 1)


def _facts(run: Run, backend: Any, processes: int) -> Callable[[], dict[str, Any]]:
    settings = run.settings
    precision, device = chosen_precision(settings.evaluation.precision, settings.trainer.accelerator, trains=False)
    return lambda: {
        "prefilled_tokens": backend.prefilled_tokens,
        "reused_tokens": backend.reused_tokens,
        "processes": processes,
        "chat_template": template_hash(tokenizer(run)),
        "precision": precision,
        "device": device,
    }
