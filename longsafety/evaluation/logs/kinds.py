"""Which program recorded what lies at a path, and in which files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["official", "inspect", "lm_eval"]
_KINDS: tuple[Kind, ...] = ("lm_eval", "inspect", "official")
_SAMPLES = re.compile(r"samples_(?P<task>.+?)(?:_(?P<when>\d{4}-\d\d-\d\dT[\d.:-]+))?\.jsonl")
_INSPECT = (".eval", ".json")
_RESULTS = "results_"
"""How the file begins that lm-evaluation-harness writes beside its samples."""


NOTHING = (
    "holds no recorded answers that can be read; give a model's folder of the published evaluator (<Task>.jsonl), a "
    "log of inspect_ai (.eval or .json, or their folder), or lm-evaluation-harness's samples_*.jsonl (or their folder)"
)


class Found(NamedTuple):
    """What lies at a path: its files, sorted, and of several of one task the newest."""

    kind: Kind
    files: list[Path]
    older: int
    """Files that a newer one of their task replaces."""


def found_at(path: Path) -> Found | None:
    """What recorded answers lie at a path: a file, a folder, or a folder of one folder of samples; else None."""
    if path.is_file():
        kind = _kind_of(path)
        return Found(kind, [path], 0) if kind is not None and kind != "official" else None
    if not path.is_dir():
        return None
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    for kind in _KINDS:
        if mine := [file for file in files if _kind_of(file) == kind]:
            newest = _newest(mine) if kind == "lm_eval" else mine
            return Found(kind, newest, len(mine) - len(newest))
    below = [found for folder in sorted(path.iterdir()) if folder.is_dir() and (found := found_at_top(folder))]
    return below[0] if len(below) == 1 else None


def found_at_top(folder: Path) -> Found | None:
    """What lies in a folder below the given one, if it is lm-evaluation-harness's (``OUTPUT/MODEL``)."""
    files = sorted(file for file in folder.glob("samples_*.jsonl") if file.is_file())
    return Found("lm_eval", _newest(files), len(files) - len(_newest(files))) if files else None


def lm_eval_task(file: Path) -> str:
    """The task that a file of samples is named by."""
    found = _SAMPLES.fullmatch(file.name)
    return found["task"] if found else file.stem


def _kind_of(file: Path) -> Kind | None:
    if file.suffix.lower() == ".jsonl":
        return "lm_eval" if _SAMPLES.fullmatch(file.name) or _has_resps(file) else "official"
    if file.suffix.lower() in _INSPECT and not file.name.startswith(_RESULTS):
        if file.suffix.lower() == ".eval" or _is_log(file):
            return "inspect"
        start = head(file)
        return "official" if '"choices"' in start and '"response"' in start else None
    return None


def _newest(files: Sequence[Path]) -> list[Path]:
    latest: dict[str, Path] = {}
    for file in sorted(files, key=_time):
        latest[lm_eval_task(file)] = file
    return sorted(latest.values())


def _time(file: Path) -> str:
    found = _SAMPLES.fullmatch(file.name)
    return (found["when"] or "") if found else ""


def _has_resps(file: Path) -> bool:
    start = head(file)
    return '"resps"' in start and '"doc"' in start


def _is_log(file: Path) -> bool:
    start = head(file)
    return all(f'"{key}"' in start for key in ("eval", "version", "status"))


def head(file: Path) -> str:
    """The first 64 KB of a file; empty where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(1 << 16).decode("utf-8", "replace")
    except OSError:
        return ""
