"""``stages=[list]``: what can be named, a line each, read from the comments of the config files; composes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from longsafety.configuration.places import CONF, SWEEPS

GROUPS = ("experiment", "scenario", "data_mix", "model", "length", "trainer", "scale")


def listing(roots: Sequence[Path] = (CONF, SWEEPS)) -> Iterator[str]:
    """Every group's options with the first sentence of their comment."""
    for group in GROUPS:
        files = sorted(path for root in roots for path in (root / group).glob("[!_]*.yaml"))
        if not files:
            continue
        yield f"{group} ({'+' if group == 'experiment' else ''}{group}=NAME)"
        width = max(len(path.stem) for path in files)
        yield from (f"  {path.stem:<{width}}  {first_sentence(path)}".rstrip() for path in files)


def first_sentence(path: Path) -> str:
    """The first sentence of the comment that a config file begins with; of a length without one, its tokens."""
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    comment: list[str] = []
    for line in lines:
        if line.startswith("# @package"):
            continue
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").rstrip())
    text = " ".join(comment)
    if not text:
        tokens = [line.partition(": ")[2] for line in lines if line.startswith("max_tokens: ")]
        return f"{int(tokens[0].split(' #')[0]):,} tokens" if tokens else ""
    end = re.search(r"(?<=[.?!])\s", text)
    return text[: end.start()] if end else text
