"""A public schema is added in one place: every reader of public sets then knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longsafety.errors import DataError
from longsafety.formats.fields import Fields
from longsafety.formats.public import read_public, recognised
from longsafety.formats.schema import Identified, Schema
from longsafety.formats.schemas import SCHEMAS
from longsafety.samples.recipe import Sample
from longsafety.scenarios.seeds.load import load_seeds


def dialogue(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    return identity, [schema.chat(identity, [(row.text("ask"), row.text("reply"))])]


def demand(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.optional_identity()}"
    return identity, [schema.request(identity, row.text("demand"), row.text("area"))]


def study(schema: Schema, row: Fields) -> Identified:
    identity = f"{schema.name}/{row.identity()}"
    item = Sample(
        id=identity, pair_id=identity, task="Study", scenario="", kind="open", category="", seed_id=identity,
        licence=schema.licence, context=(), question=row.text("ask"), answer="",
    )  # fmt: skip
    row.counts.append("items without a context")
    return identity, [item]


ADDED = (
    Schema("dialogue", "MIT", "chats", (("ask", "reply"),), dialogue),
    Schema("demand", "CC0-1.0", "requests", (("demand", "area"),), demand),
    Schema("study", "MIT", "items", (("id", "ask", "year"),), study, contexts=("id", "context")),
)


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    for schema in ADDED:
        monkeypatch.setitem(SCHEMAS, schema.name, schema)


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_added_chats_are_recognised_and_checked(tmp_path: Path) -> None:
    found = read_public(write(tmp_path / "a.jsonl", {"ask": "q", "reply": "a"}))
    assert (found.schema, found.kind, found.licence) == ("dialogue", "chats", "MIT")
    (chat,) = found.samples
    assert (chat.id, chat.question, chat.answer, chat.licence) == ("dialogue/a.jsonl:1", "q", "a", "MIT")
    with pytest.raises(DataError, match=r"a\.jsonl:1: reply = 5: not a text; give one\n1 of 1 rows are bad \(dialogue"):
        read_public(write(tmp_path / "a.jsonl", {"ask": "q", "reply": 5}))
    with pytest.raises(DataError, match=r"fit no schema; .*; dialogue \(ask, reply\)"):
        read_public(write(tmp_path / "a.jsonl", {"ask": "q"}))


def test_added_requests_are_seeds(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"demand": "Do harm", "area": "crime"})
    schema = recognised(file)
    assert schema is not None and schema.name == "demand"
    own = [seed for seed in load_seeds(str(file)).seeds if seed.request == "Do harm"]
    assert [(seed.category, seed.licence) for seed in own] == [("crime", "CC0-1.0")]


def test_added_items_may_keep_their_contexts_apart(tmp_path: Path) -> None:
    rows = [{"id": 1, "ask": "q", "year": 2024}, {"id": 1, "context": "long"}]
    found = read_public(write(tmp_path / "a.jsonl", *rows))
    assert [(one.context, one.question) for one in found.samples] == [(("long",), "q")]
    assert found.counts == {
        "rows read": 2,
        "bad rows": 0,
        "rows of contexts": 1,
        "column not used: year": 1,
        "samples": 1,
    }
