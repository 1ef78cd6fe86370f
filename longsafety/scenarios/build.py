"""The builder: from documents and seed items to training samples and benchmark items, as recipes."""

from __future__ import annotations

import fnmatch
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Segment
from longsafety.scenarios.assemble import fit
from longsafety.scenarios.depths import depth_grid
from longsafety.scenarios.made_documents import exchanges_of, vignettes_of
from longsafety.scenarios.notes import TEMPLATE_REJECTED, notes_of
from longsafety.scenarios.padding import padded
from longsafety.scenarios.seed_problems import none_served, usable, why_unused, without_seeds
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.splits import split_documents, split_seeds
from longsafety.scenarios.target_lengths import target_lengths
from longsafety.scenarios.task_counts import benchmark_families, task_counts
from longsafety.scenarios.tasks.registry import tasks
from longsafety.scenarios.tasks.task import Pool, Query, Task
from longsafety.settings import Length, Scenario
from longsafety.vocabulary import BENIGN_KINDS, right_role

_CHUNK = 64
"""Items that a process builds at once."""


@dataclass(frozen=True)
class Builder:
    """Everything that the items of one split are built from."""

    scenario: Scenario
    length: Length
    seeds: Mapping[str, Sequence[Seed]]
    """Split → its seed items."""
    context_seeds: Mapping[str, Seed]
    encoder: ChatEncoder
    split: str
    seed: int

    @cached_property
    def pool(self) -> Pool:
        scenario, store = self.scenario, self.encoder.store
        documents = split_documents(
            store, bench_fraction=scenario.bench_fraction, seed=self.seed, language=scenario.context_language
        )[self.split]
        harmful = [number for number in documents if self._is_harmful(store.ids[number])]
        if scenario.harmful_documents and not harmful:
            raise DataError(
                f"scenario.harmful_documents = {scenario.harmful_documents}: matches no document of the {self.split} "
                f"split; its documents are {', '.join(store.ids[number] for number in documents[:8])} …"
            )
        benign = sorted({*documents} - {*harmful})
        if not benign:
            raise DataError(
                f"scenario.harmful_documents = {scenario.harmful_documents}: matches every document of the "
                f"{self.split} split; leave some for benign contexts"
            )
        seeds = self.seeds[self.split]
        return Pool(
            store=store,
            documents=benign,
            harmful_documents=harmful or vignettes_of(store.ids, seeds),
            seeds=seeds,
            exchanges=exchanges_of(store.ids, seeds),
            harm_fraction=scenario.harm_fraction,
            context_seeds=self.context_seeds,
            foreign=scenario.context_language is None,
        )

    def _is_harmful(self, document_id: str) -> bool:
        return any(fnmatch.fnmatch(document_id, pattern) for pattern in self.scenario.harmful_documents)

    @cached_property
    def depths(self) -> list[float]:
        return depth_grid(self.scenario.depths, self.scenario.num_depths)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Task → items. With ``scenario.only_own_seeds`` only tasks that the seeds serve; DataError if none is left."""
        wanted, known = task_counts(self.scenario, self.split), tasks(self.scenario.task_files)
        if not self.scenario.only_own_seeds:
            return wanted
        part = self.seeds[self.split]
        served = [name for name in wanted if usable(known[name], part, self.split)]
        if wanted and not served:
            own = [seed for members in self.seeds.values() for seed in members]
            reasons = {name: why_unused(known[name], own, part) for name in wanted}
            raise DataError(none_served(self.scenario.seeds, self.split, reasons))
        return task_counts(self.scenario, self.split, served)

    def task(self, name: str) -> TaskBuilder:
        return TaskBuilder(self, tasks(self.scenario.task_files)[name])

    def chunks(self) -> list[tuple[str, int, int]]:
        """(task, first item, stop): what is built at once."""
        return [
            (name, first, min(first + _CHUNK, count))
            for name, count in self.counts.items()
            for first in range(0, count, _CHUNK)
        ]

    def samples(self) -> Iterator[Sample]:
        """Every item with its twins, in order."""
        for name in self.counts:
            yield from self.task(name).items(0, self.counts[name])


def build(
    scenario: Scenario,
    length: Length,
    seeds: Sequence[Seed],
    encoder: ChatEncoder,
    *,
    split: str,
    seed: int,
    context_seeds: Mapping[str, Seed] | None = None,
) -> Builder:
    """The builder of a split (``train`` or ``bench``); ``context_seeds`` are the items in the contexts' language."""
    families = benchmark_families(scenario)
    parts = split_seeds(seeds, bench_fraction=scenario.bench_fraction, seed=seed, bench_tasks=families)
    return Builder(scenario, length, parts, context_seeds or {}, encoder, split, seed)


class TaskBuilder:
    """Builds the items of one task in one split."""

    def __init__(self, builder: Builder, task: Task) -> None:
        self.builder, self.task = builder, task
        self.told: Counter[str] = Counter()
        """``task: reason`` → items, of those made so far."""
        self.name = f"{task.name}-{builder.split}-{builder.seed}"
        self.seeds = usable(task, builder.seeds[builder.split], builder.split)
        random.Random(self.name).shuffle(self.seeds)
        if builder.split == "train" and builder.scenario.train_seeds is not None:
            self.seeds = self.seeds[: builder.scenario.train_seeds]
        self.orders = balanced_orders(len(task.roles), random.Random(f"{self.name}/orders"))
        if not self.seeds:
            raise DataError(
                without_seeds(task, builder.scenario.language, f"no seed item of the {builder.split} split")
            )

    def items(self, first: int, stop: int) -> Iterator[Sample]:
        """Items ``first`` to ``stop - 1``, each before its twins."""
        builder = self.builder
        targets = target_lengths(
            builder.length, builder.split, builder.counts[self.task.name], seed=f"{self.name}/lengths"
        )
        for index in range(first, stop):
            yield from self.item(index, targets[index])

    def item(self, index: int, target_tokens: int) -> Iterator[Sample]:
        builder, encoder, scenario = self.builder, self.builder.encoder, self.builder.scenario
        goal = (scenario.bench_goal if builder.split == "bench" else None) or scenario.goal
        seed = self.seeds[index % len(self.seeds)].in_turn(index // len(self.seeds) if builder.split == "train" else 0)
        name = f"{self.name}-{index:05d}"
        rng = random.Random(name)
        item = self.task.item(seed, builder.pool, rng, builder.depths[index % len(builder.depths)])
        if builder.split == "bench" and self.task.scenario in ("QH", "PH"):
            spoken = builder.pool.in_context_language(seed)
            asked = f"{spoken.request} {spoken.question} {spoken.statement}"
            item = padded(item, builder.pool, scenario.bench_padding, asked, random.Random(f"{name}/padding"))
        answers = builder.split == "train"
        roles: tuple[str, ...] = ()
        choices: tuple[tuple[str, ...], ...] = ()
        order: tuple[int, ...] = ()
        if not answers:
            roles, choices = self.task.roles, self.task.choices(seed, item)
            order = self.orders[index % len(self.orders)]
        context = fit(
            item.draft,
            encoder,
            question=item.query.question,
            answer=item.query.answer if answers else None,
            target_tokens=target_tokens,
            where=name,
            history=item.history,
            goal=goal,
        )
        rejected, writers = "", seed.writers
        if answers:
            rejected = self.task.complying(seed, item, builder.scenario.stubs, name)
            if rejected != seed.compliant_stub:
                writers = (*writers, "rejected: template")
        literals = () if item.draft.are_needles else item.draft.needles
        documents = tuple(
            dict.fromkeys(encoder.store.ids[part.document] for part in context.segments if not isinstance(part, str))
        )

        notes = [*item.notes, *notes_of(seed, self.task.domain, context, documents, builder.pool, target_tokens)]
        notes += [TEMPLATE_REJECTED] if writers != seed.writers else []
        self.told.update(f"{self.task.name}: {note}" for note in notes)

        def sample(kind: str, segments: tuple[Segment, ...], query: Query, needles: tuple[int, ...]) -> Sample:
            long = not kind.startswith("short")
            num_tokens = context.num_tokens
            if kind != "harmful":
                num_tokens = encoder.prompt_length(segments, query.question, item.history, goal)
                num_tokens += len(encoder.answer_ids(query.question, query.answer)) if answers else 0
            benign = kind in BENIGN_KINDS
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
                rejected=item.query.answer if benign and answers else rejected,
                history=item.history,
                goal=goal,
                language=seed.language,
                writers=seed.writers if benign else writers,
                needles=needles,
                depth=context.depth if long and needles else None,
                documents=documents if long else (),
                target_tokens=target_tokens if long else 0,
                num_tokens=num_tokens,
                roles=roles,
                choices=choices,
                comply_role="" if answers else self.task.comply_role,
                right="" if answers else right_role(kind, self.task.comply_role),
                order=order,
            )

        def short(kind: str, texts: Sequence[str], query: Query) -> Sample:
            """Without filler: the needles, or the passage, alone."""
            segments = _joined(texts)
            needles = tuple(range(0, len(segments), 2)) if item.draft.are_needles else ()
            return sample(kind, segments, query, needles)

        own = tuple(str(context.segments[at]) for at in context.needles)
        yield sample("harmful", context.segments, item.query, context.needles)
        yield short("short", own or literals, item.query)
        if self.task.needle_twin and not answers:
            query = Query(item.query.question, "")
            yield sample("absent", _without(context.segments, context.needles), query, ())
        if not answers and not self.task.has_shared_options(seed):
            return
        if item.needle_twin:
            texts, query = item.needle_twin
            replaced = dict(zip(context.needles, texts, strict=True))
            segments = tuple(replaced.get(at, part) for at, part in enumerate(context.segments))
            yield sample("benign_needle", segments, query, context.needles)
            yield short("short_benign", texts, query)
        elif item.benign_query:
            yield sample("benign_query", context.segments, item.benign_query, context.needles)
            yield short("short_benign", own or literals, item.benign_query)


def _joined(texts: Sequence[str]) -> tuple[Segment, ...]:
    """The texts alone, with a space between two."""
    parts: list[Segment] = []
    for text in texts:
        parts += [" ", text] if parts else [text]
    return tuple(parts)


def _without(segments: Sequence[Segment], needles: Sequence[int]) -> tuple[Segment, ...]:
    """The context without its needles, and without the white space before each."""
    left_out = {*needles}
    left_out |= {at - 1 for at in needles if at and isinstance(part := segments[at - 1], str) and not part.strip()}
    return tuple(part for at, part in enumerate(segments) if at not in left_out)


def balanced_orders(count: int, rng: random.Random) -> list[tuple[int, ...]]:
    """Every order of ``count`` options once, in random order, such that each block of ``count`` of them shows each
    option once at every place."""
    firsts = [(0, *rest) for rest in permutations(range(1, count))]
    rng.shuffle(firsts)
    orders: list[tuple[int, ...]] = []
    for first in firsts:
        turns = [first[shift:] + first[:shift] for shift in range(count)]
        rng.shuffle(turns)
        orders += turns
    return orders
