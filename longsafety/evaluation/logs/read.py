"""Recorded answers of any program that we read, as rows of our table of answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from longsafety.errors import DataError
from longsafety.evaluation.logs.inspect import inspect_answers
from longsafety.evaluation.logs.kinds import NOTHING, found_at
from longsafety.evaluation.logs.lm_eval import lm_eval_answers
from longsafety.evaluation.logs.logged import answer_rows
from longsafety.evaluation.official.read import Recorded, bad_rows, read_official

_READERS = {"inspect": inspect_answers, "lm_eval": lm_eval_answers}


def read_recorded(
    path: Path,
    *,
    scoring: Literal["fixed", "official"],
    known: Mapping[str, Sequence[str]] | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
) -> Recorded:
    """The answers at a path: of the published evaluator, of inspect_ai, or of lm-evaluation-harness.

    Raises DataError: nothing is there that can be read, or a bad row (with ``on_bad_row="skip"`` left out).
    """
    found = found_at(path)
    if found is None:
        raise DataError(f"{path}: {NOTHING}")
    if found.kind == "official":
        return read_official(path, scoring=scoring, known=known, on_bad_row=on_bad_row, files=found.files)
    counts: Counter[str] = Counter()
    bad: list[str] = []
    rows = answer_rows(_READERS[found.kind](found.files, counts, bad), scoring=scoring, counts=counts)
    bad_rows(bad, len(rows), on_bad_row)
    if not rows:
        raise DataError(f"{path}: its files hold no sample; give a log with samples")
    said = Counter({"answers": len(rows)}) + counts
    if bad:
        said["bad rows left out"] = len(bad)
    if found.older:
        said["files of a task of which there is a newer one, left out"] = found.older
    return Recorded(rows, dict(said), bad)
