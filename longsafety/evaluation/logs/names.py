"""What recorded answers call themselves: the arm of an own run, or the model that a log names."""

from __future__ import annotations

import json
from pathlib import Path

from longsafety.evaluation.logs.inspect import model_of
from longsafety.evaluation.logs.kinds import found_at


def own_name(path: Path) -> str:
    """The name in what lies at a path; empty where it says none.

    The folder ``official`` of an own run has its arm's label, since every such folder has the same name; a log of
    inspect_ai its model's; a file of samples its folder's, which lm-evaluation-harness names by the model.
    """
    if path.name == "official" and (record := path.parent / "record.json").is_file():
        return _text(record, "label")
    found = found_at(path)
    if found is None or found.kind == "official":
        return ""
    if found.kind == "lm_eval":
        return found.files[0].parent.name
    models = {model_of(file) for file in found.files}
    return models.pop() if len(models) == 1 else ""


def _text(file: Path, key: str) -> str:
    try:
        value = json.loads(file.read_text("utf-8")).get(key)
    except (OSError, ValueError, AttributeError):
        return ""
    return value if isinstance(value, str) else ""
