"""Reads a public data set: recognises its schema, checks every row, and names every bad one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from longsafety.errors import DataError
from longsafety.files import user_path
from longsafety.formats.fields import Fields
from longsafety.formats.row import Row
from longsafety.formats.rows import read_rows
from longsafety.formats.schema import NO_CONTEXT, Parsed, Request, Schema, Yields
from longsafety.formats.schemas import SCHEMAS
from longsafety.samples.recipe import Sample

_ROWS_TO_RECOGNISE = 50
_BAD_ROWS_SHOWN = 20


@dataclass(frozen=True)
class PublicSet:
    """A public set as read: ``samples`` for chats and items, ``requests`` for requests; the other list is empty.

    ``counts`` holds ``rows read`` and ``bad rows``, the number of samples or requests of the others, and everything
    that was left out or changed on the way, by name. ``bad`` has a line for each bad row.
    """

    schema: str
    kind: Yields
    licence: str
    samples: list[Sample] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)


def read_public(
    path: str | Path,
    *,
    schema: str = "auto",
    on_bad_row: Literal["error", "skip"] = "error",
    split: str | None = None,
    docs: str | Path | None = None,
    key: str = "read",
) -> PublicSet:
    """All of a public set, from any source of :func:`longsafety.formats.rows.read_rows`.

    ``schema`` is one of ``SCHEMAS``, or ``auto``: recognised by its columns. ``docs`` is the file of the contexts of a
    set that keeps them apart. Without it a file beside the meta file, named ``docs`` instead of ``meta``, and rows of
    contexts among the others are used.

    A bad row is a damaged line, a field of a wrong type or value, or an id that is taken. With ``on_bad_row="error"``
    the whole source is read and then one ``DataError`` names them all; with ``"skip"`` the good rows are returned.
    Raises ``DataError`` also for a source that is missing, empty, of no known schema, or without a good row. ``key``:
    the section of the settings that names the source, for messages (``read``, ``evaluation.items``).
    """
    if schema != "auto" and schema not in SCHEMAS:
        raise DataError(f"{key}.format = {schema}: no such schema; give auto or one of {', '.join(SCHEMAS)}")
    files: Counter[str] = Counter()
    rows = read_rows(path, split=split, counts=files, key=f"{key}.path")
    if schema == "auto":
        found, rows = recognise(rows, f"{key}.path = {path}", f"{key}.format")
    else:
        found = SCHEMAS[schema]
    if found.contexts:
        beside = docs or docs_beside(user_path(path))
        if beside:
            rows = chain(rows, read_rows(beside, counts=files, key=f"{key}.documents"))
    elif docs is not None:
        raise DataError(f"{key}.documents = {docs}: {found.name} keeps its contexts in its rows; leave it out")
    reading = Reading(found)
    for row in rows:
        reading.add(row)
    samples, requests = reading.finished()
    counts, bad = {**reading.counts, **files}, reading.bad
    if not counts["rows read"]:
        raise DataError(f"{key}.path = {path}: no row; give a source with at least one")
    if bad and (on_bad_row == "error" or len(bad) >= counts["rows read"]):
        raise DataError(_bad_rows(bad, counts["rows read"], found.name))
    return PublicSet(found.name, found.yields, found.licence, samples, requests, counts, bad)


def recognised(path: str | Path) -> Schema | None:
    """The schema of a source by its columns; None if none, or more than one, fits."""
    try:
        return recognise(read_rows(path, counts=Counter()), str(path))[0]
    except DataError:
        return None


def docs_beside(meta: Path) -> Path | None:
    """The file of contexts beside a meta file: the same name with ``docs`` for ``meta`` (thu-coai/LongSafety)."""
    before, found, after = meta.name.rpartition("meta")
    beside = meta.with_name(f"{before}docs{after}")
    return beside if found and meta.is_file() and beside.is_file() else None


class Reading:
    """The rows read so far. Contexts in rows of their own are joined to their items when all have been read."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.counts: Counter[str] = Counter({"rows read": 0, "bad rows": 0})
        self.bad: list[str] = []
        self._parsed: list[tuple[str, Parsed]] = []
        self._places: dict[str, str] = {}
        self._contexts: dict[str, str] = {}
        self._joined: set[str] = set()
        self._context_places: dict[str, str] = {}

    def add(self, row: Row) -> None:
        self.counts["rows read"] += 1
        if row.problem:
            self._reject(row.place, row.problem)
        elif self.schema.contexts and set(row.values) == {*self.schema.contexts}:
            self._add_context(row)
        else:
            parsed = self.schema.parse(row)
            problems = parsed.problems or _taken(parsed.id, row.place, self._places)
            if problems:
                self._reject(row.place, " | ".join(problems))
            else:
                self._parsed.append((row.place, parsed))

    def finished(self) -> tuple[list[Sample], list[Request]]:
        """The samples and requests of all good rows, in their order; completes the counts."""
        samples: list[Sample] = []
        requests: list[Request] = []
        for place, parsed in self._parsed:
            if self._contexts and (missing := self._join(parsed)):
                self._reject(place, missing)
                continue
            self.counts.update(parsed.counts)
            for made in parsed.made:
                if isinstance(made, Sample):
                    samples.append(made)
                else:
                    requests.append(made)
        unnamed = self._contexts.keys() - self._joined
        if unnamed:
            self.counts["contexts that no row names"] = len(unnamed)
        self.counts["requests" if self.schema.yields == "requests" else "samples"] = len(samples) + len(requests)
        return samples, requests

    def _join(self, parsed: Parsed) -> str:
        """Gives an item the context with its id; returns the problem if there is none."""
        (item,) = parsed.made
        assert isinstance(item, Sample)
        if item.context:
            return ""
        if parsed.id not in self._contexts:
            shown = parsed.id.partition("/")[2]
            return f"id = {shown}: no row of the docs file has it; add its context there"
        self._joined.add(parsed.id)
        parsed.made[:] = [item.replace(context=(self._contexts[parsed.id],))]
        parsed.counts.remove(NO_CONTEXT)
        return ""

    def _add_context(self, row: Row) -> None:
        fields = Fields(row)
        identity, context = f"{self.schema.name}/{fields.identity()}", fields.text("context")
        problems = fields.problems or _taken(identity, row.place, self._context_places)
        if problems:
            self._reject(row.place, " | ".join(problems))
        else:
            self._contexts[identity] = context
            self.counts["rows of contexts"] += 1

    def _reject(self, place: str, problem: str) -> None:
        self.bad.append(f"{place}: {problem}")
        self.counts["bad rows"] += 1


def _taken(identity: str, place: str, places: dict[str, str]) -> list[str]:
    """The problem of an id that an earlier row has; each row asks once."""
    if identity not in places:
        places[identity] = place
        return []
    shown = identity.partition("/")[2]
    return [f"id = {shown}: taken by {places[identity]}; ids are unique, rename one"]


def recognise(rows: Iterator[Row], source: str, key: str = "format") -> tuple[Schema, Iterator[Row]]:
    """The schema that most of the first rows fit best, and all the rows. Raises DataError where there is none.

    ``key``: the setting that names the schema.
    """
    read: list[Row] = []
    votes: Counter[str] = Counter()
    columns: dict[str, None] = {}
    seen = 0
    contexts = [{*schema.contexts} for schema in SCHEMAS.values()]
    for row in rows:
        read.append(row)
        names = set(row.values)
        if not names or names in contexts:
            continue
        columns.update(dict.fromkeys(row.values))
        fits = {name: schema.fits(row) for name, schema in SCHEMAS.items()}
        best = max(fits.values())
        votes.update(name for name, fit in fits.items() if fit == best > 0)
        seen += 1
        if seen == _ROWS_TO_RECOGNISE:
            break
    ranked = votes.most_common(2)
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        fitting = " and ".join(name for name, count in votes.items() if count == ranked[0][1])
        raise DataError(f"{source}: the columns {', '.join(columns)} fit {fitting}; set {key} to one of them")
    if not ranked and columns:
        known = "; ".join(
            f"{schema.name} ({' or '.join(', '.join(layout) for layout in schema.columns)})"
            for schema in SCHEMAS.values()
        )
        raise DataError(
            f"{source}: the columns {', '.join(columns)} fit no schema; rename them to those of one (and name it by "
            f"{key}). Known: {known}"
        )
    if not ranked:
        damaged = [f"{row.place}: {row.problem}" for row in read if row.problem]
        if damaged:
            raise DataError(_bad_rows(damaged, len(read), "unknown schema"))
        rows_read = "rows of contexts only" if read else "no row"
        raise DataError(f"{source}: {rows_read}; give a source with at least one row of a known schema")
    return SCHEMAS[ranked[0][0]], chain(read, rows)


def _bad_rows(bad: list[str], num_rows: int, schema: str) -> str:
    skip = ", or set on_bad_row=skip to leave them out" if len(bad) < num_rows else ""
    return f"{bad_lines(bad)}\n{len(bad)} of {num_rows} rows are bad ({schema}); fix them{skip}"


def bad_lines(bad: Sequence[str]) -> str:
    """The first lines about bad rows, and the number of the others."""
    rest = len(bad) - _BAD_ROWS_SHOWN
    return "\n".join([*bad[:_BAD_ROWS_SHOWN], *([f"and {rest} more bad rows"] if rest > 0 else [])])
