"""Writes samples as a folder in a public format, with its dataset card, whole or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from longsafety.errors import DataError
from longsafety.files import closed_above, is_empty, user_path, whole_folder
from longsafety.formats.card import Summary, render_card
from longsafety.formats.layouts import FORMATS, Format, with_twins
from longsafety.formats.row_files import Write, row_file
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, render_context
from longsafety.samples.store import TokenStore
from longsafety.vocabulary import LETTERS

_SPLIT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def export(
    samples: Iterable[Sample],
    encoder: ChatEncoder,
    *,
    format: str,
    folder: Path,
    kinds: Sequence[str],
    facts: Mapping[str, Any],
) -> dict[str, int]:
    """Writes the samples of ``kinds`` into ``folder`` and returns the number of rows by split.

    ``facts``: ``corpus_licence``, ``name``, ``seed``, ``fingerprint``, ``audit`` (figures, or None), ``benchmark`` (the
    shipped one's name, where it is) and ``settings`` (those that made the samples, shown as YAML). The samples are read
    twice (first checked and counted, then written, with one rendered context in memory at a time), so an iterator is
    kept as a list of recipes.

    Raises ``DataError``, before anything is written, for a folder that is not empty, for a kind without a sample, and
    for a sample without the answer or choices that the format needs.
    """
    if format not in FORMATS:
        raise DataError(f"export.format = {format!r}: must be one of {', '.join(FORMATS)}")
    form, folder = FORMATS[format], user_path(folder).resolve()
    if facts.get("twins"):
        form = with_twins(form)
    if problem := folder_problem(folder, format):
        raise DataError(problem)
    recipes = list(samples) if isinstance(samples, Iterator) else samples
    summary = _checked(recipes, encoder.store, form, format, kinds, facts["corpus_licence"])
    companions = form.companions(summary.kinds, facts["name"])
    with whole_folder(folder) as partial:
        _write_rows(recipes, encoder.store, form, kinds, partial, facts["seed"])
        for name, text in (companions | {"README.md": render_card(summary, form, facts)}).items():
            (partial / name).write_text(text, "utf-8")
    return dict(summary.splits)


def folder_problem(folder: Path, format: str) -> str:
    """Why a format cannot be written into a folder, as ``export.path = …: rule; fix``; empty if it can (cheap)."""
    if closed := closed_above(folder):
        return f"export.path = {folder}: {closed}; give a new or empty folder that you can write to"
    if folder.is_dir() and not is_empty(folder):
        return f"export.path = {folder}: is not empty; give a new or empty folder"
    if format in FORMATS and f"{folder.name}.py" in FORMATS[format].companions({}, ""):  # taken for a loading script
        return (
            f"export.path = {folder}: datasets.load_dataset refuses a folder that holds {folder.name}.py; "
            "give the folder another name"
        )
    return ""


def _checked(
    samples: Iterable[Sample], store: TokenStore, form: Format, format: str, kinds: Sequence[str], corpus_licence: str
) -> Summary:
    """Checks and counts every sample of the kinds that are written, without rendering any."""
    summary = Summary(corpus_licence, form.rejected)
    seen: dict[str, int] = {}
    for sample in samples:
        seen[sample.kind] = seen.get(sample.kind, 0) + 1
        if sample.kind not in kinds:
            continue
        where = f"export.format = {format}: sample {sample.id} ({sample.task}, {sample.kind})"
        if form.in_turns and not sample.answer:
            raise DataError(f"{where} has no answer; leave its kind out of export.kinds, or give answers")
        if form.needs == "pair" and not sample.rejected:
            raise DataError(
                f"{where} has no rejected answer; leave its kind out of export.kinds, or export it as messages"
            )
        if form.needs == "choices" and (len(sample.choices) < 2 or not all(sample.choices)):
            raise DataError(f"{where} has no choices; leave its kind out of export.kinds, or export it as messages")
        if form.needs == "choices" and len(sample.choices) > len(LETTERS):
            raise DataError(f"{where} has {len(sample.choices)} choices; at most {len(LETTERS)} can be shown")
        split = form.split(sample)
        if not _SPLIT.fullmatch(split):
            raise DataError(
                f"{where}: {split!r} names its file and split; rename the task with letters, digits and underscores"
            )
        summary.add(sample, split, store)
    missing = [kind for kind in kinds if kind not in seen]
    if missing or not kinds:
        rule = f"no sample is {' or '.join(missing)}" if missing else "name at least one"
        there = ", ".join(f"{kind} ({count})" for kind, count in seen.items()) or "no samples at all"
        raise DataError(f"export.kinds = {list(kinds)}: {rule}; there are: {there}")
    return summary


def _write_rows(
    samples: Iterable[Sample], store: TokenStore, form: Format, kinds: Sequence[str], folder: Path, seed: int
) -> None:
    with ExitStack() as stack:
        files: dict[str, Write] = {}
        written: Counter[str] = Counter()
        for sample in samples:
            if sample.kind not in kinds:
                continue
            split = form.split(sample)
            if split not in files:
                files[split] = stack.enter_context(row_file(folder / form.file(split), form.container))
            files[split](form.row(sample, render_context(sample.context, store), seed, written[split]))
            written[split] += 1
