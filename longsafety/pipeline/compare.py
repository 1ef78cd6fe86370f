"""Compares the finished runs of a sweep: tables, figures, the report, and MLflow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.open_replies.sheet import KEY, LABELS, SHEET, opaque, write_sheet
from longsafety.evaluation.open_replies.verdicts import VERDICTS, judge_request
from longsafety.evaluation.scores.biases import BiasTables, bias_tables
from longsafety.evaluation.scores.compare import compare as compare_arms
from longsafety.evaluation.scores.comparison import Arm, Comparison
from longsafety.evaluation.scores.needle_map import needle_map
from longsafety.pipeline import release
from longsafety.pipeline.joined import distinct
from longsafety.pipeline.recorded_runs import record_of
from longsafety.pipeline.run import NOT_LOGGED, SWEEP, TABLE, Run
from longsafety.pipeline.samples import SAMPLES
from longsafety.reporting.comparison_view import ComparisonView
from longsafety.reporting.facts import reuse_notes, uncounted_lines
from longsafety.reporting.names import arm_name
from longsafety.reporting.needles import needle_figure
from longsafety.reporting.outcome_view import outcome_lines
from longsafety.reporting.record import RunRecord
from longsafety.reporting.report import answer, write_report
from longsafety.reporting.style import save
from longsafety.reporting.tables import comparison_table
from longsafety.reporting.terminal import write_tables
from longsafety.reporting.verdict_view import verdict_lines
from longsafety.samples.recipe import SampleFile
from longsafety.settings import Settings, Tracking, baselines, effects
from longsafety.stages import Store
from longsafety.tracking.client import StoreError
from longsafety.tracking.registry import register
from longsafety.tracking.store import log_comparison, log_run
from longsafety.vocabulary import BENIGN_KINDS


@dataclass(frozen=True)
class Sweep:
    """What the launcher froze in ``sweep.yaml``, with the records of the finished runs."""

    folder: Path
    name: str
    key: str
    command: str
    runs: list[Path]
    tracking: Tracking
    """That of the command, which may be another than that of the runs."""
    sheet: int | None = None
    """Replies that the command wants labelled."""

    @classmethod
    def load(cls, folder: Path) -> Sweep:
        frozen: dict[str, Any] = yaml.safe_load((folder / SWEEP).read_text("utf-8"))
        runs = [Path(run) for run in frozen.pop("runs")]
        return cls(folder, runs=runs, tracking=Tracking.model_validate(frozen.pop("tracking")), **frozen)


def compare(folder: Path) -> None:
    """Writes the comparison into the sweep's folder, the report and MLflow's runs where the command asks for them."""
    sweep = Sweep.load(folder)
    records = distinct([record_of(run) for run in sweep.runs])
    settings = records[0].resolved()
    evaluation = settings.evaluation
    arms = _arms(sweep.runs, records)
    resolved = [record.resolved() for record in records]
    own = baselines(resolved, settings.baseline)
    comparison = compare_arms(
        arms,
        baseline=own[arms[0].label],
        baselines=own,
        effects=effects(resolved),
        contrasts=[pair for pair in settings.contrasts if {*pair} <= {arm.label for arm in arms}],
        scoring=settings.scoring,
        confidence=evaluation.confidence,
        equivalence_margin=evaluation.equivalence_margin,
    )
    comparison.save(folder)
    biases = bias_tables(arms, scoring=settings.scoring, confidence=evaluation.confidence)
    biases.save(folder)
    needles = needle_map(arms, confidence=evaluation.confidence, task_files=settings.scenario.task_files)
    if len(needles):
        needles.to_csv(folder / "needles.csv", index=False)
    for name in ("trainings", "controls", "effects"):
        if len(table := getattr(comparison, name)):
            table.to_csv(folder / f"{name}.csv", index=False, float_format="%.4g")
    _write_table(sweep, comparison, records, settings, said=_write_sheet(sweep, records))
    if "report" not in settings.stages:
        return
    write_report(
        folder / "report.html",
        name=sweep.name,
        comparison=comparison,
        records=records,
        redact=settings.report.redact,
        command=sweep.command,
        needles=needles,
        biases=biases,
        figures=folder / "figures",
    )
    if sweep.tracking.enabled:
        labels = list(dict.fromkeys(arm.label for arm in arms))
        if (figure := needle_figure(needles, evaluation.scorers[0], labels)) is not None:
            save({"benign_needles": figure}, folder / "figures")  # logged with the others
        (folder / NOT_LOGGED).touch()
        with not_stopping():
            for run in sweep.runs:
                track(run, folder)  # a run that another sweep had finished is not in this sweep's runs yet
            log_comparison(
                comparison,
                records,
                name=sweep.name,
                key=sweep.key,
                folder=folder,
                tracking=sweep.tracking,
                outputs=Path(settings.paths.outputs),
                note=_note(sweep, comparison, records, biases),
            )
            (folder / NOT_LOGGED).unlink(missing_ok=True)


@contextmanager
def not_stopping() -> Iterator[None]:
    """Says why MLflow's store could not be used, and goes on: the results do not depend on it."""
    try:
        yield
    except StoreError as error:
        print(f"longsafety: {error}", file=sys.stderr, flush=True)


def _note(sweep: Sweep, comparison: Comparison, records: list[RunRecord], biases: BiasTables) -> str:
    """The question, the answer, the table and where the report is, in Markdown."""
    settings = records[0].resolved()
    said = answer(ComparisonView(comparison, settings.evaluation.scorers), records, biases)
    shares = release.table(release.rows(sweep.folder / "comparison.csv", settings.evaluation.scorers), "markdown")
    parts = [
        settings.question or "",
        "\n".join(f"- {finding.text}" for finding in said if finding.kind != "caveat"),
        shares,
        f"Report: artifact `report.html`, or {sweep.folder / 'report.html'}",
    ]
    # Brackets of intervals: the UI takes them for links.
    return "\n\n".join(part.replace("[", "\\[") for part in parts if part)


def track(run: Path, sweep_folder: Path) -> None:
    """Logs a finished run to MLflow as a child of its sweep; a run that is logged already is left as it is."""
    sweep, record = Sweep.load(sweep_folder), RunRecord.load(run)
    outputs = Path(record.resolved().paths.outputs)
    run_id = log_run(
        record,
        pd.read_parquet(run / "scores.parquet"),
        folder=run,
        tracking=sweep.tracking,
        outputs=outputs,
        parent_key=sweep.key,
        parent_name=sweep.name,
    )
    if sweep.tracking.registered_model and record.training:
        exported = Path(str(Run.load(run).settings.export.path))  # as it is now: the record may be older
        register(record, exported, run_id=run_id, tracking=sweep.tracking, outputs=outputs)


def answers_of(run: Path, record: RunRecord) -> pd.DataFrame:
    """The run's answers, with the verdicts on open replies where there are any."""
    judged = run / VERDICTS
    store = Store(Path(record.resolved().paths.outputs))
    return read_answers(judged if judged.is_file() else store.folder("answers", record.stages["answers"]) / ANSWERS)


def _arms(runs: list[Path], records: list[RunRecord]) -> list[Arm]:
    """The runs' answers, equal ones of an arm once: an untrained model answers the same under every training seed."""
    arms: dict[tuple[str, str], Arm] = {}
    for run, record in zip(runs, records, strict=True):
        key = arm_name(record), record.stages.get("answers", record.key)
        if key not in arms:
            arms[key] = Arm(key[0], answers_of(run, record), str(record.settings["seed"]))
    return list(arms.values())


def _write_sheet(sweep: Sweep, records: list[RunRecord]) -> list[str]:
    """The blind sheet, where the command wants one and there is none yet, as a person may have filled it; a line on
    it."""
    if not sweep.sheet:
        return []
    if (sweep.folder / SHEET).exists():
        return [f"{SHEET}: is there already, and stays as it is; remove it to have another drawn."]
    parts = []
    for run, record in zip(sweep.runs, records, strict=True):
        answers = answers_of(run, record)
        harmful = (answers["scorer"] == "open") & ~answers["kind"].isin(BENIGN_KINDS)
        rows = answers[harmful & answers["reply"].fillna("").str.strip().astype(bool)]
        built = Store(Path(record.resolved().paths.outputs)).folder("benchmark", record.stages["benchmark"])
        asked = {item.id: judge_request(item).text for item in SampleFile(built / SAMPLES)}
        places = zip(rows["item_id"], rows["seed_id"], rows["max_tokens"], rows["order_index"], strict=True)
        names = [opaque(arm_name(record), record.stages["answers"], *place) for place in places]
        questions = [asked[name] for name in rows["item_id"]]
        parts.append(rows.assign(id=names, arm=arm_name(record), item=rows["item_id"], question=questions))
    replies = pd.concat(parts)
    if replies.empty:
        return [f"{SHEET}: is not written, because no open reply to a harmful item holds text."]
    number = write_sheet(replies, sweep.sheet, sweep.folder)
    return [f"{SHEET}: {number} open replies to label ({' or '.join(LABELS)}); {KEY} says whose they are."]


def _write_table(
    sweep: Sweep, comparison: Comparison, records: list[RunRecord], settings: Settings, *, said: list[str]
) -> None:
    table = comparison_table(
        comparison,
        scorers=settings.evaluation.scorers,
        scoring=settings.scoring,
        confidence=settings.evaluation.confidence,
    )
    first, *others = ComparisonView(comparison, settings.evaluation.scorers).scorers
    views = [ComparisonView(comparison, [scorer]) for scorer in (first, *others)]
    lines = [
        *comparison.notes,
        *uncounted_lines(views),
        *outcome_lines(records),
        *verdict_lines(records),
        *reuse_notes(records),
        *said,
    ]
    write_tables(sweep.folder / TABLE, table, *lines)
