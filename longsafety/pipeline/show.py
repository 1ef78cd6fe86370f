"""Shows what was built: the audit's tables and the gallery page."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from longsafety.pipeline.audit import audit
from longsafety.pipeline.corpus import encoder, facts
from longsafety.pipeline.record import shipped_benchmark
from longsafety.pipeline.run import TABLE, Run
from longsafety.pipeline.samples import SAMPLES, benchmark, samples, splits, told, used_seeds
from longsafety.pipeline.seeds import SEEDS, seeds
from longsafety.reporting.audit_view import audit_tables, save_figures
from longsafety.reporting.gallery import Entry, Twin, write_gallery
from longsafety.reporting.seed_view import seed_table
from longsafety.reporting.terminal import write_tables
from longsafety.samples.licence import restriction
from longsafety.samples.recipe import Sample, SampleFile, is_made, render_context
from longsafety.samples.store import TokenStore
from longsafety.scenarios.seeds.seed import read_seeds
from longsafety.scenarios.seeds.shipped import SHIPPED
from longsafety.scenarios.tasks.registry import tasks
from longsafety.scenarios.tasks.task import Task
from longsafety.vocabulary import BENIGN_TWINS, UNSAFE_ROLES

GALLERY = "gallery.html"
_EXCERPT = 240


def show(run: Run) -> None:
    """Writes the audit's tables and the gallery into the run's folder."""
    found, used = audit(run), used_seeds(run)
    lines = [f"{reason}: {count}" for reason, count in (facts(run)["counts"] | told(run)).items()]
    lines += [f"licence {licence}: {asks}" for licence in found.licences if (asks := restriction(licence))]
    tables = [*audit_tables(found), *([seed_table(used)] if used else [])]
    write_tables(run.folder / TABLE, *tables, *lines)
    write_gallery(
        run.folder / GALLERY,
        entries=_entries(run),
        audit=found,
        figures=save_figures(found, run.folder),
        redact=run.settings.report.redact,
        benchmark=shipped_benchmark(run.settings),
        used=used,
    )


def _entries(run: Run) -> list[Entry]:
    """An item of each task with its twins: a benchmark item where there is one, because it has options."""
    known = tasks(run.settings.scenario.task_files)
    counts: dict[str, Counter[str]] = {"train": Counter(), "bench": Counter()}
    found: dict[str, list[Sample]] = {}
    there = splits(run)
    for split, stage in (("bench", benchmark), ("train", samples)):
        if not there[split]:
            continue
        file = SampleFile(stage(run) / SAMPLES)
        named, pairs = file.column("task"), file.column("pair_id")
        counts[split].update(task for task, kind in zip(named, file.column("kind"), strict=True) if kind == "harmful")
        first = {task: index for index, task in reversed(list(enumerate(named))) if task not in found}
        for task, index in first.items():
            found[task] = file.rows(at for at in range(index, min(index + 4, len(pairs))) if pairs[at] == pairs[index])
    own = run.settings.scenario.seeds != SHIPPED
    origins = {seed.id: seed.origin for seed in read_seeds(seeds(run) / SEEDS)} if own else {}
    return [
        replace(
            _entry(known[name], found[name], {split: counts[split][name] for split in counts}, encoder(run).store),
            origin=origins.get(found[name][0].seed_id, ""),
        )
        for name in run.settings.scenario.tasks
        if name in found
    ]


def _entry(task: Task, shown: list[Sample], counts: dict[str, int], store: TokenStore) -> Entry:
    item, twin = shown[0], next((sample for sample in shown if sample.kind in BENIGN_TWINS), None)
    options = [(role, wordings[0]) for role, wordings in zip(item.roles, item.choices, strict=True)]
    documented = " ".join((type(task).__doc__ or "").replace("``", "").split())
    paper, _, design = documented.partition("Our design: ")
    first = item.needles[0] if item.needles else None
    if first is None:
        text = render_context(item.context, store)
        excerpt = (_whole_words(text[:_EXCERPT]), _whole_words(text[-_EXCERPT:]))
    else:
        before, after = (render_context(part, store) for part in (item.context[:first], item.context[first + 1 :]))
        excerpt = (_whole_words(before[-_EXCERPT:]), _whole_words(after[:_EXCERPT]))
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
        unsafe_answer=next((text for role, text in reversed(options) if role in UNSAFE_ROLES), ""),
        needle_texts=item.needle_texts,
        context_excerpt=excerpt,
        bar=_bar(item, store),
        options=options,
        right=item.right,
        twin=None if twin is None else Twin(twin.kind, twin.question, twin.answer, twin.right, twin.needle_texts),
    )


def _whole_words(text: str) -> str:
    """Without the halves of words at both ends, where there are spaces."""
    return text.partition(" ")[2].rpartition(" ")[0] or text


def _bar(item: Sample, store: TokenStore) -> list[tuple[str, float]]:
    """The context's parts with their share of its characters: documents, harmful texts, needles, in stretches."""
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
