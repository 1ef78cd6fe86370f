"""Standard suites, run by lm-evaluation-harness where it is installed: does safety training cost capability?

A suite is ``icl`` (ours: :mod:`longsafety.evaluation.suites.in_context`), ``lm_eval:NAME`` (a task or group of the
harness) or ``lm_eval:FILE.yaml`` (a task file; files beside it may belong to it). Prompts are the suite's own, without
the chat template, as for the published numbers.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longsafety.errors import DataError, first_line
from longsafety.evaluation.suites.names import HARNESS, TASK_FILES, task_folders

COLUMNS = ["suite", "task", "metric", "value", "stderr", "n"]
_TASK = re.compile(r"^(?:task|group):[ \t]*['\"]?([\w.-]+)", re.MULTILINE)


def measure_harness(
    network: Any, tokenizer: Any, suites: Sequence[str], *, limit: int | None, batch_size: int, window: int, seed: int
) -> list[dict[str, Any]]:
    """The suites' scores: one row (``COLUMNS``) for each task or group and metric, with the harness's standard error.

    ``limit``: maximum questions per task. Raises ``DataError`` for a task that the harness does not know, and for data
    that it cannot read.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns about every model object
    manager = TaskManager(include_path=[str(folder) for folder in task_folders(suites)] or None)
    names = {suite: _task_name(suite) for suite in suites}
    for suite, name in names.items():
        if name not in manager.all_tasks:
            raise DataError(
                f"evaluation.capability = {suite}: lm-evaluation-harness knows no task {name}; `lm_eval ls tasks` "
                "lists them"
            )
    model = HFLM(pretrained=network, tokenizer=tokenizer, backend="causal", batch_size=batch_size, max_length=window)
    rows: list[dict[str, Any]] = []
    for suite, name in names.items():
        try:
            found = simple_evaluate(
                model,
                tasks=[name],
                limit=limit,
                log_samples=False,
                task_manager=manager,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
        except (OSError, ValueError, KeyError) as error:  # raised for data sets that cannot be loaded
            raise DataError(
                f"evaluation.capability = {suite}: lm-evaluation-harness could not run it ({first_line(error)}); make "
                "its data available, or leave it out"
            ) from error
        rows += _rows(suite, found)
    return rows


def _task_name(suite: str) -> str:
    name = suite.removeprefix(HARNESS)
    if not name.endswith(TASK_FILES):
        return name
    found = _TASK.search(Path(name).expanduser().read_text("utf-8"))
    if not found:
        raise DataError(f"{name}:1: no task file of lm-evaluation-harness (no line `task: NAME`); give one")
    return found[1]


def _rows(suite: str, found: Any) -> list[dict[str, Any]]:
    """Rows from the harness's ``metric,filter`` and ``metric_stderr,filter`` entries."""
    rows = []
    for task, values in found["results"].items():
        for key, value in values.items():
            metric, _, kept = key.partition(",")
            if not kept or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            stderr = values.get(f"{metric}_stderr,{kept}")
            rows.append({
                "suite": suite,
                "task": task,
                "metric": metric if kept == "none" else f"{metric} ({kept})",
                "value": float(value),
                # the harness writes 0 where all answers are alike: not known from these
                "stderr": float(stderr) if isinstance(stderr, int | float) and stderr > 0 else math.nan,
                "n": int(found.get("n-samples", {}).get(task, {}).get("effective", 0)),
            })  # fmt: skip
    return rows
