"""Compares the finished runs of a sweep: tables, figures, the report, and MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from longsafety.pipeline.launch import SWEEP, TABLE
from longsafety.reporting.record import RunRecord
from longsafety.settings import Tracking
from longsafety.stages import Store


def compare(folder: Path) -> None:
    """Writes the comparison into the sweep's folder (and MLflow, where the command asks for it)."""
    from rich.console import Console

    from longsafety.evaluation.answers import ANSWERS, read_answers
    from longsafety.evaluation.open_replies.verdicts import VERDICTS
    from longsafety.evaluation.scores.biases import controls, seed_spread
    from longsafety.evaluation.scores.comparison import Arm
    from longsafety.evaluation.scores.comparison import compare as compare_arms
    from longsafety.evaluation.scores.needle_map import needle_map
    from longsafety.reporting.report import write_report
    from longsafety.reporting.tables import comparison_table
    from longsafety.reporting.verdict_view import verdict_lines

    def answers(run: Path, record: RunRecord) -> Path:
        judged = run / VERDICTS
        return judged if judged.is_file() else store.folder("answers", record.stages["answers"]) / ANSWERS

    sweep = _read_sweep(folder)
    records = [RunRecord.load(Path(run)) for run in sweep["runs"]]
    settings = records[0].resolved()
    store = Store(Path(settings.paths.outputs))
    arms = [
        Arm(record.label, read_answers(answers(Path(run), record)))
        for run, record in zip(sweep["runs"], records, strict=True)
    ]
    needles = needle_map(arms, confidence=settings.evaluation.confidence, task_files=settings.scenario.task_files)
    if len(needles):
        needles.to_csv(folder / "needles.csv", index=False)
    comparison = compare_arms(
        arms,
        baseline=settings.baseline or ("base" if "base" in {record.label for record in records} else None),
        scoring=settings.scoring,
        confidence=settings.evaluation.confidence,
        bootstrap_samples=settings.evaluation.bootstrap_samples,
        equivalence_margin=settings.evaluation.equivalence_margin,
        seed=settings.seed,
    )
    comparison.save(folder)
    behind = controls(arms, scoring=settings.scoring, confidence=settings.evaluation.confidence)
    behind.save(folder)
    seeds = seed_spread(comparison.scores, {record.label: _family(record) for record in records})
    if len(seeds):
        seeds.to_csv(folder / "seeds.csv", index=False, float_format="%.4g")
    table = comparison_table(
        comparison,
        scorers=settings.evaluation.scorers,
        scoring=settings.scoring,
        confidence=settings.evaluation.confidence,
    )
    with (folder / TABLE).open("w", encoding="utf-8") as file:
        Console(file=file, width=120).print(table, *verdict_lines(records), sep="\n", markup=False, highlight=False)
    if "report" in settings.stages:
        write_report(
            folder / "report.html",
            name=sweep["name"],
            comparison=comparison,
            records=records,
            redact=settings.report.redact,
            command=sweep["command"],
            needles=needles,
            controls=behind,
            seeds=seeds,
        )
        tracking = Tracking.model_validate(sweep["tracking"])  # where this command asks for it
        if tracking.enabled:
            from longsafety.reporting.needles import needle_figure
            from longsafety.reporting.style import save
            from longsafety.tracking.store import log_comparison

            if (figure := needle_figure(needles, settings.evaluation.scorers[0])) is not None:
                save({"benign_needles": figure}, folder / "figures")  # logged with the others
            for run in sweep["runs"]:
                track(Path(run), folder)  # a run that another sweep had finished is not in this sweep's runs yet
            log_comparison(
                comparison,
                records,
                name=sweep["name"],
                key=sweep["key"],
                folder=folder,
                tracking=tracking,
                outputs=Path(settings.paths.outputs),
            )


def _family(record: RunRecord) -> tuple[str, str]:
    """An arm's name without its seed, and the address of the items that it was asked."""
    words = [word for word in record.label.split(" ") if not word.startswith("seed=")]
    return " ".join(words), record.stages.get("benchmark", "")


def track(run: Path, sweep_folder: Path) -> None:
    """Logs a finished run to MLflow as a child of its sweep; again is nothing."""
    import pandas as pd

    from longsafety.tracking.store import log_run

    sweep, record = _read_sweep(sweep_folder), RunRecord.load(run)
    settings = record.resolved()
    log_run(
        record,
        pd.read_parquet(run / "scores.parquet"),
        folder=run,
        tracking=Tracking.model_validate(sweep["tracking"]),
        outputs=Path(settings.paths.outputs),
        parent_key=sweep["key"],
        parent_name=sweep["name"],
    )


def _read_sweep(folder: Path) -> dict[str, Any]:
    sweep: dict[str, Any] = yaml.safe_load((folder / SWEEP).read_text("utf-8"))
    return sweep
