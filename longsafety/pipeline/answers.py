"""Stage ``answers``: every item is put to the model, and each raw answer is kept."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from filelock import FileLock
from rich.markup import escape
from rich.progress import Progress

from longsafety.errors import DataError
from longsafety.evaluation.asking.ask import collect_answers
from longsafety.evaluation.asking.backend import Backend
from longsafety.evaluation.asking.trials import trials_of
from longsafety.evaluation.backends.processes import Processes, Share, answer_share, devices
from longsafety.evaluation.backends.server import ServerBackend
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.evaluation.backends.vllm import VllmBackend
from longsafety.model.device import chosen_precision, use_threads
from longsafety.model.tokenizer import template_hash
from longsafety.pipeline.asked import asked, fitting
from longsafety.pipeline.corpus import tokenizer
from longsafety.pipeline.network import check_template, network
from longsafety.pipeline.run import FACTS, Run, failed_answers, write_json
from longsafety.pipeline.samples import bench_encoder


def answers(run: Run) -> Path:
    """``answers.parquet``, a row an answer; and what is known of the evaluation.

    Where an earlier command completed the stage, answers of a server that failed are asked for again; where the server
    fails as a whole, they stay as they are.
    """

    def make(folder: Path) -> None:
        settings, found = run.settings, asked(run)
        backend = _backend(run, folder)
        began = time.perf_counter()
        with Progress(transient=True) as bar:
            task = bar.add_task(escape(f"{settings.label}: evaluating"), total=len(found.items))
            failed = collect_answers(
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
            "answers": sum(len(trials_of(item, settings.evaluation)) for item in found.items),
            "seconds": time.perf_counter() - began,
            "counts": found.counts,
            "chat_template": template_hash(tokenizer(run)),
            "thinking": settings.model.thinking,
            "options_after": bench_encoder(run).template.options_after,
            "failed": failed,
            **backend.facts(),
        }
        write_json(folder / FACTS, facts)

    missing = failed_answers(run)  # of an earlier command
    folder = run.stage("answers", make, resumable=True)
    if missing:
        with FileLock(f"{folder}.lock"):
            print(f"  asking again for {missing} answers that failed", flush=True)
            try:
                make(folder)
            except DataError as error:
                print(f"  they are still missing: {error}", flush=True)
    return folder


def ask_share(run: Run, folder: Path) -> None:
    """What one of several processes does: it answers the share of the trials that lies in ``folder``."""
    share, settings = Share.load(folder), run.settings
    use_threads(share.threads)
    answer_share(
        share,
        fitting(run, settings.evaluation),
        _local(run),
        bench_encoder(run),
        settings.evaluation,
        max_tokens=settings.length.bench_tokens,
        folder=folder,
    )


def _backend(run: Run, folder: Path) -> Backend:
    """The backend that the settings name; processes work in ``folder``."""
    settings, server = run.settings, run.settings.evaluation.server
    if server is not None and settings.evaluation.backend == "openai":
        return ServerBackend(server)
    use_threads(settings.trainer.num_threads)
    check_template(run)
    shared, accelerator = devices(settings.evaluation, settings.trainer.accelerator), settings.trainer.accelerator
    if len(shared) == 1:
        return _local(run)
    precision, _ = chosen_precision(settings.evaluation.precision, accelerator, trains=False)
    threads = torch.get_num_threads()
    return Processes(run.folder, folder, shared, threads=threads, precision=precision, accelerator=accelerator)


def _local(run: Run) -> Backend:
    """The model in this process, by transformers or by vLLM."""
    settings, accelerator = run.settings, run.settings.trainer.accelerator
    precision, _ = chosen_precision(settings.evaluation.precision, accelerator, trains=False)
    if settings.evaluation.backend == "vllm":
        return VllmBackend(network(run), tokenizer(run), precision=precision, window=settings.model.window)
    return TransformersBackend(network(run), precision=precision, accelerator=accelerator)
