"""Shows what was built (audit, gallery), and writes it in public formats."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from longsafety.errors import DataError
from longsafety.pipeline.data import AUDIT, SAMPLES, Making
from longsafety.pipeline.launch import TABLE
from longsafety.settings import Settings

GALLERY = "gallery.html"
_BENCH_FORMATS = ("longsafety_bench", "lm_eval", "inspect")


def show(data: Making, folder: Path) -> None:
    """Writes the audit's tables and the gallery into the run's folder."""
    from rich.console import Console

    from longsafety.reporting.audit_view import audit_tables, save_figures
    from longsafety.reporting.gallery import write_gallery
    from longsafety.scenarios.audit.audit import Audit

    audit = Audit.load(data.audit() / AUDIT)
    with (folder / TABLE).open("w", encoding="utf-8") as file:
        console = Console(file=file, width=120)
        for table in audit_tables(audit):
            console.print(table)
        for reason, count in data.facts["counts"].items():
            console.print(f"{reason}: {count}", highlight=False, markup=False)
    write_gallery(
        folder / GALLERY,
        entries=_entries(data),
        audit=audit,
        figures=save_figures(audit, folder),
        redact=data.settings.report.redact,
    )


def _entries(data: Making) -> list[Any]:
    """An item of each task with its twins: a benchmark item where there is one, as it has the options."""
    from longsafety.samples.recipe import SampleFile
    from longsafety.scenarios.build import TASKS, task_counts

    counts = {split: task_counts(data.settings.scenario, split) for split in ("train", "bench")}
    found: dict[str, list[Any]] = {}
    for split, folder in (("bench", data.benchmark), ("train", data.samples)):
        if not counts[split]:
            continue
        file = SampleFile(folder() / SAMPLES)
        tasks, pairs = file.column("task"), file.column("pair_id")
        first = {task: index for index, task in reversed(list(enumerate(tasks))) if task not in found}
        for task, index in first.items():
            found[task] = file.rows(at for at in range(index, min(index + 4, len(pairs))) if pairs[at] == pairs[index])
    return [
        _entry(TASKS[name], found[name], {split: counts[split].get(name, 0) for split in counts}, data.encoder.store)
        for name in data.settings.scenario.tasks
        if name in found
    ]


def _entry(task: Any, samples: list[Any], counts: dict[str, int], store: Any) -> Any:
    from longsafety.reporting.gallery import Entry
    from longsafety.samples.recipe import render_context

    item, twins = samples[0], samples[1:]
    documented = " ".join((type(task).__doc__ or "").replace("``", "").split())
    paper, _, design = documented.partition("Our design: ")
    first = item.needles[0] if item.needles else None
    if first is None:
        text = render_context(item.context, store)
        excerpt = (_words(text[:240]), _words(text[-240:]))
    else:
        before, after = (render_context(part, store) for part in (item.context[:first], item.context[first + 1 :]))
        excerpt = (_words(before[-240:]), _words(after[:240]))
    return Entry(
        task=item.task,
        scenario=item.scenario,
        category=item.category,
        paper=paper.strip(),
        design=design[:1].upper() + design[1:],
        counts=counts,
        language=item.language,
        question=item.question,
        safe_answer=item.answer,
        unsafe_answer=item.choices[item.roles.index(item.comply_role)][0],
        needle_texts=[str(item.context[at]) for at in item.needles],
        context_excerpt=excerpt,
        bar=_bar(item, store),
        options=[(role, wordings[0]) for role, wordings in zip(item.roles, item.choices, strict=True)],
        benign=[(twin.kind, twin.question, twin.answer) for twin in twins if twin.kind.startswith("benign")],
    )


def _words(text: str) -> str:
    """Without the halves of words at both ends, where there are spaces."""
    return text.partition(" ")[2].rpartition(" ")[0] or text


def _bar(item: Any, store: Any) -> list[tuple[str, float]]:
    """The context's parts with their share of its characters: documents, harmful texts, needles, in stretches."""
    from longsafety.samples.recipe import is_made, render_context

    parts: list[tuple[str, int]] = []
    for at, part in enumerate(item.context):
        if isinstance(part, str) and at not in item.needles:
            continue  # headers and blank lines
        kind = "needle" if isinstance(part, str) else "harmful" if is_made(store.ids[part.document]) else "document"
        size = len(render_context((part,), store))
        if parts and parts[-1][0] == kind != "needle":
            size += parts.pop()[1]
        parts.append((kind, size))
    total = sum(size for _, size in parts)
    return [(kind, size / total) for kind, size in parts]


def export_built(data: Making) -> None:
    """Writes the samples, or the benchmark's items, in the format that is asked for."""
    from longsafety.samples.recipe import SampleFile

    settings = data.settings
    bench = settings.export.format in _BENCH_FORMATS
    folder = data.benchmark() if bench else data.samples()
    audit = data.store.folder("audit", data.keys.audit) / AUDIT
    figures = None
    if audit.is_file():
        from longsafety.scenarios.audit.audit import Audit

        figures = _figures(Audit.load(audit))
    _write(
        settings,
        SampleFile(folder / SAMPLES),
        data.encoder,
        licence=data.facts["licence"],
        fingerprint=data.keys.benchmark if bench else data.keys.samples,
        audit=figures,
    )


def _figures(audit: Any) -> dict[str, Any]:
    """The audit in a card: what fits on a page."""
    from longsafety.reporting.audit_view import check_rows

    return {name: f"{value} ({note})" if note else value for name, value, note in check_rows(audit)}


def convert(settings: Settings, tokenizer: Any) -> None:
    """Reads a public file and writes it in another format."""
    from longsafety.formats.public import read_public
    from longsafety.formats.rows import rows_fingerprint
    from longsafety.samples.encode import ChatEncoder
    from longsafety.samples.store import TokenStore

    read = settings.read
    assert read.path is not None
    found = read_public(
        read.path, schema=read.format, on_bad_row=settings.on_bad_row, split=read.split, docs=read.documents
    )
    for line in found.bad:
        print(f"  left out   {line}", flush=True)
    for reason, count in found.counts.items():
        print(f"  {reason}: {count}", flush=True)
    if not any(sample.answer or sample.choices for sample in found.samples):
        rule = f"{found.schema} holds {found.kind} without answers or options, which no format writes"
        fix = "give it as scenario.seeds instead" if found.requests else "add answers, as chat messages"
        if not found.samples and not found.requests:
            rule, fix = "no row is left to be written", "see the counts above for what was left out"
        raise DataError(f"read.path = {read.path}: {rule}; {fix}")
    with tempfile.TemporaryDirectory() as folder:
        TokenStore.build(Path(folder), [], tokenizer)
        encoder = ChatEncoder(tokenizer, TokenStore.open(Path(folder)))
        counted = [sample.replace(num_tokens=_length(encoder, sample)) for sample in found.samples]
        _write(settings, counted, encoder, licence=found.licence, fingerprint=rows_fingerprint(read.path), audit=None)


def _length(encoder: Any, sample: Any) -> int:
    prompt: int = encoder.prompt_length(*sample.prompt())
    return prompt + (len(encoder.answer_ids(sample.question, sample.answer)) if sample.answer else 0)


def _write(
    settings: Settings, samples: Iterable[Any], encoder: Any, *, licence: str, fingerprint: str, audit: Any
) -> None:
    from longsafety.formats.export import export

    wanted = settings.export
    assert wanted.format is not None and wanted.path is not None
    kinds = wanted.kinds
    if settings.read.path is not None:
        kinds = sorted({sample.kind for sample in samples})
    made_of = settings.model_dump(include={"seed", "scenario", "length", "teacher", "on_bad_row"})
    made_of["model"] = settings.model.name
    counts = export(
        samples,
        encoder,
        format=wanted.format,
        folder=Path(wanted.path),
        kinds=kinds,
        facts={
            "corpus_licence": licence,
            "name": settings.scenario.name,
            "seed": settings.seed,
            "fingerprint": fingerprint,
            "audit": audit,
            "settings": made_of,
        },
    )
    print(f"  export       {sum(counts.values())} rows as {wanted.format} in {wanted.path}", flush=True)
