"""What a training leaves in its folder: the names of its files, their rows, the network. Needs no Lightning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from longsafety.model.kernels import loaded_attention
from longsafety.model.load import load_model, read_network
from longsafety.settings import Model, Rope

WEIGHTS, HISTORY, CURVE, SUMMARY = "weights", "history.jsonl", "curve.jsonl", "training.json"
Row = dict[str, float]


def read_rows(path: Path) -> list[Row]:
    """The complete lines of a history or a curve; a last line that was cut off is ignored. Empty without a file."""
    text = path.read_text("utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n") if line]


def load_trained(model: Model, weights: Path, cache: Path, *, seed: int, rope: Rope | None = None) -> Any:
    """The network of a trained arm, adapters merged, in evaluation mode."""
    if model.tune == "full":
        return read_network(weights, loaded_attention(model.attention))
    from peft import PeftModel

    base: Any = load_model(model, cache, seed=seed, rope=rope)
    network: Any = PeftModel.from_pretrained(base, str(weights)).merge_and_unload()
    return network.eval()
