"""Answers without a reply, and what a server was paid, in a few sentences a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longsafety.reporting.names import run_name
from longsafety.reporting.record import RunRecord
from longsafety.vocabulary import NO_REPLY

_SHOWN = 5
"""Most answers that a line names."""
_WORDS = {
    "cut_off": "cut off",
    "refused": "refused by the provider",
    "filtered": "blocked by its filter",
    "too_long": "too long for the server",
    "failed": "failed (the same command asks for these again)",
}


def outcome_lines(records: Sequence[RunRecord]) -> list[str]:
    """A line for each run with answers that have no reply."""
    lines = [(run_name(record), outcome_line(record.evaluation)) for record in records]
    return [f"{name} tokens: {line}" for name, line in lines if line]


def outcome_line(facts: Mapping[str, Any]) -> str:
    """The facts of ``evaluation.outcomes.outcome_facts`` as sentences; empty where every answer has a reply."""
    counts = facts.get("outcomes", {})
    silent = sum(counts.get(name, 0) for name in NO_REPLY)
    if not silent:
        return ""
    listed = ", ".join(f"{counts[name]} {_WORDS[name]}" for name in NO_REPLY if counts.get(name))
    named = facts["without_reply"][:_SHOWN]
    more = f"; and {silent - len(named)} more" if silent > len(named) else ""
    which = f"{'; '.join(named)}{more}".rstrip(".")
    return (
        f"{silent} of {sum(counts.values())} answers have no reply and are part of no share: {listed}. "
        f"They are {which}."
    )


def cost_line(facts: Mapping[str, Any]) -> str:
    """What a server counted and costs; empty where none was asked."""
    if "prompt_tokens" not in facts:
        return ""
    cost = f", {facts['cost']:.4g} at evaluation.server.price" if "cost" in facts else ""
    return f"{facts['prompt_tokens']:,} of prompts, {facts['reply_tokens']:,} of replies{cost}"
