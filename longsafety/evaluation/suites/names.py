"""The names of capability suites. The checks before a run import this module, so it imports nothing heavy."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from longsafety.files import files_hash

IN_CONTEXT = "icl"
"""Our suite of in-context learning."""
HARNESS = "lm_eval:"
"""Prefix of the suites of lm-evaluation-harness."""
TASK_FILES = (".yaml", ".yml")
"""Suffixes of the harness's task files."""


def suite_problems(suites: Sequence[str]) -> list[str]:
    """Why the suites cannot be run, as ``key = value: rule; fix``. The harness is not imported."""
    problems, harness = [], harness_suites(suites)
    for suite in harness:
        name = suite.removeprefix(HARNESS)
        if not suite.startswith(HARNESS) or not name:
            problems.append(f"{suite}: no such suite; give {IN_CONTEXT}, lm_eval:TASK, or lm_eval:FILE.yaml")
        elif name.endswith(TASK_FILES) and not Path(name).expanduser().is_file():
            problems.append(f"{suite}: no such file; give the path of a task file")
    if harness and importlib.util.find_spec("lm_eval") is None:
        rule = "lm-evaluation-harness is not installed; pip install 'longsafety[capability]', or leave it out"
        problems.append(f"[{', '.join(harness)}]: {rule}")
    return [f"evaluation.capability = {problem}" for problem in problems]


def harness_suites(suites: Sequence[str]) -> list[str]:
    """The suites of lm-evaluation-harness."""
    return [suite for suite in suites if suite != IN_CONTEXT]


def absolute_suites(suites: Sequence[str]) -> list[str]:
    """The suites, with task files as absolute paths."""
    return [
        HARNESS + str(Path(suite.removeprefix(HARNESS)).expanduser().resolve()) if suite.endswith(TASK_FILES) else suite
        for suite in suites
    ]


def suites_fingerprint(suites: Sequence[str]) -> str:
    """Hash of the task files and the files beside them. The harness is not imported."""
    digest = hashlib.sha256()
    for folder in task_folders(suites):
        digest.update(files_hash(sorted(path for path in folder.iterdir() if path.is_file()), folder).encode())
    return digest.hexdigest()[:16]


def task_folders(suites: Sequence[str]) -> list[Path]:
    """The folders of the task files."""
    names = [suite.removeprefix(HARNESS) for suite in suites]
    return list(dict.fromkeys(Path(name).expanduser().resolve().parent for name in names if name.endswith(TASK_FILES)))
