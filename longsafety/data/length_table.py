"""The lengths of an arm's training rows by source: shown before the first step, kept with the mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from longsafety.data.tokens import TokenRows
from longsafety.data.trie import Trie


def length_rows(sources: Sequence[str], rows: TokenRows, lost: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """A row a source: rows, tokens_min, tokens_median, tokens_95, tokens_max, row_tokens, answer_tokens, distinct (the
    share of its tokens that remain when shared prefixes count once), dropped, trimmed.

    ``sources`` names each sample's, in training order; ``lost`` has the numbers of the over-long samples that were
    ``dropped`` and ``trimmed``. If every row of a source was dropped, its token counts are None.
    """
    dropped = {*lost.get("dropped", ())}
    kept = [source for place, source in enumerate(sources) if place not in dropped]
    assert len(kept) == len(rows)
    counted = {what: Counter(sources[place] for place in lost.get(what, ())) for what in ("dropped", "trimmed")}
    return [
        {
            "source": source,
            **_tokens(rows, [place for place, own in enumerate(kept) if own == source]),
            **{what: counts[source] for what, counts in counted.items()},
        }
        for source in dict.fromkeys(sorted(sources))
    ]


def _tokens(rows: TokenRows, places: Sequence[int]) -> dict[str, Any]:
    names = ("tokens_min", "tokens_median", "tokens_95", "tokens_max")
    if not places:
        return {"rows": 0, **dict.fromkeys(names), "row_tokens": 0, "answer_tokens": 0, "distinct": None}
    lengths = rows.lengths[list(places)]
    quantiles = np.quantile(lengths, [0, 0.5, 0.95, 1], method="lower")
    total = int(lengths.sum())
    return {
        "rows": len(places),
        **{name: int(value) for name, value in zip(names, quantiles, strict=True)},
        "row_tokens": total,
        "answer_tokens": int(rows.num_answers[list(places)].sum()),
        "distinct": Trie.of([rows[place].ids for place in places]).num_tokens / total,
    }
