"""The builder: from documents and seed items to training samples and benchmark items, as recipes."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from longsafety.errors import DataError
from longsafety.scenarios.assemble import Context, fit
from longsafety.scenarios.encode import ChatEncoder
from longsafety.scenarios.fully_harmful import ManyShotJailbreak
from longsafety.scenarios.long_align import long_align_samples
from longsafety.scenarios.partially_harmful import HarmfulNIAH
from longsafety.scenarios.query_harmful import KeywordRAG
from longsafety.scenarios.recipe import EXCHANGE, Sample, Segment
from longsafety.scenarios.seeds import Seed, split_seeds
from longsafety.scenarios.store import TokenStore
from longsafety.scenarios.task import OPENERS, Pool, Query, Task
from longsafety.settings import Scenario

TASKS: Mapping[str, Task] = {task.name: task for task in (HarmfulNIAH(), KeywordRAG(), ManyShotJailbreak())}


@dataclass(frozen=True)
class Build:
    """Samples and what was handled on the way (reason → count)."""

    samples: list[Sample]
    counts: dict[str, int]


def task_counts(scenario: Scenario, split: str) -> dict[str, int]:
    """Samples a task, the table's counts scaled to the scenario's total by largest remainder."""
    table = {name: counts.train if split == "train" else counts.bench for name, counts in scenario.tasks.items()}
    total = scenario.train_samples if split == "train" else scenario.bench_items
    whole = sum(table.values())
    if total is None or whole == 0:
        return table
    exact = {name: count * total / whole for name, count in table.items()}
    scaled = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (scaled[name] - exact[name], name))
    for name in by_remainder[: total - sum(scaled.values())]:
        scaled[name] += 1
    return scaled


def split_documents(store: TokenStore, *, bench_fraction: float, seed: int) -> dict[str, list[int]]:
    """Disjoint document numbers for ``train`` and ``bench``: the benchmark gets its share of the tokens."""
    corpus = [number for number, name in enumerate(store.ids) if not name.startswith(EXCHANGE)]
    if len(corpus) < 2:
        raise DataError(
            f"corpus: {len(corpus)} document(s); training and benchmark share none, so at least 2 are needed"
        )
    order = sorted(corpus, key=lambda number: hashlib.sha256(f"{seed}/{store.ids[number]}".encode()).hexdigest())
    wanted = bench_fraction * sum(store.num_tokens(number) for number in corpus)
    bench: list[int] = []
    taken = 0
    for number in order[:-1]:
        if bench and taken >= wanted:
            break
        bench.append(number)
        taken += store.num_tokens(number)
    chosen = set(bench)
    return {"bench": sorted(bench), "train": sorted(set(corpus) - chosen)}


def build(
    scenario: Scenario, seeds: Sequence[Seed], encoder: ChatEncoder, *, split: str, target_tokens: int, seed: int
) -> Build:
    """All samples of a split with their twins; for training also the other arms' samples."""
    parts = split_seeds(seeds, bench_fraction=scenario.bench_fraction, seed=seed)
    documents = split_documents(encoder.store, bench_fraction=scenario.bench_fraction, seed=seed)
    numbers = {name: number for number, name in enumerate(encoder.store.ids)}
    pool = Pool(
        store=encoder.store,
        documents=documents[split],
        seeds=parts[split],
        exchanges={item.id: numbers[EXCHANGE + item.id] for item in parts[split] if item.request},
        target_tokens=target_tokens,
    )
    counts: Counter[str] = Counter()
    samples: list[Sample] = []
    for name, count in task_counts(scenario, split).items():
        builder = _TaskBuilder(TASKS[name], pool, encoder, split, seed)
        for index in range(count):
            samples += builder.item(index, scenario.depths[index % len(scenario.depths)])
        counts[f"{split}: {name}"] = count
    if split == "train":
        total = sum(task_counts(scenario, split).values())
        samples += _short_safety(parts["short_safety"], encoder, total)
        samples += long_align_samples(pool, encoder, total, seed)
    return Build(samples, dict(counts))


class _TaskBuilder:
    """Builds the items of one task in one split."""

    def __init__(self, task: Task, pool: Pool, encoder: ChatEncoder, split: str, seed: int) -> None:
        self.task, self.pool, self.encoder, self.split, self.seed = task, pool, encoder, split, seed
        self.seeds = [item for item in pool.seeds if task.accepts(item)]
        random.Random(f"{seed}/{task.name}/{split}").shuffle(self.seeds)
        if not self.seeds:
            raise DataError(
                f"scenario.tasks.{task.name}: no seed item of the {split} split has what this task needs; "
                "give more seeds (scenario.seeds) or leave the task out"
            )

    def item(self, index: int, depth: float) -> Iterator[Sample]:
        """The harmful item and its twins. The draft does not depend on the length, so items pair across lengths."""
        seed = self.seeds[index % len(self.seeds)]
        name = f"{self.task.name}-{self.split}-{index:05d}"
        rng = random.Random(f"{self.seed}/{name}")
        query = self.task.query(seed)
        draft = self.task.draft(seed, self.pool, rng, depth)
        context = fit(
            draft,
            self.encoder,
            question=query.question,
            answer=query.answer if self.split == "train" else None,
            target_tokens=self.pool.target_tokens,
            where=name,
        )
        order = list(range(4))
        rng.shuffle(order)
        needle = () if context.needle < 0 else (str(context.segments[context.needle]),)

        def sample(kind: str, segments: tuple[Segment, ...], query: Query, target: int) -> Sample:
            roles, choices = self.task.choices(seed, kind)
            return Sample(
                id=name if kind == "harmful" else f"{name}-{kind}",
                pair_id=name,
                task=self.task.name,
                scenario=self.task.scenario,
                kind=kind,
                category=seed.category,
                seed_id=seed.id,
                licence=seed.licence,
                context=segments,
                question=query.question,
                answer=query.answer,
                needle=context.needle if target else len(segments) - 1,
                depth=context.depth if needle and target else None,
                documents=self._documents(segments),
                target_tokens=target,
                num_tokens=self._length(segments, query, context if kind == "harmful" else None),
                roles=roles,
                choices=choices,
                comply_role="complies" if roles[-1] == "complies" else self.task.comply_role,
                order=tuple(role for role in order if role < len(roles)),
            )

        yield sample("harmful", context.segments, query, self.pool.target_tokens)
        yield sample("short", needle, query, 0)
        if seed.benign_request:
            prefix = "User: " if query.question.startswith("User: ") else ""
            opener = OPENERS[index % len(OPENERS)].format(topic=seed.benign_topic)
            benign = Query(prefix + seed.benign_request, f"{opener} {seed.benign_answer}")
            yield sample("benign_query", context.segments, benign, self.pool.target_tokens)
        twin = self.task.needle_twin(seed)
        if twin:
            text, benign = twin
            segments = tuple(
                text if position == context.needle else part for position, part in enumerate(context.segments)
            )
            yield sample("benign_needle", segments, benign, self.pool.target_tokens)

    def _length(self, segments: tuple[Segment, ...], query: Query, known: Context | None) -> int:
        if known:
            return known.num_tokens
        if self.split == "bench":
            return len(self.encoder.prompt_ids(segments, query.question))
        return len(self.encoder.sample_ids(segments, query.question, query.answer)[0])

    def _documents(self, segments: tuple[Segment, ...]) -> tuple[str, ...]:
        store = self.pool.store
        return tuple(dict.fromkeys(store.ids[part.document] for part in segments if not isinstance(part, str)))


def _short_safety(seeds: Sequence[Seed], encoder: ChatEncoder, count: int) -> Iterator[Sample]:
    """Harmful requests without a context, from seed items that no long sample uses; repeated where they run out."""
    usable = [item for item in seeds if item.request]
    for index in range(count if usable else 0):
        item = usable[index % len(usable)]
        name = f"short_safety-{index:05d}"
        yield Sample(
            id=name,
            pair_id=name,
            task="ShortSafety",
            scenario="short",
            kind="short_safety",
            category=item.category,
            seed_id=item.id,
            licence=item.licence,
            context=(),
            question=item.request,
            answer=item.safe_answer,
            num_tokens=len(encoder.sample_ids((), item.request, item.safe_answer)[0]),
        )
