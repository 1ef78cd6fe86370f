"""One answer as another program recorded it, and how it becomes a row of our table of answers."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from longsafety.chat.text import clean
from longsafety.evaluation.asking.parse import parsed
from longsafety.evaluation.official.read import content_hash
from longsafety.evaluation.scorers import RECORDED
from longsafety.formats.item_sets import ROLES
from longsafety.formats.schema import scenario_of
from longsafety.vocabulary import DECLINES, ITEM_KINDS, LETTERS, QUESTION, UNSCORED, right_role, task_name

AGAIN = "documents that occur again with the same text (numbered in their order)"
_RIGHT, _WRONG = DECLINES, "wrong"
"""The roles of an option of a question that is no item of ours. The last role of every row has this name."""
_LABELS = {"question", "answer", "query", "q"}
"""Words that stand before a question in one program's prompt and not in another's."""


@dataclass
class Logged:
    """One recorded answer."""

    place: str
    task: str
    text: str
    """The document's question, as far as the log tells it from the prompt; empty where it does not."""
    identity: str
    """What stands for the document where it has no such text."""
    options: Sequence[str] = ()
    """As shown."""
    right: int | None = None
    """The place of the right option, where there is one."""
    chosen: int | None = None
    """The place of the option that the other program took."""
    value: float | None = None
    """The score that it gave, 0 to 1."""
    scores: Sequence[float] = ()
    """The log-likelihood of each option."""
    reply: str | None = None
    reason: str = ""
    """Why there is no score."""
    repeat: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the document: those of our own exports are known."""


def answer_rows(
    logged: Iterable[Logged], *, scoring: Literal["fixed", "official"], counts: Counter[str]
) -> list[dict[str, Any]]:
    """Rows with the keys of ``answers_schema``.

    ``fixed`` parses the reply again where options were shown and one of them is right; ``official`` takes what the
    other program found. An item of our own exports keeps its kind, roles and pair; any other document is a *question*
    whose outcome is the score. Documents are named by their content, so that the same one has one name in every log.
    """
    rows: list[dict[str, Any]] = []
    seen: Counter[tuple[str, str, int]] = Counter()
    for one in logged:
        _make_clean(one)
        order = _order(one)
        name, content = _item(one) if order is not None else _document(one)
        seen[name, content, one.repeat] += 1
        if (number := seen[name, content, one.repeat]) > 1:
            counts[AGAIN] += 1
            name = f"{name}#{number}"
        row = _own_item(one, order, name, scoring) if order is not None else _question(one, name, scoring)
        rows.append({**_common(one, name, content), **row})
        if one.reason:
            counts[f"answers without a score: {one.reason}"] += 1
    return rows


def _make_clean(one: Logged) -> None:
    """Replaces what UTF-8 cannot hold in the answer's texts."""
    one.text, one.identity = clean(one.text), clean(one.identity)
    one.options = [clean(option) for option in one.options]
    one.reply = None if one.reply is None else clean(one.reply)


def _common(one: Logged, name: str, content: str) -> dict[str, Any]:
    task = task_name(clean(str(one.about.get("task") or one.task)))
    given = one.about.get("depth")
    depth = None
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 100:
        depth = given / 100 if given > 1 else float(given)
    return {
        "item_id": name,
        "pair_id": name,
        "task": task,
        "scenario": scenario_of(task) or "other",
        "category": clean(str(one.about.get("category") or "")),
        "seed_id": f"{name}#{content}",
        "document_id": name.partition("-")[0] if name.startswith("document/") else None,
        "max_tokens": 0,
        "num_tokens": 0,
        "depth": depth,
        "scorer": RECORDED,
        "order_index": one.repeat,
        "reply": one.reply,
        "reason": one.reason or None,
    }


def _order(one: Logged) -> list[int] | None:
    """The role of each option as shown, where the document is an item of our own exports."""
    order, kind = one.about.get("order"), one.about.get("kind")
    if not isinstance(order, list) or kind not in ITEM_KINDS or len(order) != len(one.options):
        return None
    if not all(type(place) is int for place in order):
        return None
    return order if sorted(order) == list(range(len(order))) else None


def _own_item(one: Logged, order: Sequence[int], name: str, scoring: str) -> dict[str, Any]:
    kind, count = str(one.about["kind"]), len(order)
    roles = list(ROLES.get(count, (*(f"choice_{number}" for number in range(1, count)), DECLINES)))
    right = right_role(kind, "") if one.right is None else roles[order[one.right]]
    place = _taken(one, scoring)
    pair = one.about.get("twin_of") if kind != "harmful" else None
    return {
        "kind": kind,
        "pair_id": clean(f"{one.about.get('task') or one.task}/{pair}") if pair else name,
        "roles": roles,
        "comply_role": right if right != DECLINES else roles[0],
        "right": right,
        "order": list(order),
        "scores": _by_role(one, order),
        **_chosen(one, None if place is None else order[place]),
    }


def _question(one: Logged, name: str, scoring: str) -> dict[str, Any]:
    """A document that is no item of ours: right or wrong, or a score in between."""
    if one.right is not None and len(one.options) > 1:
        order = [place if place < one.right else place - 1 for place in range(len(one.options))]
        order[one.right] = len(order) - 1
        roles = [*(f"{_WRONG}_{number}" for number in range(1, len(order))), _RIGHT]
        place = _taken(one, scoring)
        found = _chosen(one, None if place is None else order[place])
        return {
            "kind": QUESTION, "roles": roles, "comply_role": roles[0], "right": _RIGHT, "order": order,
            "scores": _by_role(one, order), **found,
        }  # fmt: skip
    chosen = None if one.value is None else int(one.value >= 0.5)
    return {
        "kind": QUESTION, "roles": [_WRONG, _RIGHT], "comply_role": _WRONG, "right": _RIGHT, "value": one.value,
        "scores": [float("nan")] * 2, **_chosen(one, chosen),
    }  # fmt: skip


def _taken(one: Logged, scoring: str) -> int | None:
    """The place of the option that counts as chosen. What the other program found right is the right one, also where
    it recorded a text in place of a letter."""
    if scoring == "official" or one.reply is None or len(one.options) > len(LETTERS):
        return one.right if one.chosen is None and one.value == 1 else one.chosen
    return parsed(one.reply, one.options)


def _chosen(one: Logged, role: int | None) -> dict[str, Any]:
    if one.reason:
        return {"chosen": -1, "status": UNSCORED}
    return {"chosen": -1 if role is None else role, "status": "unparsed" if role is None else "ok"}


def _by_role(one: Logged, order: Sequence[int]) -> list[float]:
    found = [float("nan")] * len(order)
    for place, score in enumerate(one.scores):
        found[order[place]] = score if math.isfinite(score) else float("nan")
    return found


def _item(one: Logged) -> tuple[str, str]:
    """Name of an item of ours, and the hash of its options."""
    task = one.about.get("task") or one.task
    return clean(f"{task}/{one.about.get('id', one.identity)}"), content_hash(one.options)


def _document(one: Logged) -> tuple[str, str]:
    """Name of a document by its content, and the hash of its options. One that is asked with options and without them
    is two items."""
    words = [word for word in re.findall(r"\w+", _plain(one.text)) if word not in _LABELS]
    content = hashlib.sha256(" ".join(words).encode()).hexdigest()[:12] if words else one.identity
    options = content_hash(one.options)
    return f"document/{content}-{options}", options


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
