"""``--help``: groups and settings, shown from the config files with their comments. It composes nothing, so it answers
at once; ``--cfg job`` shows what a command composes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from longsafety.configuration.places import CONF, SWEEPS

_HEADER = """\
longsafety: is my model still safe when the context is long, and which training data makes it so?

  python -m longsafety                                   one run: train on longsafety, evaluate
  python -m longsafety +experiment=mix_ablation          a declared sweep: every arm, one comparison
  python -m longsafety --multirun length=256,512         an ad hoc sweep
  python -m longsafety scale=smoke|nano|paper            the same experiment, small or large
  python -m longsafety 'stages=[list]'                   experiments, scenarios, mixes, models, a line each

== Groups (group=option; experiments with +experiment=) ==
"""
_FOOTER = """\
A file's settings begin with those that it includes; a later line counts, and the file of the scale counts last.
--cfg job shows the composed config; --config-dir FOLDER adds config groups of your own.
A comma separates the values of a sweep (length=256,512). In a text setting (paths, names, licences) it does so only
with --multirun; quote a text that has one there: --multirun "corpus='a, b',c".
Names that begin with _ are defaults that other files include."""
_CHOICE = re.compile(r"  - (?:override /)?(\w+): \"?(\w+)\"?")


def help_text(own: Sequence[Path] = ()) -> Iterator[str]:
    """The lines of the help; ``own``: folders of config groups besides the package's."""
    yield _HEADER
    found: dict[str, set[str]] = {}
    for root in (CONF, SWEEPS, *own):
        for file in root.glob("*/*.yaml"):
            found.setdefault(file.parent.name, set()).add(file.stem)
    yield from (f"{group}: {', '.join(sorted(found[group]))}" for group in sorted(found))
    yield "\n== Settings (key=value) and their defaults ==\n"
    main = _lines(CONF / "config.yaml")
    chosen = dict(_choices(main))
    scale = _lines(CONF / "scale" / f"{chosen.pop('scale')}.yaml")
    for group, option in (chosen | dict(_choices(scale))).items():
        yield f"{group}:"
        yield from _shown(CONF / group / f"{option}.yaml")
    yield ""
    yield from _settings(takewhile(lambda line: line != "hydra:", main))
    yield "# scale=nano"
    yield from _settings(scale)
    yield f"\n{_FOOTER}"


def _lines(file: Path) -> list[str]:
    return file.read_text("utf-8").removesuffix("\n").split("\n")


def _choices(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The groups and options of a file's defaults list."""
    for line in lines:
        if match := _CHOICE.match(line):
            yield match[1], match[2]


def _shown(file: Path) -> Iterator[str]:
    """The settings of a group's file, after those that it includes."""
    lines = _lines(file)
    for line in lines:
        if included := re.fullmatch(r"defaults: \[(\w+), _self_\]", line):
            yield from _shown(file.with_name(f"{included[1]}.yaml"))
    yield f"  # {file.parent.name}={file.stem}" if not file.stem.startswith("_") else "  # all"
    yield from (f"  {line}" for line in _settings(lines))


def _settings(lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    """A file's lines without its first comment and its defaults list."""
    skipping = True
    for line in lines:
        if line.startswith(("defaults:", "#")) and skipping:
            continue
        skipping = skipping and (not line or line.startswith("  - "))
        if not skipping:
            yield line
