"""A user's seed items: rows in our layout, or of public sets of requests, file by file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import fields
from typing import Any, NamedTuple

from longsafety.errors import DataError
from longsafety.formats.by_file import rows_by_file
from longsafety.formats.fields import no_text
from longsafety.formats.public import bad_lines
from longsafety.formats.row import Row
from longsafety.formats.schema import LOST_RULE, is_lost
from longsafety.samples.language import LANGUAGES
from longsafety.scenarios.seeds.columns import REQUEST_KEYS, columns_of
from longsafety.scenarios.seeds.options import Roles, check_options
from longsafety.scenarios.seeds.public import check_holds_requests, public_seeds
from longsafety.scenarios.seeds.review import ACCEPTED, REJECTED, UNREVIEWED
from longsafety.scenarios.seeds.seed import Seed, frozen
from longsafety.scenarios.seeds.shipped import SHIPPED
from longsafety.scenarios.seeds.spoken import foreign, in_one_language, reads_like

_OF_A_CONTROL = {"id", "task", "split", "licence", "origin", "benign_request", "benign_answer", "benign_answers"}
_TEXTS = (
    *("request", "safe_answer", "benign_request", "benign_answer", "question", "statement", "statement_safe_answer"),
    *("benign_statement", "benign_statement_answer", "passage"),
)


def own_seeds(
    source: str,
    language: str,
    tasks: Collection[str],
    roles: Roles,
    counts: Counter[str],
    bad: list[str],
    key: str = "scenario.seeds",
) -> list[Seed]:
    """The seed items of a user's source. Rows in another language than ``language`` are left out and counted.

    ``bad`` gets a line for each row that is wrong. Raises DataError for a source that does not exist, that holds no
    requests, or that is in another language altogether.
    """
    files = list(rows_by_file(source, counts, key))
    others: Counter[str] = Counter()
    for file in files:
        check_holds_requests(file)
    seeds = public_seeds(files, language, counts, bad, others)
    rows = (row for file in files if file.schema is None for row in file.rows)
    taken = {seed.id: f"a row of {seed.origin}" for seed in seeds}
    seeds += _user_seeds(rows, language, tasks, roles, counts, bad, others, taken)
    for other, number in others.items():
        counts[f"seed rows left out: in {other}, not in {language} (scenario.language)"] = number
    if others and not seeds:
        found = ", ".join(f"{number} in {other}" for other, number in others.items())
        spoken = next((other for other in others if other in LANGUAGES), None)
        fix = f"set scenario.language={spoken}" if spoken else "translate them: options and answers are in en or zh"
        lost = f"{bad_lines(bad)}\n" if bad else ""
        raise DataError(f"{lost}{key} = {source}: no row is in scenario.language = {language} ({found}); {fix}")
    like = reads_like([seed.request for seed in seeds if seed.request]) if language == "en" else ""
    if like not in ("", "en"):
        counts[f"seed rows that together read like {like}: asked as they are, beside options in en"] = len(seeds)
    return seeds


def _user_seeds(
    rows: Iterable[Row],
    language: str,
    tasks: Collection[str],
    roles: Roles,
    counts: Counter[str],
    bad: list[str],
    others: Counter[str],
    taken: dict[str, str],
) -> list[Seed]:
    """``taken``: the ids of other seeds, with their places."""
    seeds: list[Seed] = []
    for row in rows:
        counts["seed rows read"] += 1
        problem, seed = row.problem, None
        if not problem:
            try:
                seed = _user_seed(row, language, tasks, roles, counts, others)
                if seed is not None and seed.id in taken:
                    problem = f"id = {seed.id}: stands already at {taken[seed.id]}; ids are unique, rename one"
                elif seed is not None:
                    taken[seed.id] = row.place
            except ValueError as error:
                problem = str(error)
        if problem:
            bad.append(f"{row.place}: {problem}")
            counts["seed rows left out: bad"] += 1
        elif seed is not None:
            seeds.append(seed)
    return seeds


def distinct(seeds: list[Seed], counts: Counter[str]) -> list[Seed]:
    seen: dict[tuple[str, str], Seed] = {}
    for seed in seeds:
        asked = seed.request or seed.statement or seed.name or f"benign: {seed.benign_request}"
        key = (seed.task, " ".join(asked.lower().split()))
        if key in seen:
            counts["seed rows rejected: the same request again"] += 1
        else:
            seen[key] = seed
    return list(seen.values())


def _user_seed(
    row: Row, language: str, tasks: Collection[str], roles: Roles, counts: Counter[str], others: Counter[str]
) -> Seed | None:
    """The seed of a row in our layout; None for one in another language, which is added to ``others``.

    Raises ValueError where it lacks what it is made of, or has a value of a wrong type.
    """
    values = {key: _without_null(value) for key, value in row.values.items()}
    values = {key: value for key, value in values.items() if value not in (None, "", [], {})}
    columns = columns_of(row, values)
    text = values.pop(columns.request).strip() if columns.request else ""
    if is_lost(text):
        raise ValueError(f"{columns.request} = {text}: {LOST_RULE}")
    if columns.category == "topic":
        row_category = values.pop("topic")
    else:
        row_category = values.get(columns.category, row.part) if columns.category else row.part
    control = columns.label == "benign" or not (text or values.keys() & {"statement", "crimes"})
    if text:
        values["benign_request" if control else "request"] = text
    elif control and (columns.label == "benign" or "benign_request" not in values):
        raise ValueError(
            f"no harmful request; each row needs one of {', '.join(REQUEST_KEYS)}, a statement, or a name with crimes "
            f"(it has {', '.join(row.values)})"
        )
    asked = next((values[key] for key in ("request", "statement", "benign_request") if key in values), "")
    spoken = str(values[columns.language]) if columns.language else ""
    if other := foreign(spoken, str(asked), language):
        others[other] += 1
        return None
    if columns.licence:
        values["licence"] = columns.licence
    known = {item.name: item.type for item in fields(Seed)}
    for key in known.keys() & values.keys():
        rule = _FORMS[str(known[key])]
        value = values[key] = str(values[key]) if key == "id" else frozen(_of_a_cell(values[key], rule))
        if not rule.holds(value):
            raise ValueError(f"{key} = {row.values[key]!r}: is not {rule.name}; write it as one{rule.in_a_cell}")
        if wrong := no_text(value):
            raise ValueError(f"{key} = {repr(value)[:60]}: {wrong}")
        if key in _TEXTS and is_lost(str(value)):
            raise ValueError(f"{key} = {value}: stands for a missing value; give the text, or leave it empty")
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
    given = {key: values[key] for key in known.keys() & values.keys() - {"category", "language"}}
    if control:
        _check_control(given)
    in_one_language({key: given[key] for key in _TEXTS if key in given}, language)
    for column in values.keys() - known.keys() - columns.used:
        counts[f"seed column not used: {column or '(without a name)'}"] += 1
    if columns.by_name and columns.label == "benign":
        counts["seed rows read as benign prompts, because the name of their file, folder or split says so"] += 1
    origin = given.pop("origin", row.part)
    own = {"category": row_category, "language": language, "origin": row.part if origin == SHIPPED else origin}
    return Seed(**{"id": row.name, **given, **own})


def _check_control(given: dict[str, Any]) -> None:
    """Raises ValueError for fields that a benign prompt cannot have."""
    if wrong := sorted(given.keys() - _OF_A_CONTROL):
        raise ValueError(
            f"{', '.join(wrong)}: stand beside a benign prompt, which has none; leave them out, or correct its label"
        )


def _without_null(value: Any) -> Any:
    """Tables of several kinds of rows have all keys in each: those of others hold nothing."""
    if not isinstance(value, dict):
        return value
    return {key: _without_null(part) for key, part in value.items() if part is not None}


def _of_a_cell(value: Any, form: _Form) -> Any:
    """A list or mapping that stands in a cell of CSV, as JSON; any other value as it is."""
    if not form.in_a_cell or not isinstance(value, str) or not value.strip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


class _Form(NamedTuple):
    """What a user's value must be, by the type of the field."""

    name: str
    holds: Callable[[Any], bool]
    in_a_cell: str = ""
    """How it is written in a cell of CSV, for messages."""


def _are_texts(value: Any, count: int | None = None) -> bool:
    rightly_many = isinstance(value, tuple) and (count is None or len(value) == count)
    return rightly_many and all(isinstance(part, str) for part in value)


def _are_options(value: Any) -> bool:
    """Role → wordings; or task → these."""
    return isinstance(value, dict) and all(_are_texts(part) or _are_options(part) for part in value.values())


_FORMS = {
    "str": _Form("a text", lambda value: isinstance(value, str)),
    "tuple[str, ...]": _Form("a list of texts", _are_texts, ', in CSV as JSON: ["…", "…"]'),
    "Mapping[str, Any]": _Form(
        "a mapping of roles to lists of texts", _are_options, ', in CSV as JSON: {"safe": ["…", "…"], …}'
    ),
    "tuple[tuple[str, str], ...]": _Form(
        "a list of [user, assistant] texts",
        lambda value: isinstance(value, tuple) and all(_are_texts(turn, 2) for turn in value),
        ', in CSV as JSON: [["…", "…"]]',
    ),
}
