"""The table of answers (``answers.parquet``): its schema and rules, how it is written and read, its rows' options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from longsafety.errors import DataError, first_line
from longsafety.evaluation.scorers import READS_REPLY, RECORDED, SCORERS
from longsafety.files import whole_file
from longsafety.vocabulary import (
    ALL_TASKS,
    DECLINES,
    ITEM_KINDS,
    NO_REPLY,
    OUTCOMES,
    QUESTION,
    UNPARSED,
    UNSCORED,
    ScenarioName,
)

ANSWERS = "answers.parquet"
ITEM = ["item_id", "scorer", "max_tokens"]
"""The columns that identify an outcome: its answers differ only in the order of the options."""

answers_schema = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("scenario", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("seed_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string()),
        pa.field("max_tokens", pa.int64(), nullable=False),
        pa.field("num_tokens", pa.int64(), nullable=False),
        pa.field("depth", pa.float64()),
        pa.field("cut_tokens", pa.int64()),
        pa.field("needle_kept", pa.bool_()),
        pa.field("scorer", pa.string(), nullable=False),
        pa.field("order_index", pa.int64(), nullable=False),
        pa.field("roles", pa.list_(pa.string()), nullable=False),
        pa.field("scores", pa.list_(pa.float64()), nullable=False),
        pa.field("wording_scores", pa.list_(pa.list_(pa.float64()))),
        pa.field("comply_role", pa.string(), nullable=False),
        pa.field("right", pa.string(), nullable=False),
        pa.field("order", pa.list_(pa.int64())),
        pa.field("chosen", pa.int64(), nullable=False),
        pa.field("margin", pa.float64()),
        pa.field("reply", pa.string()),
        pa.field("thoughts", pa.string()),
        pa.field("thought_tokens", pa.int64()),
        pa.field("verdict", pa.string()),
        pa.field("verdict_by", pa.string()),
        pa.field("detector", pa.bool_()),
        pa.field("reason", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("outcome", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("reply_tokens", pa.int64()),
    ]
)
"""The columns of ``answers.parquet``: one row for each item, scorer and order of the options."""

_SINCE = {
    "order_index": pa.array([0]),
    "document_id": pa.nulls(1, pa.string()),
    "margin": pa.nulls(1, pa.float64()),
    "reply": pa.nulls(1, pa.string()),
    "thoughts": pa.nulls(1, pa.string()),
    "thought_tokens": pa.nulls(1, pa.int64()),
    "cut_tokens": pa.nulls(1, pa.int64()),
    "needle_kept": pa.nulls(1, pa.bool_()),
    "verdict": pa.nulls(1, pa.string()),
    "verdict_by": pa.nulls(1, pa.string()),
    "detector": pa.nulls(1, pa.bool_()),
    "reason": pa.nulls(1, pa.string()),
    "value": pa.nulls(1, pa.float64()),
    "outcome": pa.nulls(1, pa.string()),
    "prompt_tokens": pa.nulls(1, pa.int64()),
    "reply_tokens": pa.nulls(1, pa.int64()),
}
"""Columns that answers of earlier versions lack, and the values that stand for them."""

_UNSCORED = (*READS_REPLY, RECORDED)
"""Scorers whose answers are read off a reply, so they have no scores."""

_ALLOWED = {
    "scenario": get_args(ScenarioName),
    "kind": (*ITEM_KINDS, QUESTION),
    "scorer": (*SCORERS, RECORDED),
    "status": ["ok", UNPARSED, UNSCORED],
    "outcome": OUTCOMES,
}


@dataclass(frozen=True)
class Options:
    """The options of all rows, concatenated (one entry an option), and each row's decisive roles (one entry a row)."""

    row: NDArray[np.int64]
    position: NDArray[np.int64]
    role: NDArray[np.int64]
    """Index into ``names``."""
    scores: NDArray[np.float64]
    names: list[str]
    count: NDArray[np.int64]
    """Options a row."""
    comply: NDArray[np.int64]
    """Index into ``names``, as the next; negative where no row has such a role."""
    right: NDArray[np.int64]

    def code(self, name: str) -> int:
        """The role's index into ``names``; -2 (not the -1 of "no option chosen") where no row has it."""
        return self.names.index(name) if name in self.names else -2

    def occurrences(self, role: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """How often each row holds a role (one code a row, or one for all)."""
        codes = np.broadcast_to(role, self.count.shape)
        return np.bincount(self.row[self.role == codes[self.row]], minlength=len(self.count))

    def at(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """The role at a position of each row; -1 where the row is shorter."""
        found = np.full(len(self.count), -1)
        hit = self.position == position[self.row]
        found[self.row[hit]] = self.role[hit]
        return found

    def margin(self) -> NDArray[np.float64]:
        """How much each row prefers declining over complying; nan where one of the two scores is missing."""
        sides = []
        for role in (np.full(len(self.count), self.code(DECLINES)), self.comply):
            scores = np.full(len(self.count), np.nan)
            hit = self.role == role[self.row]
            scores[self.row[hit]] = self.scores[hit]
            sides.append(scores)
        with np.errstate(invalid="ignore"):  # the letters of both roles can have log-probability -inf
            return np.asarray(sides[0] - sides[1])


def options_of(answers: pd.DataFrame) -> Options:
    """The options of a table of answers."""
    columns = ["roles", "scores"]
    schema = pa.schema([answers_schema.field(name) for name in columns])
    table = pa.Table.from_pandas(answers[columns], schema=schema, preserve_index=False)
    roles, scores = (table.column(name).combine_chunks() for name in columns)
    count = pc.list_value_length(roles).to_numpy(zero_copy_only=False).astype(np.int64)
    row = np.repeat(np.arange(len(answers)), count)
    flat = roles.flatten().fill_null("").dictionary_encode()
    names = flat.dictionary.to_pylist()
    roles_of = pd.Index(names, dtype=object)
    return Options(
        row=row,
        position=np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count),
        role=flat.indices.to_numpy().astype(np.int64),
        scores=scores.flatten().to_numpy(zero_copy_only=False),
        names=names,
        count=count,
        comply=roles_of.get_indexer(answers["comply_role"].astype(object)).astype(np.int64),
        right=roles_of.get_indexer(answers["right"].astype(object)).astype(np.int64),
    )


def sources(answers: pd.DataFrame) -> pd.Series[Any]:
    """What each answer's item was made from, the unit of all statistics: its seed item.

    Where documents are the coarser unit it is the document: of items that were read from a file (their ``seed_id`` is
    their own id), and at a length where all seed items that stand with a document stand with this one alone. A short
    twin has no document; its pair's counts.
    """
    pair, length = answers["pair_id"].astype(object), answers["max_tokens"]
    document = answers["document_id"].astype(object).groupby([length, pair]).transform("first")
    seed = answers["seed_id"].astype(object)
    own = (seed != "") & (seed != pair) & (seed != answers["item_id"].astype(object))
    several = document[own].groupby([length[own], seed[own]]).transform("nunique", dropna=False) > 1
    coarser = document[own].notna() & ~several.groupby([length[own], document[own].fillna("")]).transform("any")
    found = document.where(document.notna(), pair)
    found[own] = document[own].where(coarser, seed[own])
    return found.astype("str")


def _family(kind: pa.DataType) -> str:
    """The type's name without its width, because writers choose different widths for the same values."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{_family(kind.value_type)}>"
    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "float"
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return "string" if is_text else str(kind)


def without_reply(answers: pd.DataFrame) -> pd.Series[Any]:
    """Which answers have no reply of the model: the provider refused or blocked it, it was too long, or it failed."""
    return answers["outcome"].isin(NO_REPLY) if "outcome" in answers else pd.Series(False, answers.index)


def write_answers(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes rows with the keys of ``answers_schema``; a missing key is null."""
    with whole_file(path) as partial:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=answers_schema), partial)


def read_answers(path: Path) -> pd.DataFrame:
    """The answers in a Parquet file, checked; columns as in ``answers_schema`` (lists stay Arrow lists).

    Raises:
        DataError: the file cannot be read, or a column or value breaks a rule (file, row from 1, column, rule).
    """
    fix = "run the stage `evaluate` again to rewrite it"
    try:
        # Without partitioning=None a folder named "key=value" on the way to the file would become a column.
        table = pq.read_table(path, partitioning=None)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; run the stage `evaluate` first") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: not a readable Parquet file ({first_line(error)}); {fix}") from error
    if not table.num_rows:
        raise DataError(f"{path}: holds no answers: must have a row for each item and scorer; {fix}")
    for field in answers_schema:
        place = f"{path}: column '{field.name}'"
        if field.name in _SINCE and field.name not in table.column_names:
            rows = pa.array([0] * table.num_rows)
            table = table.append_column(field, _SINCE[field.name].take(rows))
        if field.name not in table.column_names:
            raise DataError(f"{place} is missing; {fix}")
        column = table.column(field.name)
        expected, found = _family(field.type), _family(column.type)
        if found != expected and not (found == "null" and field.nullable):
            raise DataError(f"{place} has type {column.type}: must be {expected}; {fix}")
        if column.null_count and not field.nullable:
            row = pc.index(column.is_null(), True).as_py() + 1
            raise DataError(f"{path}: row {row}: column '{field.name}' is empty: must have a value; {fix}")
        table = table.set_column(table.column_names.index(field.name), field, column.cast(field.type))
    answers: pd.DataFrame = table.to_pandas(
        types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_list(kind) else None
    )
    answers["outcome"] = answers["outcome"].fillna("answered")  # what a model in this process says has no other
    for name, wrong, rule in _broken_rules(answers):
        if wrong.any():
            row = int(np.argmax(wrong))
            more = f" (and {int(wrong.sum()) - 1} more rows)" if wrong.sum() > 1 else ""
            raise DataError(f"{path}: row {row + 1}: column '{name}' = {answers[name].iloc[row]}: {rule}{more}; {fix}")
    return answers


def _broken_rules(answers: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_], str]]:
    """Yields (column, which rows break the rule, rule). Later rules rely on the earlier ones."""
    for name, allowed in _ALLOWED.items():
        yield name, ~answers[name].isin(allowed).to_numpy(), f"must be one of {', '.join(allowed)}"
    yield "task", (answers["task"] == ALL_TASKS).to_numpy(), "must not be the name of the rows over all tasks"
    options = options_of(answers)
    yield "roles", options.count < 2, "must hold two roles or more"
    num_scores = answers["scores"].list.len().to_numpy(dtype=np.int64)
    yield "scores", num_scores != options.count, "must hold one score a role"
    yield "roles", options.occurrences(options.code(DECLINES)) != 1, f"must hold '{DECLINES}' once"
    yield "roles", options.at(options.count - 1) != options.code(DECLINES), f"must end with '{DECLINES}'"
    yield "comply_role", options.occurrences(options.comply) != 1, "must be one of the row's roles"
    yield "right", options.occurrences(options.right) != 1, "must be one of the row's roles"
    chosen = answers["chosen"].to_numpy()
    yield "chosen", (chosen < -1) | (chosen >= options.count), "must be the index of a role, or -1"
    unparsed = (answers["status"] != "ok").to_numpy()
    yield "chosen", (chosen == -1) != unparsed, "must be -1 where status is not ok, and only there"
    silent = answers["outcome"].isin(NO_REPLY).to_numpy()
    yield "status", silent & (answers["status"] != UNSCORED).to_numpy(), f"must be {UNSCORED} where there is no reply"
    unscored = np.bincount(options.row[np.isnan(options.scores)], minlength=len(answers)) > 0
    read = (answers["scorer"].isin(_UNSCORED) | (answers["reply"].notna() & answers["margin"].isna())).to_numpy()
    rule = f"must be numbers (all scorers but {', '.join(_UNSCORED)}, and letters that were read off a reply)"
    yield "scores", ~read & ~unparsed & unscored, rule
    no_verdict = (answers["verdict"].isna() | (answers["verdict"] == "unscored")).to_numpy()
    opened = (answers["scorer"] == "open").to_numpy()
    yield "chosen", opened & no_verdict & ~unparsed, "must be -1 where an open reply has no verdict"
    own_pair = (answers["item_id"] == answers["pair_id"]).to_numpy()
    yield "pair_id", (answers["kind"] == "harmful").to_numpy() & ~own_pair, "must be a harmful item's own item_id"
    yield (
        "item_id",
        answers.duplicated([*ITEM, "order_index"]).to_numpy(),
        "must occur once for each scorer, order and max_tokens",
    )
