"""Writes what others open: samples, benchmark items, converted files, trained models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from longsafety.errors import DataError, print_left_out
from longsafety.formats.export import export
from longsafety.formats.layouts import FORMATS
from longsafety.formats.public import PublicSet, read_public
from longsafety.formats.rows import rows_fingerprint
from longsafety.model.export import export_weights
from longsafety.model.trained import SUMMARY, WEIGHTS
from longsafety.pipeline.audit import audit
from longsafety.pipeline.corpus import encoder, facts, tokenizer
from longsafety.pipeline.record import shipped_benchmark
from longsafety.pipeline.run import MIX, Run, read_json
from longsafety.pipeline.samples import SAMPLES, benchmark, samples, used_seeds
from longsafety.reporting.audit_view import check_rows
from longsafety.reporting.seed_view import origins, seed_rows
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, SampleFile
from longsafety.samples.store import TokenStore
from longsafety.samples.system import folded
from longsafety.vocabulary import ITEM_KINDS


def export_data(run: Run) -> None:
    """Writes the training samples, or the benchmark's items, in the format that is asked for."""
    bench = FORMATS[str(run.settings.export.format)].needs == "choices"
    folder = benchmark(run) if bench else samples(run)
    checks = None
    if run.find("audit") is not None:
        checks = {name: f"{value} ({note})" if note else value for name, value, note in check_rows(audit(run))}
    _write(
        run,
        SampleFile(folder / SAMPLES),
        encoder(run),
        licence=facts(run)["licence"],
        fingerprint=run.addresses.benchmark if bench else run.addresses.samples,
        audit=checks,
    )


def convert(run: Run) -> None:
    """Reads a public file and writes it in another format. Raises DataError where nothing in it can be written."""
    read = run.settings.read
    assert read.path is not None
    found = read_public(
        read.path, schema=read.format, on_bad_row=run.settings.on_bad_row, split=read.split, docs=read.documents
    )
    print_left_out(found.bad)
    for reason, count in found.counts.items():
        print(f"  {reason}: {count}", flush=True)
    _check_convertible(read.path, found)
    if run.settings.export.format == "longsafety_17k" and (systems := sum(bool(one.system) for one in found.samples)):
        print(f"  system messages put into the first prompt, as the format has none: {systems}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        TokenStore.build(Path(folder), [], tokenizer(run))
        render = ChatEncoder(tokenizer(run), TokenStore.open(Path(folder)))
        counted = [sample.replace(num_tokens=_length(render, sample)) for sample in found.samples]
        _write(run, counted, render, licence=found.licence, fingerprint=rows_fingerprint(read.path), audit=None)


def export_model(run: Run) -> None:
    """Writes the trained model with its tokenizer and a card, which holds the scores where there are some."""
    settings = run.settings
    kept = run.need("weights", "add train to stages")
    scores = None
    if (run.folder / "scores.parquet").is_file():
        table = pd.read_parquet(run.folder / "scores.parquet")
        whole = table[table["task"] == "all"].round(3)
        scores = whole[["scorer", "metric", "max_tokens", "n", "value", "low", "high"]].to_dict("records")
    done = export_weights(
        settings,
        kept / WEIGHTS,
        Path(str(settings.export.path)),
        facts={
            "mix": read_json(kept / MIX),
            "training": read_json(kept / SUMMARY),
            "scores": scores or None,
            "base_licence": settings.model.licence,
        },
    )
    print(
        f"  weights in {settings.export.path}: {done['parameters']:,} parameters, {done['dtype']}; read again, "
        f"their logits differ by at most {done['max_difference']:.1e}",
        flush=True,
    )


def _check_convertible(path: str, found: PublicSet) -> None:
    if any(sample.answer or sample.choices for sample in found.samples):
        return
    rule = f"{found.schema} holds {found.kind} without answers or options, which no format writes"
    fix = "give it as scenario.seeds instead" if found.requests else "add answers, as chat messages"
    if not found.samples and not found.requests:
        rule, fix = "no row is left to be written", "see the counts above for what was left out"
    raise DataError(f"read.path = {path}: {rule}; {fix}")


def _length(render: ChatEncoder, sample: Sample) -> int:
    measured = sample if render.template.system_role else folded(sample)
    prompt: int = render.prompt_length(*measured.prompt())
    return prompt + (len(render.answer_ids(sample.question, sample.answer)) if sample.answer else 0)


def _write(
    run: Run,
    found: Iterable[Sample],
    render: ChatEncoder,
    *,
    licence: str,
    fingerprint: str,
    audit: dict[str, Any] | None,
) -> None:
    settings, wanted = run.settings, run.settings.export
    assert wanted.format is not None and wanted.path is not None
    kinds: Sequence[str] = wanted.kinds
    if settings.read.path is not None:
        kinds = sorted({sample.kind for sample in found})
    elif wanted.twins:
        kinds = [kind for kind in ITEM_KINDS if kind in {sample.kind for sample in found}]
    made_of = settings.model_dump(include={"scenario", "length", "teacher", "on_bad_row"})
    made_of["model"] = settings.model.name
    used = used_seeds(run) if settings.read.path is None else []
    counts = export(
        found,
        render,
        format=wanted.format,
        folder=Path(wanted.path),
        kinds=kinds,
        facts={
            "corpus_licence": licence,
            "name": settings.scenario.name,
            "seed": settings.scenario.seed,
            "fingerprint": fingerprint,
            "audit": audit,
            "benchmark": "" if settings.read.path is not None else shipped_benchmark(settings),
            "settings": made_of,
            "twins": wanted.twins,
            "seed_rows": seed_rows(used) if used else [],
            "origins": origins(used),
        },
    )
    print(f"  export       {sum(counts.values())} rows as {wanted.format} in {wanted.path}", flush=True)
