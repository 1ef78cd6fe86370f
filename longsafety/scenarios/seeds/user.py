"""A user's seed items: rows in our layout, or of a public set of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import fields
from typing import Any, NamedTuple

from longsafety.formats.data_files import Row
from longsafety.formats.public import read_public, recognised
from longsafety.formats.rows import read_rows
from longsafety.scenarios.seeds.options import Roles, check_options
from longsafety.scenarios.seeds.review import ACCEPTED, REJECTED, UNREVIEWED
from longsafety.scenarios.seeds.seed import Seed, frozen

REQUEST_KEYS = ("request", "prompt", "question", "goal", "Behavior")
"""Keys under which public sets keep the harmful request (ours, do-not-answer, XSTest, AdvBench, HarmBench)."""
CATEGORY_KEYS = ("category", "risk_area", "SemanticCategory", "type")


def public_seeds(
    source: str, language: str, on_bad_row: str, counts: Counter[str], bad: list[str]
) -> list[Seed] | None:
    """The seeds of a public set of requests; None where the source is not one."""
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


def user_seeds(
    source: str, language: str, tasks: Collection[str], roles: Roles, counts: Counter[str], bad: list[str]
) -> list[Seed]:
    seeds: list[Seed] = []
    ids: dict[str, str] = {}
    for row in read_rows(source, counts=counts):
        counts["seed rows read"] += 1
        problem = row.problem
        if not problem:
            try:
                seed = _user_seed(row, language, tasks, roles)
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


def distinct(seeds: list[Seed], counts: Counter[str]) -> list[Seed]:
    seen: dict[tuple[str, str], Seed] = {}
    for seed in seeds:
        key = (seed.task, " ".join((seed.request or seed.statement or seed.name).lower().split()))
        if key in seen:
            counts["seed rows rejected: the same request again"] += 1
        else:
            seen[key] = seed
    return list(seen.values())


def _user_seed(row: Row, language: str, tasks: Collection[str], roles: Roles) -> Seed:
    """The seed of a row in our layout; ValueError where it lacks what it is made of, or has a value of a wrong type."""
    values = {key: value for key, value in row.values.items() if value not in (None, "", [], {})}
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
        value = values[key] = str(values[key]) if key == "id" else frozen(values[key])
        rule = _FORMS[str(known[key])]
        if not rule.holds(value):
            raise ValueError(f"{key} = {row.values[key]!r}: is not {rule.name}; write it as one")
    if values.get("task", "") not in tasks:
        named = ", ".join(sorted(filter(None, tasks)))
        raise ValueError(f"task = {values['task']}: must be one of {named}; leave it out for a general item")
    if "options" in values:
        check_options(values["options"], roles.get(values.get("task", ""), {}))
    if values.get("split", "") not in ("", "train", "bench"):
        raise ValueError(f"split = {values['split']}: must be train or bench; leave it out to have it drawn")
    if "crimes" in values and not values.keys() >= {"name", "harmless"}:
        raise ValueError("crimes: stand without name or harmless; give the person's name and some harmless deeds")
    if "lawful" in values and len(values["lawful"]) != len(values.get("crimes", ())):
        raise ValueError(
            f"lawful: {len(values['lawful'])} deeds for {len(values.get('crimes', ()))} crimes; give one for each"
        )
    if values.get("review_state", "") not in ("", UNREVIEWED, ACCEPTED, REJECTED):
        raise ValueError(
            f"review_state = {values['review_state']}: must be {UNREVIEWED}, {ACCEPTED} or {REJECTED}; fix it"
        )
    if "review_state" in values and values.get("language", language) != language:
        raise ValueError(f"language = {values['language']}: scenario.language is {language}; set it to this")
    category = next((values[key] for key in CATEGORY_KEYS if isinstance(values.get(key), str)), row.part)
    given = {key: values[key] for key in known.keys() & values.keys() - {"category", "language"}}
    return Seed(**{"id": row.name, **given, "category": category, "language": language})


class _Form(NamedTuple):
    """What a user's value must be, by the type of the field."""

    name: str
    holds: Callable[[Any], bool]


def _are_texts(value: Any, count: int | None = None) -> bool:
    rightly_many = isinstance(value, tuple) and (count is None or len(value) == count)
    return rightly_many and all(isinstance(part, str) for part in value)


def _are_options(value: Any) -> bool:
    """Role → wordings; or task → these."""
    return isinstance(value, dict) and all(_are_texts(part) or _are_options(part) for part in value.values())


_FORMS = {
    "str": _Form("a text", lambda value: isinstance(value, str)),
    "tuple[str, ...]": _Form("a list of texts", _are_texts),
    "Mapping[str, Any]": _Form("a mapping of roles to lists of texts", _are_options),
    "tuple[tuple[str, str], ...]": _Form(
        "a list of [user, assistant] texts",
        lambda value: isinstance(value, tuple) and all(_are_texts(turn, 2) for turn in value),
    ),
}
