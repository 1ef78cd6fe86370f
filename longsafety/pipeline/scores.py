"""The scores of a run, from its kept answers; no model is loaded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Group
from rich.table import Table

from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.official.write import write_official
from longsafety.evaluation.open_replies.calibration import measured_by_people
from longsafety.evaluation.open_replies.corrections import corrected_shares, with_verdict_columns
from longsafety.evaluation.open_replies.panel import panel_facts
from longsafety.evaluation.open_replies.rules import rules
from longsafety.evaluation.open_replies.verdicts import give_verdicts, judge_request, verdict_facts, write_verdicts
from longsafety.evaluation.outcomes import outcome_facts
from longsafety.evaluation.scorers import SHOWS_OPTIONS
from longsafety.evaluation.scores.scoring import ACCURACY, score
from longsafety.evaluation.scores.totals import totals
from longsafety.pipeline.judges import open_judges
from longsafety.pipeline.record import plain_record, record
from longsafety.pipeline.run import CAPABILITY, FACTS, TABLE, Run, read_json
from longsafety.pipeline.samples import SAMPLES, benchmark
from longsafety.reporting.outcome_view import cost_line, outcome_line
from longsafety.reporting.questions_view import questions_table
from longsafety.reporting.terminal import write_tables
from longsafety.reporting.totals_view import totals_table
from longsafety.reporting.verdict_view import verdict_line
from longsafety.samples.recipe import SampleFile, read_samples

OFFICIAL = "official"


def scores(run: Run) -> None:
    """Writes ``scores.parquet``, ``scores.csv`` and the record into the run's folder.

    Raises DataError where no answers are kept.
    """
    folder = run.need("answers", "add evaluate to stages")
    settings, evaluation = run.settings, run.settings.evaluation
    facts, answers = read_json(folder / FACTS), read_answers(folder / ANSWERS)
    facts |= outcome_facts(answers, evaluation.server)
    for line in (outcome_line(facts), cost_line(facts)):
        if line:
            print(f"  {line}", flush=True)
    opened = bool((answers["scorer"] == "open").any())
    if opened:
        answers, facts["open"] = verdicts(run, answers)
    scored = score(answers, scoring=settings.scoring, confidence=evaluation.confidence)
    table = totals(answers, evaluation.scorers, scoring=settings.scoring, confidence=evaluation.confidence)
    if opened:
        scored, table = with_verdict_columns(scored, facts["open"]), with_verdict_columns(table, facts["open"])
        facts["open"]["corrected"] = corrected_shares(scored)
    scored.to_parquet(run.folder / "scores.parquet")
    table.to_csv(run.folder / "scores.csv", index=False)
    if settings.rescores:
        _show_totals(run, table, scored, facts["recorded"])
        replace(plain_record(run, facts), counts=facts["recorded"]).save(run.folder)
        return
    if evaluation.write_official:
        _write_official(run, answers)
    if (suites := run.find("capability")) is not None:
        shutil.copy(suites / CAPABILITY, run.folder / CAPABILITY)
    record(run, facts).save(run.folder)


def verdicts(run: Run, answers: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The answers with verdicts on the open replies, kept in the run's folder; and the facts about the verdicts."""
    evaluation = run.settings.evaluation
    items = {item.id: judge_request(item) for item in SampleFile(benchmark(run) / SAMPLES)}
    known, scoring = rules(run.settings.scenario.task_files), run.settings.scoring
    judges = open_judges(run.settings, run.cache)
    judge = judges[0] if judges else None
    judged = give_verdicts(answers, items, rules=known, judge=judge, scoring=scoring)
    facts = verdict_facts(judged, items, rules=known, judge=judge, scoring=scoring, confidence=evaluation.confidence)
    if len(judges) > 1:
        facts["panel"] = panel_facts(
            judged, items, rules=known, others=judges[1:], scoring=scoring, confidence=evaluation.confidence,
            folder=run.folder,
        )  # fmt: skip
    if evaluation.labels is not None:
        facts["people"] = measured_by_people(
            Path(evaluation.labels).expanduser(), judges, known, scoring, confidence=evaluation.confidence
        )
    print(f"  {verdict_line(facts)}", flush=True)
    return read_answers(write_verdicts(judged, run.folder)), facts


def _write_official(run: Run, answers: pd.DataFrame) -> None:
    """The answers of the first scorer that shows the options, in the published evaluator's format."""
    shown = next(scorer for scorer in run.settings.evaluation.scorers if scorer in SHOWS_OPTIONS)
    items = read_samples(benchmark(run) / SAMPLES)
    counts = write_official(answers[answers["scorer"] == shown], items, run.folder / OFFICIAL)
    print(f"  {sum(counts.values())} answers ({shown}) in {run.folder / OFFICIAL}", flush=True)


def _show_totals(run: Run, table: pd.DataFrame, scored: pd.DataFrame, counts: dict[str, int]) -> None:
    """Harmful items by task, and right answers to what other programs asked."""
    tables: list[Table | Group] = [totals_table(table, run.settings, counts)] if len(table) else []
    if (scored["metric"] == ACCURACY).any() or not tables:
        tables.append(questions_table(scored, run.settings, {} if tables else counts))
    write_tables(run.folder / TABLE, *tables)
