"""Kept weights that the user adopts by hand (``reuse.weights``), where their address has moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from longsafety.errors import ConfigError, first_line
from longsafety.settings import Settings

ARM = "arm.json"
"""In a folder of trained weights: the settings that they came from."""


HARMLESS = {
    "model": {"licence", "gradient_checkpointing"},
    "training": {"checkpoint_every_steps"},
    "trainer": {"num_threads", "offload_activations"},
}
"""Settings that change how a training is computed and kept, and not what comes of it: a training that was stopped goes
on under another value."""


def arm(settings: Settings) -> dict[str, Any]:
    """What has to agree before weights of an earlier training stand for this arm's: mix, model, recipe, length, seed.

    Code, libraries and hardware are left out: that they may differ is what adopting is for.
    """
    return {
        "data_mix": settings.data_mix.model_dump(exclude={"name"}),
        "scenario": settings.scenario.model_dump(exclude={"name", "bench_items"}),
        "model": settings.model.model_dump(exclude={"name", "assumed", "num_parameters", *HARMLESS["model"]}),
        "training": settings.training.model_dump(exclude=HARMLESS["training"]),
        "length": {"tokens": settings.length.training_tokens, "rope": settings.length.rope.model_dump()},
        "seed": settings.seed,
    }


def adopted(settings: Settings) -> Path | None:
    """The folder whose weights this arm takes; None where ``reuse.weights`` is not set or the arm is not trained.

    ``reuse.weights`` names one folder of trained weights, or a folder of such folders, of which the one with the arm's
    settings is taken. Raises ConfigError where none has them, with what differs.
    """
    place = settings.reuse.weights
    if place is None or not settings.data_mix.sources:
        return None
    root = Path(place)
    candidates = [root] if (root / ARM).is_file() else sorted(path.parent for path in root.glob(f"*/{ARM}"))
    wanted = arm(settings)
    differences: list[str] = []
    for folder in candidates:
        differences = _differences(wanted, folder / ARM)
        if not differences:
            return folder
    rule = "holds no trained weights (folders with arm.json)"
    if len(candidates) == 1:
        rule = f"its weights differ in {', '.join(differences)}"
    elif candidates:
        rule = f"none of its {len(candidates)} trainings has the settings of {settings.label or settings.data_mix.name}"
    raise ConfigError([f"reuse.weights = {place}: {rule}; give another folder, or leave it out to train"])


def _differences(wanted: dict[str, Any], file: Path) -> list[str]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return [f"{file}, which cannot be read ({first_line(error)})"]
    return differing(wanted, found) if isinstance(found, dict) else [f"{file}, which is no JSON object"]


def differing(one: Any, other: Any, key: str = "") -> list[str]:
    """The dotted keys whose values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [*one, *(name for name in other if name not in one)]
        found = [differing(one.get(name), other.get(name), f"{key}.{name}" if key else str(name)) for name in names]
        return [line for lines in found for line in lines]
    return [] if one == other else [f"{key} ({other}, not {one})"]
