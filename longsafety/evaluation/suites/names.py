"""The names of capability suites; no torch."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from longsafety.files import files_hash

IN_CONTEXT = "icl"


_PREFIX = "lm_eval:"


_FILES = (".yaml", ".yml")


def suite_problems(suites: Sequence[str]) -> list[str]:
    """Why they cannot be asked, as ``key = value: rule; fix`` (cheap: the harness is not imported)."""
    problems, harness = [], harness_suites(suites)
    for suite in harness:
        name = suite.removeprefix(_PREFIX)
        if not suite.startswith(_PREFIX) or not name:
            problems.append(f"{suite}: no such suite; give {IN_CONTEXT}, lm_eval:TASK, or lm_eval:FILE.yaml")
        elif name.endswith(_FILES) and not Path(name).expanduser().is_file():
            problems.append(f"{suite}: no such file; give the path of a task file")
    if harness and importlib.util.find_spec("lm_eval") is None:
        rule = "lm-evaluation-harness is not installed; pip install 'longsafety[capability]', or leave it out"
        problems.append(f"[{', '.join(harness)}]: {rule}")
    return [f"evaluation.capability = {problem}" for problem in problems]


def harness_suites(suites: Sequence[str]) -> list[str]:
    """Those that are not ours."""
    return [suite for suite in suites if suite != IN_CONTEXT]


def absolute_suites(suites: Sequence[str]) -> list[str]:
    """With the absolute paths of task files."""
    return [
        _PREFIX + str(Path(suite.removeprefix(_PREFIX)).expanduser().resolve()) if suite.endswith(_FILES) else suite
        for suite in suites
    ]


def suites_fingerprint(suites: Sequence[str]) -> str:
    """Changes with task files and what lies beside them (cheap: the harness is not imported)."""
    digest = hashlib.sha256()
    for folder in _folders(suites):
        digest.update(files_hash(sorted(path for path in folder.iterdir() if path.is_file()), folder).encode())
    return digest.hexdigest()[:16]


def _folders(suites: Sequence[str]) -> list[Path]:
    names = [suite.removeprefix(_PREFIX) for suite in suites]
    return list(dict.fromkeys(Path(name).expanduser().resolve().parent for name in names if name.endswith(_FILES)))
