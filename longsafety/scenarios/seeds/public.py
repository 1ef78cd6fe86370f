"""Seed items of public sets of requests: harmful ones to be asked, benign ones to be lent as twins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from longsafety.errors import DataError
from longsafety.formats.by_file import FileRows
from longsafety.formats.public import Reading
from longsafety.formats.schema import Request, Schema
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.seeds.spoken import foreign


def check_holds_requests(file: FileRows) -> None:
    """Raises DataError for a file of a public set of chats or items: their prompts are not requests to be asked."""
    if file.schema is not None and file.schema.yields != "requests":
        raise DataError(
            f"scenario.seeds: {file.name} is of the set {file.schema.name}, which holds {file.schema.yields} and no "
            "requests of its own; give a file with a request in each row (column request), or use this one as "
            f"{'data_mix.sources' if file.schema.yields == 'chats' else 'evaluation.items'}"
        )


def public_seeds(
    files: Sequence[FileRows], language: str, counts: Counter[str], bad: list[str], others: Counter[str]
) -> list[Seed]:
    """The seeds of all files that are of public sets; ``others`` counts the rows in other languages."""
    readings: dict[str, Reading] = {}
    for file in files:
        if file.schema is not None:
            reading = readings.setdefault(file.schema.name, Reading(file.schema))
            for row in file.rows:
                reading.add(row)
    seeds: list[Seed] = []
    for reading in readings.values():
        _, requests = reading.finished()
        counts["seed rows read"] += reading.counts.pop("rows read")
        counts.update({f"seed {name}": number for name, number in reading.counts.items() if number})
        bad += reading.bad
        for request in requests:
            try:
                other = foreign(request["language"], request["request"], language)
            except ValueError as error:
                bad.append(f"{request['id']}: {error}")
                continue
            if other:
                others[other] += 1
            else:
                seeds.append(_seed(request, reading.schema, language))
    return seeds


def _seed(request: Request, schema: Schema, language: str) -> Seed:
    """A benign prompt becomes a control: an item without a harmful request, which lends others its benign one."""
    benign = request["label"] == "benign"
    return Seed(
        id=request["id"],
        category=request["category"],
        language=language,
        licence=request["licence"],
        origin=schema.name,
        request="" if benign else request["request"],
        benign_request=request["request"] if benign else "",
    )
