"""Stage ``answers`` where another program recorded them (``evaluation.answers``)."""

from __future__ import annotations

from pathlib import Path

from longsafety.errors import print_left_out
from longsafety.evaluation.answers import ANSWERS, write_answers
from longsafety.evaluation.logs.read import read_recorded
from longsafety.formats.public import read_public
from longsafety.pipeline.run import FACTS, Run, write_json


def recorded(run: Run) -> Path:
    """Recorded answers in our own table, so that they are scored like ours."""

    def make(folder: Path) -> None:
        settings = run.settings
        read = read_recorded(
            Path(str(settings.evaluation.answers)),
            scoring=settings.scoring,
            known=_known_options(run),
            on_bad_row=settings.on_bad_row,
        )
        print_left_out(read.bad)
        write_answers(read.rows, folder / ANSWERS)
        facts = {"items": len(read.rows), "answers": len(read.rows), "recorded": read.counts, "bad": read.bad}
        write_json(folder / FACTS, facts)

    return run.stage("answers", make)


def _known_options(run: Run) -> dict[str, list[str]] | None:
    """Item id → options, unsafe → safe, where the benchmark's file is given."""
    items = run.settings.evaluation.items
    if items.path is None:
        return None
    samples = read_public(items.path, schema=items.format, split=items.split, key="evaluation.items").samples
    return {item.id: [wordings[0] for wordings in item.choices] for item in samples if item.kind == "harmful"}
