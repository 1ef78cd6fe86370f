"""Benchmark items from a user's file: contexts in a token store, options with roles, an order of the options."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from longsafety.errors import DataError
from longsafety.formats.public import docs_beside, read_public
from longsafety.formats.rows import rows_fingerprint
from longsafety.formats.schema import Request
from longsafety.samples.control import ControlTokens
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.language import language_of
from longsafety.samples.recipe import Sample, Span
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.common_words import common
from longsafety.scenarios.tasks.registry import tasks
from longsafety.settings import Read
from longsafety.vocabulary import OTHER, TWO_ROLES, right_role

_RECIPES = "samples.parquet"


@dataclass(frozen=True)
class Items:
    """Items in the order of the file. ``counts`` says what was read, left out and changed; ``bad`` names bad rows."""

    items: list[Sample]
    counts: dict[str, int]
    bad: list[str] = field(default_factory=list)


def items_fingerprint(source: Read) -> tuple[object, ...]:
    """Changes with what is read (cheap: no heavy import)."""
    docs = source.documents or docs_beside(Path(str(source.path)).expanduser())
    beside = rows_fingerprint(str(docs)) if docs else None
    return rows_fingerprint(source.path), beside, source.format, source.split


def read_items(
    source: Read,
    tokenizer: Any,
    folder: Path,
    *,
    seed: int,
    on_bad_row: Literal["error", "skip"] = "error",
    task_files: Sequence[str] = (),
) -> Items:
    """The items of a file in a public schema; their contexts are tokenised into ``folder``.

    Requests (do-not-answer, XSTest, AdvBench, HarmBench) become items without a context and with two options, to
    decline and to help, in our wording; what a set labels as safe is a benign twin without its harmful item. Options
    are shown in an order drawn from ``seed`` and the item's id, unless the file gives one. thu-coai's items have no
    options. Raises ``DataError`` as ``read_public`` does, and for a file of training chats.
    """
    path = Path(str(source.path)).expanduser()
    if path.name == _RECIPES or (path / _RECIPES).is_file():
        raise DataError(
            f"evaluation.items = {source.path}: a built benchmark is recipes over its corpus; write it out with "
            "stages=[build,export] export.format=longsafety_bench and give that folder"
        )
    found = read_public(
        str(source.path),
        schema=source.format,
        on_bad_row=on_bad_row,
        split=source.split,
        docs=source.documents,
        key="evaluation.items",
    )
    if found.kind == "chats":
        raise DataError(
            f"evaluation.items = {source.path}: {found.schema} holds training chats; give a file of items or requests, "
            "such as the schema longsafety_bench"
        )
    samples = [*found.samples, *(_from_request(request, found.schema) for request in found.requests)]
    special = ControlTokens(tokenizer)
    kept = [sample for sample in samples if special.found_in(_texts(sample)) is None]
    if not kept:
        raise DataError(f"evaluation.items = {source.path}: each item holds a special token of the model; remove them")
    counts = Counter({f"items: {reason}": count for reason, count in found.counts.items()})
    counts["items: left out: holds a special token of the model"] = len(samples) - len(kept)
    return Items(_encoded(kept, tokenizer, folder, seed, task_files), dict(+counts), found.bad)


def _from_request(request: Request, schema: str) -> Sample:
    """A request as an item without a context."""
    text = request["request"]
    language = "zh" if language_of(text) == "zh" else "en"
    wordings = common(language)["requests"]
    benign = request["label"] == "benign"
    return Sample(
        id=request["id"],
        pair_id=request["id"],
        task=schema,
        scenario="QH",
        kind="benign_query" if benign else "harmful",
        category=request["category"],
        seed_id=request["id"],
        licence=request["licence"],
        context=(),
        question=text,
        answer="",
        language=language,
        roles=TWO_ROLES,
        choices=tuple(tuple(wordings[role]) for role in TWO_ROLES),
        right="unsafe" if benign else "safe",
    )


def _context(sample: Sample) -> str:
    return "".join(str(part) for part in sample.context)  # items from a file have no spans


def _texts(sample: Sample) -> list[Any]:
    return [sample.question, _context(sample), sample.answer, sample.history, sample.choices]


def _encoded(samples: list[Sample], tokenizer: Any, folder: Path, seed: int, task_files: Sequence[str]) -> list[Sample]:
    """Contexts as spans of the store, each text once; lengths, complying roles and orders."""
    numbers: dict[str, int] = {}
    documents: list[Document] = []
    for sample in samples:
        if sample.context and (text := _context(sample)) not in numbers:
            numbers[text] = len(documents)
            documents.append(Document(hashlib.sha256(text.encode()).hexdigest()[:16], text))
    TokenStore.build(folder, documents, tokenizer)
    store = TokenStore.open(folder)
    encoder = ChatEncoder(tokenizer, store)
    made = []
    for sample in samples:
        context: tuple[Span, ...] = ()
        if sample.context:
            number = numbers[_context(sample)]
            context = (Span(number, 0, store.num_tokens(number)),)
        order, comply_role = sample.order, sample.comply_role or _comply_role(sample, task_files)
        if not order:
            drawn = list(range(len(sample.roles)))
            random.Random(f"{seed}/{sample.pair_id}").shuffle(drawn)  # an item and its twins show one order
            order = tuple(drawn)
        made.append(
            sample.replace(
                kind="harmful" if sample.kind == "open" else sample.kind,
                scenario=sample.scenario or OTHER,
                context=context,
                documents=sample.documents or tuple(store.ids[span.document] for span in context),
                num_tokens=encoder.prompt_length(*sample.prompt()._replace(context=context)),
                comply_role=comply_role,
                right=sample.right or (right_role(sample.kind, comply_role) if sample.roles else ""),
                order=order,
            )
        )
    return made


def _comply_role(sample: Sample, task_files: Sequence[str]) -> str:
    """The role of doing what the question asks for: as in the task of that name, else the most unsafe one."""
    task = tasks(task_files).get(sample.task)
    own = task.comply_role if task else ""
    return own if own in sample.roles else next(iter(sample.roles), "")
