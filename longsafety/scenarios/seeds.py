"""Seed items: harmful requests and statements with their safe answers and benign twins, shipped or the user's own."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from longsafety.errors import DataError
from longsafety.files import files_hash
from longsafety.formats.data_files import Row
from longsafety.formats.rows import read_rows, rows_fingerprint
from longsafety.samples.language import LANGUAGES

REQUEST_KEYS = ("request", "prompt", "question", "goal", "Behavior")
"""Keys under which public sets keep the harmful request (ours, do-not-answer, XSTest, AdvBench, HarmBench)."""
CATEGORY_KEYS = ("category", "risk_area", "SemanticCategory", "type")
SHIPPED = "shipped"
_SHIPPED_FOLDER = Path(__file__).with_name("seeds")


@dataclass(frozen=True, slots=True)
class Seed:
    """What one item is made of: requests, statements or deeds, with their twins. Empty: not given.

    A *topic* completes "help with …", a *claim* "it is said that …"; ``crimes`` and ``harmless`` are phrases that
    follow ``name``.
    """

    id: str
    category: str
    task: str = ""
    """The task it is for; empty: a general item, for KeywordRAG, HarmfulNIAH and ManyShotJailbreak."""
    language: str = "en"
    request: str = ""
    topic: str = ""
    safe_answer: str = ""
    benign_request: str = ""
    benign_topic: str = ""
    benign_answer: str = ""
    question: str = ""
    statement: str = ""
    benign_statement: str = ""
    statement_safe_answer: str = ""
    benign_statement_answer: str = ""
    claim: str = ""
    benign_claim: str = ""
    truth: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    """Earlier (user, assistant) turns of the dialogue that ``request`` ends."""
    name: str = ""
    crimes: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    licence: str = "unknown"
    writers: tuple[str, ...] = ()
    """Who wrote what the row did not bring: ``field: writer``."""

    @property
    def has_twin(self) -> bool:
        return bool(self.benign_request and self.benign_answer)

    @property
    def has_statement(self) -> bool:
        return bool(self.statement and self.question and self.statement_safe_answer)


@dataclass(frozen=True)
class SeedSet:
    """Seed items, and what was handled on the way (reason → count)."""

    seeds: list[Seed]
    counts: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    """A line for each bad row that was left out."""


def seeds_fingerprint(source: str) -> str:
    """Content hash of the seed files (cheap: no heavy import).

    The shipped ones are part of it, in all languages: they stand in for what the user's lack.
    """
    own = "" if source == SHIPPED else rows_fingerprint(source)
    shipped = files_hash(_shipped_files(), _SHIPPED_FOLDER)
    return hashlib.sha256(f"{own}\0{shipped}".encode()).hexdigest()[:16]


def load_seeds(source: str, language: str = "en", *, on_bad_row: str = "error") -> SeedSet:
    """The shipped seeds in a language; or a user's .jsonl, .json, .csv or .parquet files, or a hub dataset.

    A user's row is ours (``request`` or ``statement``, and whatever else :class:`Seed` has), a row of a public set of
    requests, or has its request under one of ``REQUEST_KEYS``. What it does not bring stays empty
    (:func:`longsafety.scenarios.teacher.complete.complete` writes it). Where no row is for a task, the shipped items of
    that task are taken, so that every task can be built: counted. Broken rows are named, all of them: raised as
    DataError, or with ``on_bad_row="skip"`` left out.
    """
    shipped = _shipped_seeds(language)
    if source == SHIPPED:
        return SeedSet(shipped)
    counts: Counter[str] = Counter()
    bad: list[str] = []
    own = _public_seeds(source, language, on_bad_row, counts, bad)
    if own is None:
        own = _user_seeds(source, language, {"", *(seed.task for seed in shipped)}, counts, bad)
    if bad and on_bad_row == "error":
        lines = [*bad[:20], *([f"and {len(bad) - 20} more bad rows"] if len(bad) > 20 else [])]
        told = "\n".join(lines)
        raise DataError(
            f"{told}\nscenario.seeds = {source}: {len(bad)} rows are bad; mend them, or set on_bad_row=skip to leave "
            "them out"
        )
    own = _distinct(own, counts)
    if not own:
        raise DataError(f"{source}: no seed row; give a file with a harmful request in each row")
    return SeedSet([*own, *_substitutes(own, shipped, counts)], dict(counts), bad)


def _substitutes(own: Sequence[Seed], shipped: Sequence[Seed], counts: Counter[str]) -> list[Seed]:
    """The shipped items for the tasks that a user's seeds are not for, under ids that the user's do not have."""
    general = [seed for seed in own if not seed.task]
    found: list[Seed] = []
    if general and not any(seed.statement for seed in general):
        counts["seeds bring no statement: the shipped statements are used for HarmfulNIAH"] = len(own)
        found += [replace(seed, request="") for seed in shipped if not seed.task]
    if general and not any(seed.request for seed in general):
        counts["seeds bring no request: the shipped ones are used for KeywordRAG and ManyShotJailbreak"] = len(own)
        found += [replace(seed, statement="") for seed in shipped if not seed.task]
    given = {seed.task for seed in own}
    for seed in shipped:
        if seed.task not in given:
            found.append(seed)
            counts[f"seeds bring none for {seed.task or 'the general tasks'}: the shipped ones are used"] += 1
    taken = {seed.id for seed in own}
    return [replace(seed, id=f"{SHIPPED}/{seed.id}") if seed.id in taken else seed for seed in found]


def _public_seeds(
    source: str, language: str, on_bad_row: str, counts: Counter[str], bad: list[str]
) -> list[Seed] | None:
    """The seeds of a public set of requests; None where the source is not one."""
    from longsafety.formats.public import read_public, recognised

    schema = recognised(source)
    if schema is None or schema.yields != "requests":
        return None
    found = read_public(source, schema=schema.name, on_bad_row="skip" if on_bad_row == "skip" else "error")
    counts["seed rows read"] = found.counts["rows read"]
    counts.update({f"seed {name}": number for name, number in found.counts.items() if name != "rows read" and number})
    bad += found.bad
    harmful = [row for row in found.requests if row["label"] == "harmful"]
    if len(harmful) < len(found.requests):
        counts["seed rows left out: benign prompts"] = len(found.requests) - len(harmful)
    return [
        Seed(id=row["id"], category=row["category"], language=language, request=row["request"], licence=row["licence"])
        for row in harmful
    ]


def _user_seeds(source: str, language: str, tasks: Collection[str], counts: Counter[str], bad: list[str]) -> list[Seed]:
    seeds: list[Seed] = []
    ids: dict[str, str] = {}
    for row in read_rows(source, counts=counts):
        counts["seed rows read"] += 1
        problem = row.problem
        if not problem:
            try:
                seed = _user_seed(row, language, tasks)
                if ids.setdefault(seed.id, row.place) != row.place:
                    problem = f"id = {seed.id}: stands already at {ids[seed.id]}; ids are unique, rename one"
            except ValueError as error:
                problem = str(error)
        if problem:
            bad.append(f"{row.place}: {problem}")
            counts["seed rows left out: bad"] += 1
        else:
            seeds.append(seed)
    return seeds


def _distinct(seeds: list[Seed], counts: Counter[str]) -> list[Seed]:
    seen: dict[tuple[str, str], Seed] = {}
    for seed in seeds:
        key = (seed.task, " ".join((seed.request or seed.statement or seed.name).lower().split()))
        if key in seen:
            counts["seed rows rejected: the same request again"] += 1
        else:
            seen[key] = seed
    return list(seen.values())


def write_seeds(seeds: Sequence[Seed], path: Path) -> None:
    """Writes seeds as JSON Lines."""
    path.write_text("".join(json.dumps(asdict(seed), ensure_ascii=False) + "\n" for seed in seeds), "utf-8")


def read_seeds(path: Path) -> list[Seed]:
    """Reads what :func:`write_seeds` wrote."""
    rows = (json.loads(line) for line in path.read_text("utf-8").split("\n") if line)
    return [Seed(**{key: _frozen(value) for key, value in row.items()}) for row in rows]


def split_seeds(seeds: Sequence[Seed], *, bench_fraction: float, seed: int) -> dict[str, list[Seed]]:
    """Disjoint parts ``bench``, ``short_safety`` and ``train``, balanced over tasks and categories.

    ``short_safety`` (the short-context arm's own requests) takes a third of what is not the benchmark's of the
    general items. A request without a benign twin borrows one within its part, so that the parts share no twin either.
    """
    parts: dict[str, list[Seed]] = {"bench": [], "short_safety": [], "train": []}
    categories: dict[tuple[str, str, bool], list[Seed]] = defaultdict(list)
    for item in seeds:
        categories[item.task, item.category, bool(item.request)].append(item)
    for (task, _, _), members in categories.items():
        ordered = sorted(members, key=lambda item: hashlib.sha256(f"{seed}/{item.id}".encode()).hexdigest())
        num_bench = max(round(len(ordered) * bench_fraction), 1 if len(ordered) > 2 else 0)
        num_short = 0 if task else round((len(ordered) - num_bench) / 3)
        parts["bench"] += ordered[:num_bench]
        parts["short_safety"] += ordered[num_bench : num_bench + num_short]
        parts["train"] += ordered[num_bench + num_short :]
    return {name: _borrow_twins(members) for name, members in parts.items()}


def _shipped_files() -> list[Path]:
    return [file for language in LANGUAGES for file in sorted((_SHIPPED_FOLDER / language).iterdir())]


def _shipped_seeds(language: str) -> list[Seed]:
    root = files("longsafety.scenarios") / "seeds"
    card = yaml.safe_load((root / "card.yaml").read_text("utf-8"))
    return [
        Seed(
            **{key: _frozen(value) for key, value in json.loads(line).items()},
            language=language,
            licence=card["licence"],
        )
        for entry in sorted((root / language).iterdir(), key=lambda entry: entry.name)
        for line in entry.read_text("utf-8").splitlines()
    ]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value


def _user_seed(row: Row, language: str, tasks: Collection[str]) -> Seed:
    """The seed of a row in our layout; ValueError where it lacks what it is made of, or has a value of a wrong type."""
    values = {key: value for key, value in row.values.items() if value not in (None, "", [])}
    keys = [key for key in REQUEST_KEYS if key != "question" or "statement" not in values]
    key = next((key for key in keys if isinstance(values.get(key), str) and values[key].strip()), None)
    if key is not None:
        values["request"] = values[key].strip()
        if key == "question":
            del values["question"]
    elif not values.keys() & {"statement", "crimes"}:
        raise ValueError(
            f"no harmful request; each row needs one of {', '.join(REQUEST_KEYS)}, a statement, or a name with crimes "
            f"(it has {', '.join(row.values)})"
        )
    known = {item.name: item.type for item in fields(Seed)}
    for key in known.keys() & values.keys():
        value = values[key] = str(values[key]) if key == "id" else _frozen(values[key])
        rule = _FORMS[str(known[key])]
        if not rule.holds(value):
            raise ValueError(f"{key} = {row.values[key]!r}: is not {rule.name}; write it as one")
    if values.get("task", "") not in tasks:
        named = ", ".join(sorted(filter(None, tasks)))
        raise ValueError(f"task = {values['task']}: must be one of {named}; leave it out for a general item")
    if "crimes" in values and not values.keys() >= {"name", "harmless"}:
        raise ValueError("crimes: stand without name or harmless; give the person's name and some harmless deeds")
    category = next((values[key] for key in CATEGORY_KEYS if isinstance(values.get(key), str)), row.part)
    given = {key: values[key] for key in known.keys() & values.keys() - {"category", "language", "writers"}}
    return Seed(**{"id": row.name, **given, "category": category, "language": language})


class _Form(NamedTuple):
    """What a user's value must be, by the type of the field."""

    name: str
    holds: Callable[[Any], bool]


def _are_texts(value: Any, count: int | None = None) -> bool:
    rightly_many = isinstance(value, tuple) and (count is None or len(value) == count)
    return rightly_many and all(isinstance(part, str) for part in value)


_FORMS = {
    "str": _Form("a text", lambda value: isinstance(value, str)),
    "tuple[str, ...]": _Form("a list of texts", _are_texts),
    "tuple[tuple[str, str], ...]": _Form(
        "a list of [user, assistant] texts",
        lambda value: isinstance(value, tuple) and all(_are_texts(turn, 2) for turn in value),
    ),
}


def _borrow_twins(seeds: list[Seed]) -> list[Seed]:
    """Gives requests without a benign twin that of the seed with the most similar benign request (BM25).

    The seed is one for the same task, or where none of these has a twin, a general one.
    """
    borrowed: dict[str, Seed] = {}
    for task in sorted({seed.task for seed in seeds if seed.request and not seed.has_twin}):
        with_twin = [seed for seed in seeds if seed.has_twin]
        lenders = [seed for seed in with_twin if seed.task == task] or [seed for seed in with_twin if not seed.task]
        if not lenders:
            continue
        from longsafety.corpus.retrieval import Index

        index = Index([seed.benign_request for seed in lenders])
        for seed in seeds:
            if seed.task == task and seed.request and not seed.has_twin:
                twin = lenders[int(index.ranking(seed.request)[0])]
                borrowed[seed.id] = replace(
                    seed,
                    benign_request=twin.benign_request,
                    benign_topic=twin.benign_topic,
                    benign_answer=twin.benign_answer,
                )
    return [borrowed.get(seed.id, seed) for seed in seeds]
