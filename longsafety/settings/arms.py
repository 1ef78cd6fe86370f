"""The arms of a sweep: which swept settings only train, and which arm each arm is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longsafety.settings.run import Settings, arm_of

LENGTH_KEYS = ("length", "length.max_tokens", "length.factor")
"""Swept keys that make no other arm: the same model is evaluated at another length."""
_TRAIN = ("training", "data_mix", "further", "seed", "reuse", "length.train_tokens")
_TRAIN_DATA = ("scenario.leave_out", "scenario.train_seeds", "scenario.train_samples")


def only_trains(key: str) -> bool:
    """Whether a swept key changes the training alone: an untrained arm is the same under all of its values."""
    return key in _TRAIN_DATA or any(key == part or key.startswith(f"{part}.") for part in _TRAIN)


def mix_of(settings: Settings) -> str:
    """What an arm is first named by: its mix, or the folder of recorded answers."""
    return settings.label.split(" ", 1)[0] or settings.data_mix.name


def factors(settings: Settings) -> dict[str, Any]:
    """The swept values that tell arms of one mix apart: not its training seed, nor the length of the items."""
    unnamed = ("data_mix", "evaluation.answers", "seed", *LENGTH_KEYS)
    swept = {key: value for key, value in settings.varied.items() if key not in unnamed}
    trained = bool(settings.data_mix.sources)
    return {key: value for key, value in swept.items() if trained or not only_trains(key)}


def cell(settings: Settings) -> tuple[tuple[str, str], ...]:
    """What the arms that can be compared directly have in common: the swept values that decide what is asked of which
    model."""
    return tuple((key, str(value)) for key, value in factors(settings).items() if not only_trains(key))


@dataclass(frozen=True)
class Effect:
    """Two arms that differ in the value of one swept key."""

    key: str
    value: str
    against_value: str
    arm: str
    against: str


def baselines(runs: Sequence[Settings], wanted: str | None) -> dict[str, str]:
    """Arm → the arm that it is compared with; an arm that is compared with none is its own.

    Each combination of scenario, language, benchmark and model that a sweep makes has a baseline of its own: the arm or
    the mix that is ``wanted``, else the untrained arm, else the first. Where no such combination has two arms, all are
    compared with the first arm of the sweep.
    """
    arms = {arm_of(run.label): run for run in reversed(runs)}
    arms = dict(reversed(arms.items()))
    cells: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, run in arms.items():
        cells.setdefault(cell(run), []).append(name)
    if all(len(members) == 1 for members in cells.values()):
        cells = {(): list(arms)}
    found: dict[str, str] = {}
    for members in cells.values():
        named = [name for name in members if wanted in (name, mix_of(arms[name]))] if wanted else []
        untrained = [name for name in members if mix_of(arms[name]) == "base" or not arms[name].data_mix.sources]
        chosen = wanted if wanted in arms and not named else [*named, *untrained, *members][0]
        found |= dict.fromkeys(members, chosen)
    return {name: str(found[name]) for name in arms}


def effects(runs: Sequence[Settings]) -> list[Effect]:
    """For every swept key but mix, seed and length: each value against the first, all else equal."""
    arms = {arm_of(run.label): run for run in reversed(runs)}
    arms = dict(reversed(arms.items()))
    values = {name: {key: str(value) for key, value in factors(run).items()} for name, run in arms.items()}
    found = []
    for key in dict.fromkeys(key for swept in values.values() for key in swept):
        firsts: dict[tuple[object, ...], str] = {}
        for name, swept in values.items():
            if key not in swept:
                continue
            rest = (mix_of(arms[name]), *((other, value) for other, value in swept.items() if other != key))
            first = firsts.setdefault(rest, name)
            if first != name:
                found.append(Effect(key, swept[key], values[first][key], name, first))
    return found
