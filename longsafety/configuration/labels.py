"""The names of arms: the mix (or whose answers they are), and what else a command varies except lengths."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from longsafety.configuration.recorded import KEY
from longsafety.errors import ConfigError, visible
from longsafety.evaluation.logs.names import own_name
from longsafety.settings import LENGTH_KEYS, Settings
from longsafety.stages import address

_MIX = "data_mix"
_LONGEST = 48
"""Characters of a swept value in a label."""


def labels_of(settled: Sequence[Settings]) -> list[str]:
    """A label a run: the name that ``label`` gives, else the mix or the recorded run, and what varies besides.

    Runs of one arm at several lengths share a label, others never do. Raises ConfigError where recorded answers are
    given twice.
    """
    firsts, labels = _firsts(settled), arms_of(settled)
    places = [str(settings.length.bench_lengths) for settings in settled]
    counts = Counter(zip(labels, places, strict=True))
    labels = [
        _label(settings, first, without=()) if counts[label, place] > 1 else label
        for settings, first, label, place in zip(settled, firsts, labels, places, strict=True)
    ]
    _refuse_twice(settled, labels)
    return _numbered(settled, labels)


def arms_of(settled: Sequence[Settings]) -> list[str]:
    """A label a run, the same for all runs that differ only in their length."""
    firsts = _firsts(settled)
    return [_label(settings, first, without=LENGTH_KEYS) for settings, first in zip(settled, firsts, strict=True)]


def _firsts(settled: Sequence[Settings]) -> list[str]:
    paths = [_path(settings) for settings in settled]
    names = _apart(list(dict.fromkeys(path for path in paths if path is not None)))
    firsts = []
    for settings, path in zip(settled, paths, strict=True):
        name = settings.data_mix.name if path is None else names[path]
        if given := visible(settings.label).strip():
            named = {other for other, its in zip(paths, settled, strict=True) if its.label == settings.label}
            name = f"{given} {name}" if len(named) > 1 else given
        firsts.append(name.replace(" seed=", "\u00a0seed="))  # a word of that form would name a training
    return firsts


def _label(settings: Settings, first: str, *, without: Sequence[str]) -> str:
    own = () if settings.label and not settings.rescores else (_MIX,)
    varied = {key: value for key, value in settings.varied.items() if key not in (*without, *own, KEY, "label")}
    words = (f"{key}={_short(str(value))}" for key, value in varied.items())
    return " ".join([first, *map(visible, words)])


def _short(value: str) -> str:
    """A long text by its beginning, and a hash of the whole."""
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 8].strip()}… {address(value)[:6]}"


def _path(settings: Settings) -> Path | None:
    """As typed: a link keeps its own name."""
    answers = settings.evaluation.answers
    return None if answers is None else Path(os.path.abspath(Path(answers).expanduser()))  # noqa: PTH100 (follows links)


def _apart(paths: Sequence[Path]) -> dict[Path, str]:
    """Path → its name, with as many of the folders above it as no other path shares."""
    own = {path: own_name(path) for path in paths}
    longest = max((len(path.parts) for path in paths), default=0)
    names = {path: visible(own[path] or path.name or str(path)) for path in paths}
    for depth in range(1, longest + 1):
        looks = Counter(map(_looks, names.values()))
        for path, name in names.items():
            if looks[_looks(name)] > 1:
                above = "/".join(path.parts[-depth:])
                names[path] = visible(f"{own[path]} ({above})" if own[path] else above)
    return names


def _looks(name: str) -> str:
    """What a reader sees of a name: without the width of letters and spaces, and without what has none."""
    shown = unicodedata.normalize("NFKC", name)
    return " ".join("".join(char for char in shown if unicodedata.category(char) != "Cf").split())


def _refuse_twice(settled: Sequence[Settings], labels: Sequence[str]) -> None:
    seen: set[tuple[str, Path]] = set()
    for settings, label in zip(settled, labels, strict=True):
        if (path := _path(settings)) is None:
            continue
        place = label, path.resolve()
        if place in seen:
            raise ConfigError([f"{KEY} = {settings.evaluation.answers}: is given twice; leave one out"])
        seen.add(place)


def _numbered(settled: Sequence[Settings], labels: Sequence[str]) -> list[str]:
    """Recorded runs whose labels look alike get a number."""
    seen: Counter[str] = Counter()
    found = []
    for settings, label in zip(settled, labels, strict=True):
        seen[_looks(label)] += settings.rescores
        number = seen[_looks(label)]
        found.append(f"{label} ({number})" if number > 1 else label)
    return found
