"""The seed items of a run: the shipped ones, or a user's with shipped ones for the tasks that they are not for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from types import MappingProxyType

from longsafety.errors import DataError
from longsafety.formats.public import bad_lines
from longsafety.formats.rows import rows_fingerprint
from longsafety.scenarios.seeds.options import Roles
from longsafety.scenarios.seeds.review import review_of, reviewed, seed_file
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.seeds.shipped import SHIPPED, shipped_fingerprint, shipped_seeds, substitutes
from longsafety.scenarios.seeds.user import distinct, own_seeds
from longsafety.settings import Scenario
from longsafety.vocabulary import PAPER_TASKS


@dataclass(frozen=True)
class SeedSet:
    """Seed items, and what was handled on the way (reason → count)."""

    seeds: list[Seed]
    counts: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    """A line for each bad row that was left out."""


def seeds_fingerprint(source: str) -> str:
    """Content hash of the seed files (cheap: no heavy import).

    The review beside a seed file is part of it, and so are the shipped ones, in all languages, because they stand in
    for what the user's lack.
    """
    own = "" if source == SHIPPED else rows_fingerprint(seed_file(source))
    review = review_of(seed_file(source))
    return f"{own}/{rows_fingerprint(str(review)) + '/' if review else ''}{shipped_fingerprint()}"


def own_tasks(scenario: Scenario) -> list[str]:
    """The scenario's tasks that are not the paper's: a user's seed items may be for them."""
    return sorted(set(scenario.tasks) - set(PAPER_TASKS))


def load_seeds(
    source: str,
    language: str = "en",
    *,
    on_bad_row: str = "error",
    only_own: bool = False,
    own_tasks: Collection[str] = (),
    roles: Roles = MappingProxyType({}),
    only_accepted: bool = False,
) -> SeedSet:
    """The shipped seeds in a language; or a user's .jsonl, .json, .csv or .parquet files, or a hub dataset.

    A user's row is ours (``request`` or ``statement``, and whatever else :class:`Seed` has), a row of a public set of
    requests, or has its request under one of ``REQUEST_KEYS``; a label column (harmful, benign) is read. Its ``task``
    is one that shipped items are for, or one of ``own_tasks``; its ``options`` have the ``roles`` of a task that takes
    it. What a row does not bring stays empty (:func:`longsafety.scenarios.teacher.complete.complete` writes it). Where
    no row is for a task, the shipped items of that task are taken, and counted, unless ``only_own``. Of what a teacher
    wrote, the review beside the file counts (:mod:`longsafety.scenarios.seeds.review`). Raises DataError that names all
    broken rows (``on_bad_row="skip"`` leaves them out), and for a source without a harmful row or in another language.
    """
    shipped = shipped_seeds(language)
    if source == SHIPPED:
        return SeedSet(shipped)
    counts: Counter[str] = Counter()
    bad: list[str] = []
    source = seed_file(source)
    own = own_seeds(source, language, {"", *own_tasks, *(seed.task for seed in shipped)}, roles, counts, bad)
    lost = f"{bad_lines(bad)}\n" if bad else ""
    if bad and on_bad_row == "error":
        raise DataError(
            f"{lost}scenario.seeds = {source}: {len(bad)} rows are bad; fix them, or set on_bad_row=skip to leave them "
            "out"
        )
    review = review_of(source)
    read = len(own)
    own = distinct(reviewed(own, review, counts, only_accepted=only_accepted), counts)
    if read and not own:
        raise DataError(
            f"{lost}scenario.seeds = {source}: none of its {read} seed items is accepted; accept some in "
            f"{review or 'its review.csv'}, or set scenario.only_accepted=false"
        )
    if not own:
        left_out = "; ".join(
            f"{reason}: {count}" for reason, count in counts.items() if "left out" in reason or "bad" in reason
        )
        raise DataError(
            f"{lost}{source}: no seed row{f' ({left_out})' if left_out else ''}; give a file with a harmful request in "
            "each row"
        )
    if controls := sum(seed.is_control for seed in own):
        counts["benign prompts: no items, lent as benign twins to the requests they are most similar to"] = controls
        if controls == len(own):
            raise DataError(
                f"{lost}scenario.seeds = {source}: all {controls} rows are benign prompts, and samples are made of "
                "harmful ones; add harmful requests, or ask these alone with evaluation.items"
            )
    return SeedSet([*own, *([] if only_own else substitutes(own, shipped, counts))], dict(counts), bad)
