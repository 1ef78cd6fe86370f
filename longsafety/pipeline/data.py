"""Makes the data of one run, stage by stage: seeds, corpus, samples, benchmark, other arms' samples, audit, export."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from longsafety.errors import DataError
from longsafety.pipeline.addresses import Keys
from longsafety.settings import Settings
from longsafety.stages import Store

SAMPLES, SEEDS, CONTEXT_SEEDS, COUNTS, AUDIT = (
    "samples.parquet",
    "seeds.jsonl",
    "context_seeds.jsonl",
    "counts.json",
    "audit.json",
)
STORE = "store"
"""The contexts of items that were read from a file, beside them."""


class Making:
    """The data stages of one run; each is made when it is first asked for, and kept."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self.settings, self.keys = settings, keys
        self.store = Store(Path(settings.paths.outputs))
        self.cache = Path(settings.paths.cache)
        self.seconds: dict[str, float] = {}
        """Stage → seconds, of those made now."""

    def stage(self, name: str, key: str, make: Callable[[Path], None], *, resumable: bool = False) -> Path:
        """The folder of a stage; ``make`` fills it where it is missing."""
        began = time.perf_counter()
        folder, made = self.store.ensure(name, key, make, resumable=resumable)
        if made:
            self.seconds[name] = time.perf_counter() - began
            print(f"  {name:<12}{self.seconds[name]:7.1f} s  {folder.name}", flush=True)
        return folder

    @cached_property
    def tokenizer(self) -> Any:
        from longsafety.model.load import load_tokenizer

        return load_tokenizer(self.settings.model, self.cache)

    @cached_property
    def teacher(self) -> Any:
        """What writes for us; None: the template."""
        from longsafety.scenarios.teacher.teacher import open_teacher

        return open_teacher(self.settings.teacher, Path(self.settings.paths.outputs))

    def seeds(self) -> Path:
        """The seed items, with what they lacked written by the teacher."""

        def make(folder: Path) -> None:
            from longsafety.samples.language import LANGUAGES
            from longsafety.scenarios.seeds.load import load_seeds
            from longsafety.scenarios.seeds.seed import write_seeds
            from longsafety.scenarios.seeds.shipped import SHIPPED
            from longsafety.scenarios.teacher.complete import complete

            scenario = self.settings.scenario
            found = load_seeds(scenario.seeds, scenario.language, on_bad_row=self.settings.on_bad_row)
            done = complete(found.seeds, self.teacher, scenario.language)
            for line in found.bad:
                print(f"  left out   {line}", flush=True)
            write_seeds(done.seeds, folder / SEEDS)
            others: list[Any] = []
            if (
                scenario.seeds == SHIPPED
                and scenario.context_language in LANGUAGES
                and scenario.context_language != scenario.language
            ):
                others = load_seeds(SHIPPED, scenario.context_language).seeds
            write_seeds(others, folder / CONTEXT_SEEDS)
            write_json(folder / COUNTS, {**found.counts, **done.counts})

        return self.stage("seeds", self.keys.seeds, make)

    def corpus(self) -> Path:
        """Documents, and the texts that are made of seed items, tokenised once."""

        def make(folder: Path) -> None:
            from longsafety.corpus.corpus import read_documents
            from longsafety.samples.store import TokenStore
            from longsafety.scenarios.seeds.seed import read_seeds
            from longsafety.scenarios.tasks.fully_harmful import made_documents

            seeds = self.seeds()
            read = read_documents(self.settings.corpus)
            # Such a document could close the user's turn and speak in another's place.
            special = set(self.tokenizer.all_special_tokens)
            documents = [item for item in read.documents if not any(token in item.text for token in special)]
            counts = {
                **read.counts,
                "left out: holds a special token of the model": len(read.documents) - len(documents),
            }
            made = made_documents(read_seeds(seeds / CONTEXT_SEEDS) or read_seeds(seeds / SEEDS))
            TokenStore.build(folder, [*documents, *made], self.tokenizer)
            store = TokenStore.open(folder)
            facts = {
                "source": self.settings.corpus.source,
                "documents": len(documents),
                "tokens": sum(store.num_tokens(number) for number in range(len(documents))),
                "licence": read.licence,
                "fingerprint": read.fingerprint,
                "counts": {
                    **{f"corpus: {reason}": count for reason, count in counts.items() if count},
                    **read_json(seeds / COUNTS),
                },
            }
            write_json(folder / COUNTS, facts)

        return self.stage("corpus", self.keys.corpus, make)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What is known of the corpus."""
        facts: dict[str, Any] = read_json(self.corpus() / COUNTS)
        return facts

    @cached_property
    def encoder(self) -> Any:
        from longsafety.samples.encode import ChatEncoder
        from longsafety.samples.store import TokenStore

        return ChatEncoder(self.tokenizer, TokenStore.open(self.corpus()))

    def builder(self, split: str) -> Any:
        from longsafety.scenarios.build import build
        from longsafety.scenarios.seeds.seed import read_seeds

        settings, seeds = self.settings, self.seeds()
        return build(
            settings.scenario,
            settings.length,
            read_seeds(seeds / SEEDS),
            self.encoder,
            split=split,
            seed=settings.seed,
            context_seeds={seed.id: seed for seed in read_seeds(seeds / CONTEXT_SEEDS)},
        )

    def samples(self) -> Path:
        """The training samples of every task, with their twins."""
        return self._built("samples", self.keys.samples, "train")

    def benchmark(self) -> Path:
        """The benchmark items of every task, with their twins; or those of ``evaluation.items``, with their texts."""
        if self.settings.evaluation.items.path is not None:
            return self._read_items()
        return self._built("benchmark", self.keys.benchmark, "bench")

    def _read_items(self) -> Path:
        def make(folder: Path) -> None:
            from longsafety.samples.recipe import write_samples
            from longsafety.scenarios.items import read_items

            settings = self.settings
            found = read_items(
                settings.evaluation.items,
                self.tokenizer,
                folder / STORE,
                seed=settings.seed,
                on_bad_row=settings.on_bad_row,
            )
            for line in found.bad:
                print(f"  left out   {line}", flush=True)
            for reason, count in found.counts.items():
                print(f"  {reason}: {count}", flush=True)
            write_samples(found.items, folder / SAMPLES)
            write_json(folder / COUNTS, found.counts)

        return self.stage("benchmark", self.keys.benchmark, make)

    @cached_property
    def bench_encoder(self) -> Any:
        """Renders the benchmark's items."""
        if self.settings.evaluation.items.path is None:
            return self.encoder
        from longsafety.samples.encode import ChatEncoder
        from longsafety.samples.store import TokenStore

        return ChatEncoder(self.tokenizer, TokenStore.open(self.benchmark() / STORE))

    def _built(self, stage: str, key: str, split: str) -> Path:
        def make(folder: Path) -> None:
            from rich.progress import Progress

            from longsafety.scenarios.build import num_workers, write

            builder = self.builder(split)
            with Progress(transient=True) as bar:
                task = bar.add_task(f"{stage}: building", total=sum(builder.counts.values()))
                write(
                    builder,
                    folder / SAMPLES,
                    workers=num_workers(self.settings.trainer.num_threads),
                    progress=lambda items: bar.advance(task, items),
                )
            write_json(folder / COUNTS, {f"{split}: {name}": count for name, count in builder.counts.items()})

        return self.stage(stage, key, make)

    def controls(self, kind: str) -> Path:
        """The samples of ``short_safety`` or ``long_align``: as many as the tasks' together."""

        def make(folder: Path) -> None:
            from longsafety.samples.recipe import write_samples
            from longsafety.scenarios.baselines import controls
            from longsafety.scenarios.teacher.complete import context_questions

            builder = self.builder("train")
            language = self.settings.scenario.language

            def ask(passages: Sequence[str]) -> Any:
                return context_questions(passages, self.teacher, language)

            count = sum(builder.counts.values())
            made = write_samples(controls(builder, kind, count, ask if self.teacher else None), folder / SAMPLES)
            write_json(folder / COUNTS, {f"train: {kind}": made})

        return self.stage(kind, getattr(self.keys, kind), make)

    @property
    def counts(self) -> dict[str, bool]:
        """Whether the scenario has training samples and benchmark items."""
        tasks = self.settings.scenario.tasks.values()
        return {"train": any(task.train for task in tasks), "bench": any(task.bench for task in tasks)}

    def audit(self) -> Path:
        """What was built, checked and counted."""

        def make(folder: Path) -> None:
            from longsafety.samples.recipe import SampleFile
            from longsafety.scenarios.audit.audit import audit

            train = SampleFile(self.samples() / SAMPLES) if self.counts["train"] else []
            bench = SampleFile(self.benchmark() / SAMPLES) if self.counts["bench"] else []
            audit(train, bench, self.encoder, corpus_licence=self.facts["licence"]).save(folder / AUDIT)

        return self.stage("audit", self.keys.audit, make)

    def mix(self) -> Any:
        """The training samples of the arm."""
        from longsafety.data.mix import compose_mix
        from longsafety.formats.public import read_public
        from longsafety.samples.recipe import SampleFile
        from longsafety.scenarios.baselines import KINDS

        settings = self.settings
        kinds = {source.kind for source in settings.data_mix.sources.values()}
        folders = [self.controls(kind) for kind in KINDS if kind in kinds]
        if kinds - {*KINDS, "chats"}:
            folders.append(self.samples())
        files = [SampleFile(folder / SAMPLES) for folder in folders]
        read: dict[str, list[Any]] = {}
        for name, source in settings.data_mix.sources.items():
            if source.kind == "chats":
                assert source.path is not None
                chats = read_public(source.path, schema=source.format, on_bad_row=settings.on_bad_row)
                for line in chats.bad:
                    print(f"  left out   {line}", flush=True)
                if chats.kind != "chats":
                    raise DataError(
                        f"data_mix.sources.{name}.path = {source.path}: {chats.schema} holds {chats.kind}, no training "
                        "chats; give a file with answers"
                    )
                read[name] = [self._measured(sample, name) for sample in chats.samples]
        encoder = self.encoder
        return compose_mix(
            settings.data_mix,
            files,
            lambda sample: len(encoder.answer_ids(sample.question, sample.answer)),
            licence=self.facts["licence"],
            seed=settings.seed,
            chats=read,
        )

    def _measured(self, sample: Any, source: str) -> Any:
        ids, _ = self.encoder.sample_ids(sample)
        if len(ids) > self.settings.length.training_tokens:
            raise DataError(
                f"data_mix.sources.{source}: {sample.id} has {len(ids)} tokens, more than the "
                f"{self.settings.length.training_tokens} of length.max_tokens; raise it or shorten the sample"
            )
        return sample.replace(num_tokens=len(ids))


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
