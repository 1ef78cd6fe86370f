"""The names of runs and of their lengths, the same in the report, the terminal and MLflow."""

from __future__ import annotations

from collections.abc import Sequence

from longsafety.reporting.record import RunRecord
from longsafety.settings import Length, arm_of


def length_name(length: Length) -> str:
    """The benchmark items' own length: ``512``, or ``up to 512`` if the items have several lengths."""
    targets, name = length.bench_lengths, f"{length.bench_tokens:,}"
    return f"up to {name}" if targets.in_turn or targets.mean is not None else name


def arm_name(record: RunRecord) -> str:
    """What trainings that differ only in their seed have in common."""
    return arm_of(record.label) or record.name


def run_name(record: RunRecord) -> str:
    """The arm and its items' length: ``base at 512``. Answers recorded elsewhere have no known length."""
    settings, label = record.resolved(), record.label or record.name
    return label if settings.rescores else f"{label} at {length_name(settings.length)}"


def short_names(records: Sequence[RunRecord]) -> list[str]:
    """A different name for each run: the arm, and the length too if any arm has several."""
    labels = [record.label for record in records]
    several = len(set(labels)) < len(labels)
    return [run_name(record) if several else record.label or record.name for record in records]


def one_record_per_arm(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The first record of each arm, which may have been evaluated at several lengths, or trained several times."""
    return list({arm_name(record): record for record in reversed(records)}.values())[::-1]


def trainings(records: Sequence[RunRecord]) -> dict[str, int]:
    """Trained arm → how often it was trained."""
    weights: dict[str, set[str]] = {}
    for record in records:
        if record.training:
            weights.setdefault(arm_name(record), set()).add(record.stages.get("weights", record.key))
    return {arm: len(found) for arm, found in weights.items()}
