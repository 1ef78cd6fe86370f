"""Rows of the table of answers, with the columns that matter to a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from longsafety.evaluation.answers import answers_schema
from longsafety.vocabulary import right_role

FOUR = ["hallucinates", "ignores", "aware_unsafe", "safe"]
TWO = ["unsafe", "safe"]


def row(
    pair: str, kind: str, scores: list[float] | None = None, chosen: int | None = None, **other: Any
) -> dict[str, Any]:
    """One answer; ``chosen`` defaults to the highest score, ``scores`` to 0 but for 1 at ``chosen``. Each pair is of a
    seed item of its own."""
    roles = other.pop("roles", FOUR)
    comply = other.pop("comply_role", roles[-2])
    if scores is None:
        scores = [float(place == chosen) for place in range(len(roles))]
    chosen = int(np.argmax(scores)) if chosen is None else chosen
    item = pair if kind == "harmful" else f"{pair}-{kind}"
    values: dict[str, Any] = {
        "item_id": item,
        "pair_id": pair,
        "task": "KeywordRAG",
        "scenario": "QH",
        "kind": kind,
        "category": "c",
    }
    values |= {
        "seed_id": f"s-{pair}",
        "document_id": None,
        "max_tokens": 256,
        "num_tokens": 255,
        "depth": None,
        "scorer": "likelihood",
        "order_index": 0,
    }
    values |= {"roles": roles, "scores": scores, "wording_scores": [[s] for s in scores], "order": None}
    values |= {"comply_role": comply, "right": right_role(kind, comply), "chosen": chosen}
    return values | {"status": "unparsed" if chosen == -1 else "ok"} | other


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def write(path: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=answers_schema), path)
    return path
