"""Evaluates a model on items: collects the answer of every trial, and keeps each one at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from longsafety.evaluation.answers import ANSWERS, write_answers
from longsafety.evaluation.asking.answer import answer_row
from longsafety.evaluation.asking.backend import Backend
from longsafety.evaluation.asking.journal import JOURNAL, append_rows, read_journals
from longsafety.evaluation.asking.trials import Trial, pair_batches, trials_of
from longsafety.evaluation.asking.truncation import UNKNOWN, Cut
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.settings import Evaluation


def collect_answers(
    items: Sequence[Sample],
    backend: Backend,
    encoder: ChatEncoder,
    evaluation: Evaluation,
    *,
    max_tokens: int,
    folder: Path,
    progress: Callable[[], None],
    cuts: Mapping[str, Cut] | None = None,
) -> None:
    """Appends answers to the journal in ``folder``, a line each, and at the end writes ``answers.parquet``.

    ``progress`` is called once an item. ``cuts``: item id → what the item lost to fit. Where a killed run left a
    journal, only the missing answers are collected.
    """
    answered = read_journals(folder)
    trials = [trial for item in items for trial in trials_of(item, evaluation)]
    left = Counter(trial.item.id for trial in trials if trial.key not in answered)
    for _ in range(len(items) - len(left)):
        progress()
    # Batches are formed before what is answered is taken out, so that a pass holds the same items after a restart.
    batches = (
        [trial for trial in batch if trial.key not in answered]
        for batch in pair_batches(trials, evaluation.batch_tokens)
    )
    for trial, row in journaled_answers(
        batches, backend, encoder, evaluation, max_tokens=max_tokens, journal=folder / JOURNAL, cuts=cuts or {}
    ):
        answered[trial.key] = row
        left[trial.item.id] -= 1
        if not left[trial.item.id]:
            progress()
    write_answers([answered[trial.key] for trial in trials], folder / ANSWERS)


def journaled_answers(
    batches: Iterable[Sequence[Trial]],
    backend: Backend,
    encoder: ChatEncoder,
    evaluation: Evaluation,
    *,
    max_tokens: int,
    journal: Path,
    cuts: Mapping[str, Cut],
) -> Iterator[tuple[Trial, dict[str, Any]]]:
    """Yields each trial with its row once the row is in ``journal``. Rows from one pass are appended together: after a
    kill the journal holds whole passes, so a resumed run is bit-identical."""
    with journal.open("a", encoding="utf-8") as file:
        for group in backend.answers((batch for batch in batches if batch), encoder, evaluation):
            rows = [
                (trial, answer_row(trial, answer, cuts.get(trial.item.id, UNKNOWN), max_tokens))
                for trial, answer in group
            ]
            append_rows(file, *(row for _, row in rows))
            yield from rows
