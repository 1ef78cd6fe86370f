"""Executes one frozen file, in a process of its own: a run's pipeline, or a sweep's comparison.

python -m longsafety.worker run <folder with settings.yaml>
python -m longsafety.worker compare <folder with sweep.yaml>
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from longsafety.compare import compare, track
from longsafety.environment import environment, quiet
from longsafety.errors import DataError, LongSafetyError
from longsafety.keys import keys
from longsafety.launch import DONE, SETTINGS
from longsafety.settings import Settings
from longsafety.stages import Store
from longsafety.tracking.record import Example, RunRecord

TRAIN, BENCH, COUNTS = "train.parquet", "bench.parquet", "counts.json"


class Worker:
    """The stages of one run, in the order of the paper: data, training, answers, scores, record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings.model_validate(yaml.safe_load((folder / SETTINGS).read_text("utf-8")))
        self.keys = keys(self.settings)
        self.store = Store(Path(self.settings.paths.outputs))
        self.cache = Path(self.settings.paths.cache)
        self.seconds: dict[str, float] = {}
        self._encoder: Any = None

    def run(self) -> None:
        settings = self.settings
        if "build" in settings.stages:
            self.corpus()
            self.benchmark()
            if settings.data_mix.sources:
                self.samples()
        if "train" in settings.stages and settings.data_mix.sources:
            self.weights()
        if "evaluate" in settings.stages:
            self.answers()
        if "score" in settings.stages:
            self.score()
        (self.folder / DONE).touch()

    @property
    def reports(self) -> bool:
        return self.settings.tracking.enabled and {"score", "report"} <= set(self.settings.stages)

    def corpus(self) -> Path:
        """Documents and the seed items' exchanges, tokenised once."""

        def make(folder: Path) -> None:
            from longsafety.model.load import load_tokenizer
            from longsafety.scenarios.corpus import Document, read_documents
            from longsafety.scenarios.fully_harmful import exchange
            from longsafety.scenarios.recipe import EXCHANGE
            from longsafety.scenarios.seeds import load_seeds
            from longsafety.scenarios.store import TokenStore

            seeds = load_seeds(self.settings.scenario.seeds)
            read = read_documents(self.settings.corpus)
            exchanges = [Document(EXCHANGE + seed.id, exchange(seed)) for seed in seeds.seeds if seed.request]
            tokenizer = load_tokenizer(self.settings.model, self.cache)
            # Such a document could close the user's turn and speak in another's place.
            special = set(tokenizer.all_special_tokens)
            documents = [item for item in read.documents if not any(token in item.text for token in special)]
            TokenStore.build(folder, [*documents, *exchanges], tokenizer)
            store = TokenStore.open(folder)
            counts = {
                **read.counts,
                "left out: holds a special token of the model": len(read.documents) - len(documents),
            }
            facts = {
                "source": self.settings.corpus.source,
                "documents": len(documents),
                "tokens": sum(store.num_tokens(number) for number in range(len(documents))),
                "licence": read.licence,
                "fingerprint": read.fingerprint,
                "counts": {**{f"corpus: {reason}": count for reason, count in counts.items() if count}, **seeds.counts},
            }
            _write_json(folder / COUNTS, facts)

        return self._stage("corpus", self.keys.corpus, make)

    def encoder(self) -> Any:
        if self._encoder is None:
            from longsafety.model.load import load_tokenizer
            from longsafety.scenarios.encode import ChatEncoder
            from longsafety.scenarios.store import TokenStore

            store = TokenStore.open(self.corpus())
            self._encoder = ChatEncoder(load_tokenizer(self.settings.model, self.cache), store)
        return self._encoder

    def samples(self) -> Path:
        return self._built("samples", self.keys.samples, "train", self.settings.length.training_tokens)

    def benchmark(self) -> Path:
        return self._built("benchmark", self.keys.benchmark, "bench", self.settings.length.bench_tokens)

    def _built(self, stage: str, key: str, split: str, target_tokens: int) -> Path:
        def make(folder: Path) -> None:
            from longsafety.scenarios.build import build
            from longsafety.scenarios.recipe import write_samples
            from longsafety.scenarios.seeds import load_seeds

            settings = self.settings
            built = build(
                settings.scenario,
                load_seeds(settings.scenario.seeds).seeds,
                self.encoder(),
                split=split,
                target_tokens=target_tokens,
                seed=settings.seed,
            )
            write_samples(built.samples, folder / f"{split}.parquet")
            _write_json(folder / COUNTS, built.counts)

        return self._stage(stage, key, make)

    def mix(self) -> Any:
        from longsafety.data.mix import compose_mix
        from longsafety.scenarios.recipe import read_samples

        encoder, facts = self.encoder(), _read_json(self.corpus() / COUNTS)
        return compose_mix(
            self.settings.data_mix,
            read_samples(self.samples() / TRAIN),
            lambda sample: len(encoder.literal_ids(encoder.answer_text(sample.question, sample.answer))),
            licence=facts["licence"],
            seed=self.settings.seed,
        )

    def weights(self) -> Path:
        def make(folder: Path) -> None:
            from longsafety.model.train import train

            mix = self.mix()
            self._show_mix(mix.rows)
            train(self.settings, mix, self.encoder(), folder)
            _write_json(folder / "mix.json", mix.rows)

        return self._stage("weights", self.keys.weights, make, resumable=True)

    def answers(self) -> Path:
        def make(folder: Path) -> None:
            from rich.progress import Progress

            from longsafety.evaluation.ask import ask, selected
            from longsafety.evaluation.backend import TransformersBackend
            from longsafety.model.device import chosen_precision, use_threads
            from longsafety.model.load import load_model
            from longsafety.model.train import WEIGHTS, load_trained
            from longsafety.scenarios.recipe import read_samples

            settings = self.settings
            use_threads(settings.trainer.num_threads)
            items = selected(read_samples(self.benchmark() / BENCH), settings.evaluation)
            seed = settings.seed
            if settings.data_mix.sources:
                network = load_trained(settings.model, self.weights() / WEIGHTS, self.cache, seed=seed)
            else:
                network = load_model(settings.model, self.cache, seed=seed)
            precision, device = chosen_precision(
                settings.evaluation.precision, settings.trainer.accelerator, trains=False
            )
            backend = TransformersBackend(network, precision=precision, accelerator=settings.trainer.accelerator)
            began = time.perf_counter()
            with Progress(transient=True) as bar:
                task = bar.add_task(f"{settings.label}: asking", total=len(items))
                ask(
                    items,
                    backend,
                    self.encoder(),
                    settings.evaluation,
                    max_tokens=settings.length.bench_tokens,
                    folder=folder,
                    progress=lambda: bar.advance(task),
                )
            facts = {
                "items": len({item.pair_id for item in items}),
                "answers": len(items) * len(settings.evaluation.scorers),
                "seconds": time.perf_counter() - began,
                "prefilled_tokens": backend.prefilled_tokens,
                "reused_tokens": backend.reused_tokens,
                "precision": precision,
                "device": device,
            }
            _write_json(folder / "evaluation.json", facts)

        return self._stage("answers", self.keys.answers, make, resumable=True)

    def score(self) -> None:
        """Scores the kept answers (no model needed), writes the record and tells MLflow."""
        from longsafety.evaluation.ask import ANSWERS
        from longsafety.evaluation.scoring import read_answers, score

        folder = self.store.folder("answers", self.keys.answers)
        if not folder.is_dir():
            raise DataError(
                f"stages = [score]: no answers are kept for {self.settings.label} ({folder}); add evaluate to stages"
            )
        answers = read_answers(folder / ANSWERS)
        scores = score(answers, scoring=self.settings.scoring, confidence=self.settings.evaluation.confidence)
        scores.to_parquet(self.folder / "scores.parquet")
        scores.to_csv(self.folder / "scores.csv", index=False)
        self.record(_read_json(folder / "evaluation.json")).save(self.folder)

    def record(self, evaluation: dict[str, Any]) -> RunRecord:
        from longsafety.model.train import HISTORY, SUMMARY, read_history

        settings = self.settings
        corpus = _read_json(self.corpus() / COUNTS)
        counts = {**corpus.pop("counts"), **_read_json(self.benchmark() / COUNTS)}
        mix, training, history = [], {}, []
        weights = self.store.folder("weights", self.keys.weights)
        if settings.data_mix.sources and weights.is_dir():
            counts |= _read_json(self.samples() / COUNTS)
            mix, training = _read_json(weights / "mix.json"), _read_json(weights / SUMMARY)
            history = read_history(weights / HISTORY)
        return RunRecord(
            name=settings.name,
            label=settings.label,
            key=self.keys.run,
            varied=settings.varied,
            settings=settings.model_dump(),
            stages={name: value for name, value in vars(self.keys).items() if value},
            seconds=self.seconds,
            corpus=corpus,
            mix=mix,
            counts=counts,
            training=training,
            history=history,
            evaluation=evaluation,
            environment=environment(),
            examples=self.examples(),
        )

    def examples(self) -> list[Example]:
        """The first item of each task, with its safe and its complying option."""
        from longsafety.scenarios.recipe import read_samples, render_context

        items = read_samples(self.benchmark() / BENCH)
        benign = {item.pair_id: item.question for item in items if item.kind == "benign_query"}
        store, examples = self.encoder().store, {}
        for item in items:
            if item.kind != "harmful" or item.task in examples:
                continue
            before = item.context if item.needle < 0 else item.context[: item.needle]
            examples[item.task] = Example(
                task=item.task,
                scenario=item.scenario,
                category=item.category,
                question=item.question,
                context_excerpt=" ".join(render_context(before, store).split()[-40:]),
                needle=str(item.context[item.needle]) if item.needle >= 0 else "",
                safe=item.choices[item.roles.index("safe")][0],
                unsafe=item.choices[item.roles.index(item.comply_role)][0],
                benign_question=benign.get(item.pair_id, ""),
            )
        return list(examples.values())

    def _stage(self, name: str, key: str, make: Callable[[Path], None], *, resumable: bool = False) -> Path:
        began = time.perf_counter()
        folder, made = self.store.ensure(name, key, make, resumable=resumable)
        if made:
            self.seconds[name] = time.perf_counter() - began
            print(f"  {name:<10}{self.seconds[name]:7.1f} s  {folder.name}", flush=True)
        return folder

    def _show_mix(self, rows: list[dict[str, Any]]) -> None:
        from rich.console import Console

        from longsafety.tracking.tables import mix_table

        Console().print(mix_table(rows))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    quiet()
    try:
        if what == "run":
            worker = Worker(folder)
            worker.run()
            if worker.reports and len(sys.argv) > 3:
                track(folder, Path(sys.argv[3]))
        else:
            compare(folder)
    except LongSafetyError as error:
        print(f"longsafety: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in (28, 122):  # no space left, quota exceeded
            raise
        print(f"longsafety: {folder}: the disk is full; free space and give the same command again", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
