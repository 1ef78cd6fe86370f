"""The safety curve: a small fixed part of the benchmark, asked every so many steps of a training."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch.distributed as dist

from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.asking.ask import collect_answers
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.evaluation.open_replies.rules import Rule
from longsafety.evaluation.open_replies.verdicts import give_verdicts
from longsafety.evaluation.scores.scoring import HEADLINES, score
from longsafety.model.history import History, TrainingCurve
from longsafety.model.strategy import save
from longsafety.model.trained import CURVE, read_rows
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.settings import Evaluation, Training
from longsafety.vocabulary import ALL_TASKS, BENIGN_TWINS

BEST = "best"
BALANCE = "safe_and_helpful"
"""What the best checkpoint is best in: the mean of safe response and compliance (safe response alone without twins)."""


def curve_evaluation(evaluation: Evaluation, training: Training) -> Evaluation:
    """The headline's scorer (on open replies the detector's verdicts, whoever judges later), one order of the options,
    ``training.curve_items`` items of all tasks in turn, each with its benign twin."""
    limit = min(evaluation.select.limit or training.curve_items, training.curve_items)
    select = evaluation.select.model_copy(update={"limit": limit})
    twins = [kind for kind in evaluation.twins if kind in BENIGN_TWINS]
    return evaluation.model_copy(
        update={"select": select, "scorers": evaluation.scorers[:1], "orders": "one", "twins": twins, "controls": []}
    )


class Curve(TrainingCurve):
    """Appends a line to ``curve.jsonl`` before the first step, every ``curve_every_steps`` and after the last.

    The network is asked where it is and as it is; its modes and its attention are put back, and nothing random is
    drawn, so that training goes on as without. The ranks share the items (with ZeRO-3 every rank asks all, because each
    pass gathers what the others hold); the first writes. With ``keep: best`` the
    weights of the best line are kept beside.
    """

    def __init__(
        self,
        items: Sequence[Sample],
        encoder: ChatEncoder,
        evaluation: Evaluation,
        training: Training,
        max_tokens: int,
        rules: Mapping[str, Rule],
    ) -> None:
        self.items, self.encoder, self.evaluation, self.training = items, encoder, evaluation, training
        self.max_tokens, self.rules = max_tokens, rules

    def begin(self, folder: Path, start_step: int, num_steps: int, history: History) -> None:
        """Lines after the checkpoint that training goes on from are cut. ``history``'s clock stands while we ask."""
        self.folder, self.start, self.step, self.num_steps = folder, start_step, start_step, num_steps
        self.history = history
        rows = [row for row in read_rows(folder / CURVE) if row["step"] <= start_step]
        self.best = max((row[BALANCE] for row in rows), default=float("-inf"))
        (folder / CURVE).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self.start == 0:
            self._point(trainer, pl_module, 0)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        if step != self.step:
            self.step = step
            if step % (self.training.curve_every_steps or 1) == 0 or step == self.num_steps:
                self._point(trainer, pl_module, step)

    def keep_best(self, weights: Path) -> int:
        """Puts the weights of the best line in the place of ``weights``, and returns its step."""
        return keep_best(self.folder, weights)

    def _point(self, trainer: Any, module: Any, step: int) -> None:
        began = time.perf_counter()
        row = {"step": step, **self._ask(module.network, str(trainer.precision))}
        if trainer.is_global_zero:
            with (self.folder / CURVE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if self.training.keep == "best" and row[BALANCE] > self.best:
            self.best = row[BALANCE]
            unfinished = self.folder / f"{BEST}.partial"
            save(trainer, module.network, unfinished)
            if trainer.is_global_zero:
                shutil.rmtree(self.folder / BEST, ignore_errors=True)
                unfinished.replace(self.folder / BEST)
        self.history.began += time.perf_counter() - began

    def _answers(self, backend: TransformersBackend, items: Sequence[Sample]) -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as folder:
            collect_answers(
                items, backend, self.encoder, self.evaluation,
                max_tokens=self.max_tokens, folder=Path(folder), progress=lambda: None,
            )  # fmt: skip
            return read_answers(Path(folder) / ANSWERS)

    def _ask(self, network: Any, precision: str) -> dict[str, float]:
        modes = [(part, part.training) for part in network.modules()]
        backend = TransformersBackend(network, precision=precision, in_place=True)
        attention = backend.causal.config._attn_implementation
        whole = not any(hasattr(one, "ds_id") for one in network.parameters())
        answers = gathered(partial(self._answers, backend), self.items, shares=whole)
        if "open" in self.evaluation.scorers:
            answers = give_verdicts(answers, {}, rules=self.rules, judge=None, scoring="fixed")
        if backend.causal.config._attn_implementation != attention:
            backend.causal.set_attn_implementation(attention)
        for part, mode in modes:
            part.training = mode
        table = score(answers, scoring="fixed", confidence=self.evaluation.confidence)
        rows = table[(table["task"] == ALL_TASKS) & table["metric"].isin(HEADLINES)]
        values = {str(metric): float(value) for metric, value in zip(rows["metric"], rows["value"], strict=True)}
        sides = [values[name] for name in ("safe_response", "compliance") if name in values]
        return {"items": len(self.items), **values, BALANCE: sum(sides) / len(sides) if sides else float("nan")}


def gathered(ask: Callable[[Sequence[Sample]], pd.DataFrame], items: Sequence[Sample], *, shares: bool) -> pd.DataFrame:
    """The answers to all ``items`` on every rank; with ``shares`` each rank asks the families that are its turn's."""
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if world == 1 or not shares:
        return ask(items)
    turn = {pair: number % world for number, pair in enumerate(dict.fromkeys(item.pair_id for item in items))}
    mine = [item for item in items if turn[item.pair_id] == dist.get_rank()]
    found: list[Any] = [None] * world
    dist.all_gather_object(found, ask(mine) if mine else None)
    every: pd.DataFrame = pd.concat([part for part in found if part is not None], ignore_index=True)
    return every


def keep_best(folder: Path, weights: Path) -> int:
    """Puts the best line's weights in the place of the last's; returns its step."""
    best = max(read_rows(folder / CURVE), key=lambda row: (row[BALANCE], -row["step"]))
    if (folder / BEST).is_dir():
        shutil.rmtree(weights)
        (folder / BEST).replace(weights)
    return int(best["step"])
