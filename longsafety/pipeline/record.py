"""What a finished run says of itself: the scores of its kept answers, and its record."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longsafety.environment import environment
from longsafety.errors import DataError
from longsafety.pipeline.addresses import Keys
from longsafety.pipeline.data import COUNTS, SAMPLES, Making, read_json
from longsafety.pipeline.launch import TABLE
from longsafety.reporting.record import Example, RunRecord
from longsafety.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

CAPABILITY, OFFICIAL = "capability.parquet", "official"


class Recorder:
    """The last stage of the run in ``folder``; it loads no model."""

    def __init__(self, folder: Path, settings: Settings, keys: Keys, data: Making) -> None:
        self.folder, self.settings, self.keys, self.data = folder, settings, keys, data
        self.store, self.cache = data.store, data.cache

    def score(self) -> None:
        """Scores the kept answers and writes the record. Raises DataError where none are kept."""
        from longsafety.evaluation.answers import ANSWERS, read_answers
        from longsafety.evaluation.open_replies.verdicts import beside, corrected_shares
        from longsafety.evaluation.scores.scoring import score
        from longsafety.evaluation.scores.totals import totals

        folder = self.store.folder("answers", self.keys.answers)
        if not folder.is_dir():
            raise DataError(
                f"stages = [score]: no answers are kept for {self.settings.label} ({folder}); add evaluate to stages"
            )
        evaluation, facts = self.settings.evaluation, read_json(folder / "evaluation.json")
        answers = read_answers(folder / ANSWERS)
        opened = bool((answers["scorer"] == "open").any())
        if opened:
            answers, facts["open"] = self.verdicts(answers)
        scoring, confidence = self.settings.scoring, evaluation.confidence
        scores = score(answers, scoring=scoring, confidence=confidence)
        table = totals(answers, evaluation.scorers, scoring=scoring, confidence=confidence)
        if opened:
            scores, table = beside(scores, facts["open"]), beside(table, facts["open"])
            facts["open"]["corrected"] = corrected_shares(scores)
        scores.to_parquet(self.folder / "scores.parquet")
        table.to_csv(self.folder / "scores.csv", index=False)
        if self.settings.rescores:
            self._show_totals(table, facts["recorded"])
            return replace(self._plain_record(facts), counts=facts["recorded"]).save(self.folder)
        if evaluation.write_official:
            self._write_official(answers)
        suites = self.store.folder("capability", self.keys.capability) / CAPABILITY
        if self.keys.capability and suites.is_file():
            shutil.copy(suites, self.folder / CAPABILITY)
        self.record(facts).save(self.folder)

    def _write_official(self, answers: Any) -> None:
        from longsafety.evaluation.scorers import SHOWS_OPTIONS
        from longsafety.evaluation.scores.official import write_official
        from longsafety.samples.recipe import read_samples

        shown = next(scorer for scorer in self.settings.evaluation.scorers if scorer in SHOWS_OPTIONS)
        items = read_samples(self.data.benchmark() / SAMPLES)
        counts = write_official(answers[answers["scorer"] == shown], items, self.folder / OFFICIAL)
        print(f"  {sum(counts.values())} answers ({shown}) in {self.folder / OFFICIAL}", flush=True)

    def _show_totals(self, table: Any, counts: dict[str, int]) -> None:
        from rich.console import Console

        from longsafety.reporting.totals_view import totals_table

        with (self.folder / TABLE).open("w", encoding="utf-8") as file:
            Console(file=file, width=120).print(totals_table(table, self.settings, counts))

    def verdicts(self, answers: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
        """The answers with verdicts on the open replies, kept in the run's folder, and what is to be said of them."""
        from longsafety.evaluation.answers import read_answers
        from longsafety.evaluation.open_replies.judge import Judge
        from longsafety.evaluation.open_replies.verdicts import give_verdicts, request, write_verdicts
        from longsafety.reporting.verdict_view import verdict_line
        from longsafety.samples.recipe import SampleFile

        evaluation = self.settings.evaluation
        judged, facts = give_verdicts(
            answers,
            {item.id: request(item) for item in SampleFile(self.data.benchmark() / SAMPLES)},
            judge=Judge(evaluation.judge, self.cache) if evaluation.judge else None,
            scoring=self.settings.scoring,
            confidence=evaluation.confidence,
        )
        print(f"  {verdict_line(facts)}", flush=True)
        return read_answers(write_verdicts(judged, self.folder)), facts

    def record(self, evaluation: dict[str, Any]) -> RunRecord:
        from longsafety.model.kept import CURVE, HISTORY, SUMMARY, read_rows
        from longsafety.scenarios.baselines import KINDS

        settings = self.settings
        trained = bool(settings.data_mix.sources)
        corpus = (
            read_json(self.data.corpus() / COUNTS)
            if trained or self.settings.evaluation.items.path is None
            else {"counts": {}}
        )
        counts = {**corpus.pop("counts"), **read_json(self.data.benchmark() / COUNTS)}
        counts |= {f"evaluation: items {reason}": n for reason, n in evaluation.get("counts", {}).items()}
        mix, training, history, curve = [], {}, [], []
        weights = self.store.folder("weights", self.keys.weights)
        if settings.data_mix.sources and weights.is_dir():
            for stage in ("samples", *KINDS):
                folder = self.store.folder(stage, getattr(self.keys, stage))
                counts |= read_json(folder / COUNTS) if folder.is_dir() else {}
            mix, training = read_json(weights / "mix.json"), read_json(weights / SUMMARY)
            history, curve = read_rows(weights / HISTORY), read_rows(weights / CURVE)
        return replace(
            self._plain_record(evaluation),
            corpus=corpus,
            mix=mix,
            counts=counts,
            training=training,
            history=history,
            curve=curve,
            capability=self._suites(),
            examples=self.examples(),
        )

    def _plain_record(self, evaluation: dict[str, Any]) -> RunRecord:
        """Without what was made or asked here."""
        settings = self.settings
        return RunRecord(
            name=settings.name,
            label=settings.label,
            key=self.keys.run,
            varied=settings.varied,
            settings=settings.model_dump(),
            stages={name: value for name, value in vars(self.keys).items() if value},
            seconds=self.data.seconds,
            evaluation=evaluation,
            environment=environment(),
        )

    def _suites(self) -> list[dict[str, Any]]:
        import pandas as pd

        path = self.folder / CAPABILITY
        table = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
        return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]

    def examples(self) -> list[Example]:
        """The first item of each task, with its safe and its complying option."""
        from longsafety.samples.recipe import SampleFile, render_context

        items = SampleFile(self.data.benchmark() / SAMPLES)
        store = self.data.bench_encoder.store
        examples: dict[str, Example] = {}
        benign: dict[str, str] = {}
        for item in items:
            if item.kind == "benign_query":
                benign.setdefault(item.pair_id, item.question)
            if item.kind != "harmful" or item.task in examples or not item.choices:
                continue
            first = item.needles[0] if item.needles else len(item.context)
            examples[item.task] = Example(
                task=item.task,
                scenario=item.scenario,
                category=item.category,
                question=item.question,
                context_excerpt=" ".join(render_context(item.context[:first], store).split()[-40:]),
                needle=" ".join(str(item.context[at]) for at in item.needles),
                safe=item.choices[item.roles.index("safe")][0],
                unsafe=item.choices[item.roles.index(item.comply_role)][0],
                benign_question=item.pair_id,
            )
        return [
            replace(example, benign_question=benign.get(example.benign_question, "")) for example in examples.values()
        ]
