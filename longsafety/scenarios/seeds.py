"""Seed items: harmful requests and statements with their safe answers and benign twins, shipped or the user's own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from longsafety.errors import DataError

REQUEST_KEYS = ("request", "prompt", "question", "goal", "Behavior")
"""Keys under which public sets keep the harmful request (ours, do-not-answer, XSTest, AdvBench, HarmBench)."""
CATEGORY_KEYS = ("category", "risk_area", "SemanticCategory", "type")
_FALLBACK_ANSWER = (
    "I won't help with this, because it could harm you or somebody else. If there is a legitimate aim behind it, "
    "tell me what you want to achieve and I will look for a safe and lawful way with you."
)
_FALLBACK_TOPIC = "what you ask"


@dataclass(frozen=True, slots=True)
class Seed:
    """One harmful request with its twin, and one harmful statement with its twin. Empty strings: not given."""

    id: str
    category: str
    request: str
    topic: str
    safe_answer: str
    benign_request: str = ""
    benign_topic: str = ""
    benign_answer: str = ""
    question: str = ""
    statement: str = ""
    benign_statement: str = ""
    statement_safe_answer: str = ""
    benign_statement_answer: str = ""
    licence: str = "unknown"

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


def seeds_fingerprint(source: str) -> str:
    """Content hash of the seed files (cheap: no heavy import)."""
    digest = hashlib.sha256()
    for name, text in _texts(source):
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()[:16]


def load_seeds(source: str) -> SeedSet:
    """The shipped seeds (``en``), or a user's .jsonl file or folder.

    A user's row needs a request (one of ``REQUEST_KEYS``). What it does not bring is filled and counted: a general
    safe answer; the benign twin of the shipped seed with the most similar request; and, where no row has a
    statement, the shipped seeds' statements, so that every task can be built.
    """
    shipped = _shipped_seeds()
    if source == "en":
        return SeedSet(shipped)
    counts: Counter[str] = Counter()
    own: list[Seed] = []
    seen: dict[str, str] = {}
    ids: dict[str, str] = {}
    for where, row in _rows(source):
        counts["seed rows read"] += 1
        seed, filled = _user_seed(where, row)
        if seed.id in ids:
            raise DataError(f"{where}: id {seed.id!r} stands already at {ids[seed.id]}; ids are unique, rename one")
        ids[seed.id] = where
        key = " ".join(seed.request.lower().split())
        if key in seen:
            counts["seed rows rejected: the same request again"] += 1
            continue
        seen[key] = where
        own.append(seed)
        counts.update(filled)
    if not own:
        raise DataError(f"{source}: no seed row; give a .jsonl file with a harmful request in each row")
    lacking = sum(not seed.has_twin for seed in own)
    if lacking:
        counts["seed rows without a benign twin: the most similar shipped one is used"] = lacking
    bring_statements = any(seed.has_statement for seed in own)
    if not bring_statements:
        counts["seeds bring no statement: the shipped statements are used for HarmfulNIAH"] = len(own)
    if lacking or not bring_statements:
        kept = {"statement": ""} if bring_statements else {}
        own += [dataclasses.replace(seed, request="", **kept) for seed in shipped]
    return SeedSet(own, dict(counts))


def split_seeds(seeds: Sequence[Seed], *, bench_fraction: float, seed: int) -> dict[str, list[Seed]]:
    """Disjoint parts ``bench``, ``short_safety`` and ``train``, balanced over categories.

    ``short_safety`` (the short-context arm's own requests) takes a third of what is not the benchmark's. A request
    without a benign twin borrows one within its part, so that the parts share no twin either.
    """
    parts: dict[str, list[Seed]] = {"bench": [], "short_safety": [], "train": []}
    categories: dict[tuple[str, bool], list[Seed]] = defaultdict(list)
    for item in seeds:
        categories[item.category, bool(item.request)].append(item)
    for members in categories.values():
        ordered = sorted(members, key=lambda item: hashlib.sha256(f"{seed}/{item.id}".encode()).hexdigest())
        num_bench = max(round(len(ordered) * bench_fraction), 1 if len(ordered) > 2 else 0)
        num_short = round((len(ordered) - num_bench) / 3)
        parts["bench"] += ordered[:num_bench]
        parts["short_safety"] += ordered[num_bench : num_bench + num_short]
        parts["train"] += ordered[num_bench + num_short :]
    return {name: _borrow_twins(members) for name, members in parts.items()}


def _texts(source: str) -> Iterator[tuple[str, str]]:
    if source == "en":
        folder = files("longsafety.scenarios") / "seeds" / "en"
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            yield entry.name, entry.read_text("utf-8")
        return
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"scenario.seeds = {source}: no such file or folder; give `en`, a .jsonl file or a folder")
    paths = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not paths:
        raise DataError(f"scenario.seeds = {source}: the folder has no .jsonl file; put the harmful requests there")
    for file in paths:
        data = file.read_bytes()
        try:
            yield str(file), data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise DataError(f"{file}:{line}: byte {error.start} is not UTF-8; save the file as UTF-8") from None


def _rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, text in _texts(source):
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            where = f"{name}:{number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: not JSON ({error.msg}); each line is one JSON object") from None
            if not isinstance(row, dict):
                raise DataError(f"{where}: {type(row).__name__} instead of an object; each line is one JSON object")
            yield where, row


def _shipped_seeds() -> list[Seed]:
    card = yaml.safe_load((files("longsafety.scenarios") / "seeds" / "card.yaml").read_text("utf-8"))
    return [Seed(**row, licence=card["licence"]) for _, row in _rows("en")]


def _user_seed(where: str, row: dict[str, Any]) -> tuple[Seed, list[str]]:
    """The seed of a row, and what had to be filled in."""
    request = next((row[key] for key in REQUEST_KEYS if isinstance(row.get(key), str) and row[key].strip()), None)
    if request is None:
        raise DataError(
            f"{where}: no harmful request; each row needs one of {', '.join(REQUEST_KEYS)} (it has {', '.join(row)})"
        )
    names = {item.name for item in dataclasses.fields(Seed)} - {"id", "category", "request"}
    given = {name: row[name] for name in names if isinstance(row.get(name), str)}
    path, _, line = where.rpartition(":")
    stem = Path(path).stem
    category = next((row[key] for key in CATEGORY_KEYS if isinstance(row.get(key), str)), stem)
    filled = []
    if not given.get("safe_answer"):
        filled.append("seed rows without a safe answer: a general one is used")
        given["safe_answer"] = _FALLBACK_ANSWER
    for twin in ("topic", "benign_topic"):
        if not given.get(twin) and (twin == "topic" or given.get("benign_request")):
            filled.append(f"seed rows without a {twin}: options say {_FALLBACK_TOPIC!r}")
            given[twin] = _FALLBACK_TOPIC
    identity = str(row.get("id", f"{stem}-{line}"))
    return Seed(id=identity, category=category, request=request.strip(), **given), filled


def _borrow_twins(seeds: list[Seed]) -> list[Seed]:
    """Gives requests without a benign twin that of the seed with the most similar benign request (BM25)."""
    lenders = [seed for seed in seeds if seed.has_twin]
    if not lenders or all(seed.has_twin for seed in seeds if seed.request):
        return seeds
    from longsafety.scenarios.retrieval import Index

    index = Index([seed.benign_request for seed in lenders])

    def with_twin(seed: Seed) -> Seed:
        if seed.has_twin or not seed.request:
            return seed
        twin = lenders[index.ranked(seed.request, 1)[0]]
        return dataclasses.replace(
            seed,
            benign_request=twin.benign_request,
            benign_topic=twin.benign_topic,
            benign_answer=twin.benign_answer,
        )

    return [with_twin(seed) for seed in seeds]
