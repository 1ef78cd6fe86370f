"""Executes one frozen file, in a process of its own: a run's pipeline, a sweep's comparison, or a share of the asking.

python -m longsafety.pipeline.worker run <folder with settings.yaml>
python -m longsafety.pipeline.worker compare <folder with sweep.yaml>
python -m longsafety.pipeline.worker ask <folder with settings.yaml> <folder with a share> <asking process>
"""

from __future__ import annotations

import sys
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from longsafety.environment import quiet
from longsafety.errors import ConfigError, DataError, LongSafetyError
from longsafety.pipeline.addresses import keys
from longsafety.pipeline.compare import compare, track
from longsafety.pipeline.data import SAMPLES, Making, read_json, write_json
from longsafety.pipeline.launch import DONE, SETTINGS
from longsafety.pipeline.record import CAPABILITY, Recorder
from longsafety.pipeline.show import convert, export_built, show
from longsafety.ranks import end_with_parent, first_rank, together
from longsafety.settings import Evaluation, Settings

if TYPE_CHECKING:
    from longsafety.evaluation.asking.backend import Backend

TEMPLATE = "chat_template.json"


class Worker:
    """The stages of one run, in the order of the paper: data, training, answers, scores, record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings.model_validate(yaml.safe_load((folder / SETTINGS).read_text("utf-8")))
        self.keys = keys(self.settings)
        self.data = Making(self.settings, self.keys)
        self.store, self.cache = self.data.store, self.data.cache

    def run(self) -> None:
        settings = self.settings
        if settings.rescores:
            self.recorded()
            self.score()
            (self.folder / DONE).touch()
            return
        if self.trains and not self.store.folder("weights", self.keys.weights).is_dir():
            from longsafety.model.kernels import chosen_attention

            chosen_attention(settings)  # what this machine cannot train with is an error before anything is built
        if settings.read.path is not None:
            convert(settings, self.data.tokenizer)
        else:
            if "build" in settings.stages:
                self.build()
            if "export" in settings.stages and not settings.exports_weights:
                export_built(self.data)
        if "evaluate" in settings.stages and not self.store.folder("answers", self.keys.answers).is_dir():
            if settings.evaluation.processes != 1:
                from longsafety.evaluation.backends.processes import devices

                devices(settings.evaluation, settings.trainer.accelerator)
            _ = self.asked  # what cannot be asked is told before anything is trained
        if "train" in settings.stages and settings.data_mix.sources:
            self.weights()
        if "evaluate" in settings.stages:
            self.answers()
            if self.keys.capability:
                self.capability()
        if "score" in settings.stages:
            self.score()
        if settings.exports_weights and settings.data_mix.sources:
            self.export()
        (self.folder / DONE).touch()

    def build(self) -> None:
        """Samples and benchmark; where nothing else is asked for, also their audit and gallery."""
        data, wanted = self.data, self.data.counts
        if wanted["bench"] or self.reads_items:
            data.benchmark()
        if self.settings.only_builds:
            if wanted["train"]:
                data.samples()
            show(data, self.folder)
        elif self.settings.data_mix.sources:
            data.mix()

    @property
    def trains(self) -> bool:
        return bool(self.settings.data_mix.sources) and bool({"train", "evaluate"} & {*self.settings.stages})

    @property
    def reads_items(self) -> bool:
        return self.settings.evaluation.items.path is not None

    @property
    def reports(self) -> bool:
        return self.settings.tracking.enabled and {"score", "report"} <= set(self.settings.stages)

    def weights(self) -> Path:
        def make(folder: Path) -> None:
            from rich.console import Console

            from longsafety.data.length_table import length_rows
            from longsafety.data.tokens import TokenRows
            from longsafety.model.load import template_hash
            from longsafety.model.train import ROWS, encode, train
            from longsafety.reporting.tables import lengths_table

            mix, curve = self.data.mix(), self.curve()
            self._show_mix(mix.rows)
            lost = encode(mix.samples, self.data.encoder, self.settings, folder)
            lengths = length_rows(mix.sources, TokenRows(folder / ROWS), lost)
            Console().print(lengths_table(lengths))
            with together(folder):
                train(self.settings, folder, pad_id=int(self.data.tokenizer.pad_token_id), curve=curve)
            told = {row["source"]: row for row in lengths}
            write_json(folder / "mix.json", [{**row, **told[row["source"]]} for row in mix.rows])
            write_json(folder / TEMPLATE, template_hash(self.data.tokenizer))

        return self.data.stage("weights", self.keys.weights, make, resumable=True)

    def join(self) -> None:
        """What every rank but the first does: it takes part in the training that the first prepares."""
        end_with_parent()
        settings = self.settings
        if not self.trains:
            return
        from longsafety.model.train import prepared, train

        partial = self.store.partial("weights", self.keys.weights)
        while not self.store.folder("weights", self.keys.weights).is_dir():
            if prepared(partial):
                curve = self.curve()
                with together(partial):
                    train(settings, partial, pad_id=int(self.data.tokenizer.pad_token_id), curve=curve)
                return
            time.sleep(0.5)

    def curve(self) -> Any:
        """What asks a part of the benchmark during training; ``None`` where no curve is wanted."""
        settings = self.settings
        if settings.training.curve_every_steps is None:
            return None
        from longsafety.evaluation.curve import Curve, curve_evaluation

        evaluation = curve_evaluation(settings.evaluation, settings.training)
        items = self._asked(evaluation).items
        tokens = settings.length.bench_tokens
        return Curve(items, self.data.bench_encoder, evaluation, settings.training, tokens)

    @cached_property
    def asked(self) -> Any:
        """The items that are asked, with what was cut of them, and counted."""
        found = self._asked(self.settings.evaluation)
        for reason, count in found.counts.items():
            print(f"  {count} of the benchmark's items {reason}", flush=True)
        return found

    def _asked(self, evaluation: Evaluation) -> Any:
        from longsafety.evaluation.asking.selection import select_and_fit
        from longsafety.samples.recipe import read_samples

        return select_and_fit(
            read_samples(self.data.benchmark() / SAMPLES),
            self.data.bench_encoder,
            evaluation,
            max_tokens=self.settings.length.bench_tokens,
            window=self.settings.model.window,
        )

    def _check_template(self, weights: Path) -> None:
        """Weights of an earlier version do not tell their template; nothing is known of them."""
        from longsafety.model.load import template_hash

        told, own = weights / TEMPLATE, template_hash(self.data.tokenizer)
        if self.settings.evaluation.allow_template_mismatch or not told.is_file() or read_json(told) == own:
            return
        raise ConfigError([
            f"evaluation.allow_template_mismatch = false: the weights of {self.settings.label} were trained with the "
            f"chat template {read_json(told)}, and {self.settings.model.source} has {own} now; restore the template, "
            "train anew (a new paths.outputs or seed), or set it to true"
        ])  # fmt: skip

    def answers(self) -> Path:
        def make(folder: Path) -> None:
            from rich.progress import Progress

            from longsafety.evaluation.asking.ask import collect_answers
            from longsafety.evaluation.asking.trials import trials_of
            from longsafety.model.load import template_hash

            settings, items = self.settings, self.asked.items
            backend = self.backend(folder)
            began = time.perf_counter()
            with Progress(transient=True) as bar:
                task = bar.add_task(f"{settings.label}: asking", total=len(items))
                collect_answers(
                    items,
                    backend,
                    self.data.bench_encoder,
                    settings.evaluation,
                    max_tokens=settings.length.bench_tokens,
                    folder=folder,
                    progress=lambda: bar.advance(task),
                    cuts=self.asked.cuts,
                )
            facts = {
                "items": len({item.pair_id for item in items}),
                "answers": sum(len(trials_of(item, settings.evaluation)) for item in items),
                "seconds": time.perf_counter() - began,
                "counts": self.asked.counts,
                "chat_template": template_hash(self.data.tokenizer),
                **backend.facts(),
            }
            write_json(folder / "evaluation.json", facts)

        return self.data.stage("answers", self.keys.answers, make, resumable=True)

    def ask_share(self, folder: Path) -> None:
        """One of :mod:`longsafety.evaluation.backends.processes`: answers the share that lies in ``folder``."""
        from longsafety.evaluation.backends.processes import Share, answer_share
        from longsafety.model.device import use_threads

        share, settings = Share.load(folder), self.settings
        use_threads(share.threads)
        answer_share(
            share,
            self._asked(settings.evaluation),
            self.local_backend(),
            self.data.bench_encoder,
            settings.evaluation,
            max_tokens=settings.length.bench_tokens,
            folder=folder,
        )

    def backend(self, folder: Path) -> Backend:
        """The backend that the settings name. Processes work in ``folder``."""
        settings, server = self.settings, self.settings.evaluation.server
        if server is not None and settings.evaluation.backend == "openai":
            from longsafety.evaluation.backends.server import ServerBackend

            return ServerBackend(server)
        import torch

        from longsafety.evaluation.backends.processes import Processes, devices
        from longsafety.model.device import chosen_precision, use_threads

        use_threads(settings.trainer.num_threads)
        if settings.data_mix.sources:
            self._check_template(self.weights())
        accelerator = settings.trainer.accelerator
        precision, _ = chosen_precision(settings.evaluation.precision, accelerator, trains=False)
        if settings.evaluation.backend == "vllm":
            from longsafety.evaluation.backends.vllm import VllmBackend

            return VllmBackend(self.network(), self.data.tokenizer, precision=precision, window=settings.model.window)
        shared = devices(settings.evaluation, accelerator)
        if len(shared) > 1:
            threads = torch.get_num_threads()
            return Processes(self.folder, folder, shared, threads=threads, precision=precision, accelerator=accelerator)
        return self.local_backend()

    def local_backend(self) -> Backend:
        """The arm's model, by transformers, in this process."""
        from longsafety.evaluation.backends.transformers import TransformersBackend
        from longsafety.model.device import chosen_precision

        settings, accelerator = self.settings, self.settings.trainer.accelerator
        precision, _ = chosen_precision(settings.evaluation.precision, accelerator, trains=False)
        return TransformersBackend(self.network(), precision=precision, accelerator=accelerator)

    def recorded(self) -> Path:
        """Answers that others recorded, as ours."""

        def make(folder: Path) -> None:
            from longsafety.evaluation.answers import ANSWERS, write_answers
            from longsafety.evaluation.scores.official import read_official

            settings = self.settings
            read = read_official(
                Path(str(settings.evaluation.answers)),
                scoring=settings.scoring,
                known=self._known_options(),
                on_bad_row=settings.on_bad_row,
            )
            for line in read.bad:
                print(f"  left out   {line}", flush=True)
            write_answers(read.rows, folder / ANSWERS)
            facts = {"items": len(read.rows), "answers": len(read.rows), "recorded": read.counts, "bad": read.bad}
            write_json(folder / "evaluation.json", facts)

        return self.data.stage("answers", self.keys.answers, make)

    def _known_options(self) -> dict[str, list[str]] | None:
        """Item id → options, unsafe → safe, where the benchmark's file is given."""
        from longsafety.formats.public import read_public

        items = self.settings.evaluation.items
        if items.path is None:
            return None
        samples = read_public(items.path, schema=items.format, split=items.split).samples
        return {item.id: [wordings[0] for wordings in item.choices] for item in samples if item.kind == "harmful"}

    def network(self) -> Any:
        """The arm's model, on the CPU."""
        from longsafety.model.kept import WEIGHTS, load_trained
        from longsafety.model.load import load_model

        settings, seed, rope = self.settings, self.settings.seed, self.settings.length.rope
        if settings.data_mix.sources:
            return load_trained(settings.model, self.weights() / WEIGHTS, self.cache, seed=seed, rope=rope)
        return load_model(settings.model, self.cache, seed=seed, rope=rope)

    def capability(self) -> Path:
        """The scores of standard suites."""

        def make(folder: Path) -> None:
            import pandas as pd

            from longsafety.evaluation.backends.transformers import TransformersBackend
            from longsafety.evaluation.suites.capability import COLUMNS, measure
            from longsafety.evaluation.suites.in_context import measure_in_context
            from longsafety.evaluation.suites.names import IN_CONTEXT, harness_suites
            from longsafety.model.device import chosen_precision, use_threads

            settings, evaluation = self.settings, self.settings.evaluation
            use_threads(settings.trainer.num_threads)
            precision, _ = chosen_precision(evaluation.precision, settings.trainer.accelerator, trains=False)
            placed = TransformersBackend(self.network(), precision=precision, accelerator=settings.trainer.accelerator)
            limit, rows = evaluation.capability_limit, []
            if harness := harness_suites(evaluation.capability):
                rows += measure(
                    placed.network,
                    self.data.tokenizer,
                    harness,
                    limit=limit,
                    batch_size=8,
                    window=settings.model.window,
                    seed=settings.seed,
                )
            if IN_CONTEXT in evaluation.capability:  # last, for the network attends in another way then
                rows += measure_in_context(
                    placed,
                    self.data.tokenizer,
                    settings.scenario.language,
                    tokens=settings.length.bench_tokens,
                    limit=limit,
                    seed=settings.seed,
                )
            for row in rows:
                print(
                    f"  {row['task']}: {row['metric']} {row['value']:.3f} ± {row['stderr']:.3f} (n = {row['n']})",
                    flush=True,
                )
            pd.DataFrame(rows, columns=COLUMNS).to_parquet(folder / CAPABILITY)

        return self.data.stage("capability", self.keys.capability, make)

    def export(self) -> None:
        """Writes the trained model for others; its card holds the scores, where there are some."""
        import pandas as pd

        from longsafety.model.export import export_weights
        from longsafety.model.kept import SUMMARY, WEIGHTS

        settings, kept = self.settings, self.store.folder("weights", self.keys.weights)
        if not kept.is_dir():
            raise DataError(f"stages = [export]: no trained weights are kept for {settings.label}; add train to stages")
        scores = []
        if (self.folder / "scores.parquet").is_file():
            table = pd.read_parquet(self.folder / "scores.parquet")
            whole = table[table["task"] == "all"].round(3)
            scores = whole[["scorer", "metric", "max_tokens", "n", "value", "low", "high"]].to_dict("records")
        facts = {
            "mix": read_json(kept / "mix.json"),
            "training": read_json(kept / SUMMARY),
            "scores": scores or None,
            "base_licence": settings.model.licence,
        }
        done = export_weights(settings, kept / WEIGHTS, Path(str(settings.export.path)), facts=facts)
        print(
            f"  weights in {settings.export.path}: {done['parameters']:,} parameters, {done['dtype']}; read again, "
            f"their logits differ by at most {done['max_difference']:.1e}",
            flush=True,
        )

    def score(self) -> None:
        """Scores the kept answers (no model needed) and writes the record."""
        Recorder(self.folder, self.settings, self.keys, self.data).score()

    def _show_mix(self, rows: list[dict[str, Any]]) -> None:
        from rich.console import Console

        from longsafety.reporting.tables import mix_table

        Console().print(mix_table(rows))


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "ask":
        end_with_parent(int(sys.argv[4]))
    quiet()
    try:
        if what == "run":
            worker = Worker(folder)
            if not first_rank():
                worker.join()
                return
            worker.run()
            if worker.reports and len(sys.argv) > 3:
                track(folder, Path(sys.argv[3]))
        elif what == "ask":
            Worker(folder).ask_share(Path(sys.argv[3]))
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
