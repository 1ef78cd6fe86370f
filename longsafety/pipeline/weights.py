"""Stage ``weights``: the arm's training, on its mix, by every rank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from longsafety.data.length_table import length_rows
from longsafety.data.tokens import TokenRows
from longsafety.model.tokenizer import template_hash
from longsafety.model.train import ROWS, encode, prepared, train
from longsafety.model.trained import WEIGHTS
from longsafety.pipeline.addresses import code
from longsafety.pipeline.corpus import encoder, tokenizer
from longsafety.pipeline.mix import mix
from longsafety.pipeline.phases import phases
from longsafety.pipeline.reuse import ARM, arm
from longsafety.pipeline.run import MIX, TEMPLATE, Run, read_json, write_json
from longsafety.pipeline.seeds import COUNTS
from longsafety.pipeline.unfinished import tell_unfinished
from longsafety.ranks import Follower, together
from longsafety.reporting.tables import lengths_table, mix_table
from longsafety.reporting.terminal import tables_text

if TYPE_CHECKING:
    from longsafety.evaluation.curve import Curve


def weights(run: Run) -> Path:
    """Trained weights or adapters, with the table of the mix, the history of the loss, and the template's hash."""
    whole, run = run, phases(run)[-1]
    start = _start(whole)

    def make(folder: Path) -> None:
        tell_unfinished(run.settings, code("weights"), folder)
        drawn, curve = mix(run), _curve(run)
        print(tables_text(mix_table(drawn.rows)), end="", flush=True)
        lost = encode(drawn.samples, encoder(run), run.settings, folder)
        lengths = length_rows(drawn.sources, TokenRows(folder / ROWS), lost)
        print(tables_text(lengths_table(lengths)), end="", flush=True)
        with together(folder):
            train(run.settings, folder, pad_id=_pad_id(run), curve=curve, start=start and start / WEIGHTS)
        of_source = {row["source"]: row for row in lengths}
        before = read_json(start / MIX) if start else []
        write_json(folder / MIX, [*before, *({**row, **of_source[row["source"]]} for row in drawn.rows)])
        write_json(folder / COUNTS, dict(drawn.counts))
        write_json(folder / TEMPLATE, template_hash(tokenizer(run)))
        write_json(folder / ARM, arm(run.settings) | ({"before": start.name} if start else {}))

    return run.stage("weights", make, resumable=True)


def _start(run: Run) -> Path | None:
    """The arm's own weights, where this training tunes them further."""
    before = phases(run)[:-1]
    return (
        before[0].need("weights", "they are trained first; give the command without further.budget") if before else None
    )


def join(run: Run, first: Follower) -> None:
    """What a rank other than the first does: it waits until the first has encoded the mix, then trains with it."""
    start, run = _start(run), phases(run)[-1]
    partial = run.store.partial("weights", run.addresses.weights)
    while run.find("weights") is None:
        if prepared(partial):
            curve = _curve(run)
            with together(partial):
                train(run.settings, partial, pad_id=_pad_id(run), curve=curve, start=start and start / WEIGHTS)
            return
        first.wait(f"the data of {partial}")
        time.sleep(0.5)


def _pad_id(run: Run) -> int:
    return int(tokenizer(run).pad_token_id)


def _curve(run: Run) -> Curve | None:
    """The safety curve, where one is drawn."""
    if run.settings.training.curve_every_steps is None:
        return None
    from longsafety.pipeline.curve import curve  # evaluation's libraries, which no other training needs

    return curve(run)
