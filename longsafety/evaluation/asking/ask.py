"""Evaluates a model on items: collects the answer of every trial, and keeps each one at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from longsafety.errors import DataError
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
) -> int:
    """Appends answers to the journal in ``folder``, a line each, and at the end writes ``answers.parquet``.

    Returns how many answers failed. ``progress`` is called once an item. ``cuts``: item id → what the item lost to fit.
    Where a killed run left a journal, only the missing answers are collected. An answer that failed is missing; it is
    asked for after the others, so that a server that fails on a few items stops no run twice at the same place.

    Raises DataError where every answer failed, and whatever the backend raises.
    """
    kept = read_journals(folder)
    answered = {key: row for key, row in kept.items() if row.get("outcome") != "failed"}
    trials = [trial for item in items for trial in trials_of(item, evaluation)]
    left = Counter(trial.item.id for trial in trials if trial.key not in answered)
    for _ in range(len(items) - len(left)):
        progress()
    # Batches are formed before what is answered is taken out, so that a pass holds the same items after a restart.
    batches = (
        [trial for trial in batch if trial.key not in answered and (trial.key in kept) == again]
        for again in (False, True)
        for batch in pair_batches(trials, evaluation.batch_tokens)
    )
    for trial, row in journaled_answers(
        batches, backend, encoder, evaluation, max_tokens=max_tokens, journal=folder / JOURNAL, cuts=cuts or {}
    ):
        answered[trial.key] = row
        left[trial.item.id] -= 1
        if not left[trial.item.id]:
            progress()
    _refuse_all_failed(list(answered.values()))
    write_answers([answered[trial.key] for trial in trials], folder / ANSWERS)
    return sum(answered[trial.key].get("outcome") == "failed" for trial in trials)


def _refuse_all_failed(rows: Sequence[Mapping[str, Any]]) -> None:
    reasons = Counter(str(row["reason"]) for row in rows if row.get("outcome") == "failed")
    if rows and reasons.total() == len(rows):
        (most, count), *_ = reasons.most_common(1)
        raise DataError(
            f"evaluation.server: none of {len(rows)} requests was answered: {most} ({count} times); mend that, and "
            "give the same command again"
        )


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
