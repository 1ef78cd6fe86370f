"""What became of the requests of an evaluation: how many have no reply, which, why, and what they cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from longsafety.chat.spending import Spending
from longsafety.evaluation.answers import without_reply
from longsafety.settings import Server
from longsafety.vocabulary import OUTCOMES

_NAMED = 20
"""Most answers without a reply that are named."""


def outcome_facts(answers: pd.DataFrame, server: Server | None) -> dict[str, Any]:
    """outcomes (outcome → number of answers, where any is not ``answered``), without_reply (at most 20 lines: item,
    scorer and reason), failures (reason → number of answers without a reply); and where a server counted tokens
    prompt_tokens, reply_tokens, and with a price cost.
    """
    facts: dict[str, Any] = {}
    counts = Counter(answers["outcome"])
    if set(counts) != {"answered"}:
        facts["outcomes"] = {name: counts[name] for name in OUTCOMES if counts[name]}
    silent = answers[without_reply(answers)]
    if len(silent):
        rows = zip(silent["item_id"], silent["scorer"], silent["reason"], strict=True)
        facts["without_reply"] = [f"{item} ({scorer}): {reason}" for item, scorer, reason in rows][:_NAMED]
        facts["failures"] = dict(Counter(str(reason).split(":")[0] for reason in silent["reason"]).most_common())
    if answers["prompt_tokens"].notna().any():
        spent = Spending(len(answers), *(int(answers[name].sum()) for name in ("prompt_tokens", "reply_tokens")))
        facts |= {"prompt_tokens": spent.prompt_tokens, "reply_tokens": spent.reply_tokens}
        if server is not None and (server.price.prompt or server.price.reply):
            facts["cost"] = round(spent.money(server.price), 6)
    return facts
