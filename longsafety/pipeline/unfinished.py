"""A training that begins anew beside one that was stopped: which setting keeps it from going on is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from longsafety import files
from longsafety.host.locks import is_held
from longsafety.model.checkpoints import FOLDER, written
from longsafety.pipeline.reuse import HARMLESS, arm, differing
from longsafety.settings import Settings

BEGUN = "begun.json"
_MOST = 3
"""Trainings that differ in more settings are other experiments."""


def tell_unfinished(settings: Settings, code: str, folder: Path) -> None:
    """Notes in ``folder``, a training's, what it comes from; says of a stopped one beside it what differs
    (not of one that another process trains).

    ``code``: the version of the code and libraries that the training depends on.
    """
    if (folder / BEGUN).exists():
        return
    mine = json.loads(json.dumps(_origin(settings, code)))
    for other in sorted(folder.parent.glob(f"*.partial/{BEGUN}")):
        steps = [found.step for found in written(other.parent / FOLDER)]
        try:
            its = json.loads(other.read_text("utf-8"))
        except (OSError, ValueError):
            continue  # cut off, or deleted meanwhile: nothing is known of it
        if not isinstance(its, dict):
            continue
        differences = differing(mine, its)
        if steps and 0 < len(differences) <= _MOST and not is_held(other.parent.with_suffix(".lock")):
            print(
                f"longsafety: this training begins anew: the one that was stopped at step {steps[0]} "
                f"({other.parent}) came from other {', '.join(differences)}; give them as they were to go on with it, "
                "or delete its folder",
                file=sys.stderr,
                flush=True,
            )
    files.write_text(folder / BEGUN, json.dumps(mine, indent=1))


def _origin(settings: Settings, code: str) -> dict[str, Any]:
    trainer = settings.trainer.model_dump(exclude={"name", "gpu", "assumed", *HARMLESS["trainer"]})
    return {**arm(settings), "trainer": trainer, "code or libraries": code}
