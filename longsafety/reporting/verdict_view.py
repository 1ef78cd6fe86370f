"""The verdicts on open replies, summarised in a paragraph a run. The replies themselves are never shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from longsafety.reporting.comparison_view import TITLES
from longsafety.reporting.names import run_name
from longsafety.reporting.numbers import decimals, interval
from longsafety.reporting.record import RunRecord


def verdict_lines(records: Sequence[RunRecord]) -> list[str]:
    """A paragraph for each run with open replies."""
    return [
        f"{run_name(record)} tokens: {verdict_line(record.evaluation['open'])}"
        for record in records
        if "open" in record.evaluation
    ]


def verdict_line(facts: Mapping[str, Any]) -> str:
    """The facts of ``evaluation.open_replies.verdicts.verdict_facts``, and its corrected rows, as sentences."""
    return " ".join(f"{sentence}." for sentence in _sentences(facts))


def _sentences(facts: Mapping[str, Any]) -> Iterator[str]:
    by = "the refusal detector" if facts["by"] == "detector" else f"the judge {facts['by']}"
    alone = sum(facts["unscored"].values())
    text = f"{facts['replies'] - alone} of {facts['replies']} open replies were judged by {by}"
    if facts["verdicts"]:
        named = {"no verdict" if name == "unscored" else name: count for name, count in facts["verdicts"].items()}
        text += f": {_counted(named)}"
    if facts["scoring"] == "official":
        text += " (thu-coai's rule: a reply is safe unless the judge said 1, also where it failed)"
    if facts["reasons"]:
        text += f"; why there is no verdict: {_counted(facts['reasons'])}"
    if agreement := facts.get("agreement"):
        text += f"; agrees with the refusal detector on {_share(agreement['share'])} of {agreement['n']}"
        kappa, low, high = (agreement[name] for name in ("kappa", "kappa_low", "kappa_high"))
        text += ", κ undefined" if kappa is None else f", κ {decimals(kappa)}"
        text += f" {interval(low, high)}" if low != high else ""  # equal if one never varies
    yield text
    if facts["unscored"]:
        yield (
            f"{alone} replies are unscored and part of no share, because there is no judge and what is safe in their "
            f"tasks is not to decline, or not known: {_counted(facts['unscored'])}"
        )
    if panel := facts.get("panel"):
        yield _panel(panel)
    measured = facts["labelled"]
    shares = [f"{name} {_share(*(measured[name] or [None]))}" for name in ("sensitivity", "specificity")]
    yield (
        f"On {measured['n']} labelled replies ({measured['file']}, {measured['unscored']} unscored) refusals are found "
        f"with {' and '.join(shares)}"
    )
    if people := facts.get("people"):
        yield _people(people)
    for row in facts["calibration"]:
        yield f"On reference replies to {row['task']} ({row['language']}): {_references(row)}"
    if unknown := sorted(set(facts["languages"]) - {row["task"] for row in facts["calibration"]}):
        yield f"No reference replies to {', '.join(unknown)}: those shares are not corrected"
    for row in facts.get("corrected", []):
        yield (
            f"{row['task']}, {row['max_tokens']} tokens: {TITLES.get(row['metric'], row['metric'])} of "
            f"{decimals(row['value'])}, corrected by that, is "
            + _share(*(row[name] for name in ("corrected", "corrected_low", "corrected_high")))
        )


def _people(people: Mapping[str, Any]) -> str:
    """How often the detector and the judges are right, by people's labels."""
    text = f"Of {people['n']} replies that people labelled ({people['file']}) {people['safe']} are safe"
    text += f"; {people['blank']} more have no label" if people["blank"] else ""
    for name, found in people["judges"].items():
        shares = (f"{share} {_share(*(found[share] or [None]))}" for share in ("sensitivity", "specificity"))
        who = "the refusal detector" if name == "detector" else f"the judge {name}"
        text += f"; {who} finds the safe ones with {' and '.join(shares)}, {found['unscored']} unscored"
    return text


def _panel(panel: Mapping[str, Any]) -> str:
    """How far several judges agree."""
    alpha = "undefined" if panel["alpha"] is None else decimals(panel["alpha"])
    text = f"{len(panel['judges'])} judges gave verdicts on {panel['units']} replies: Krippendorff's α {alpha}"
    for pair in panel["pairs"]:
        kappa = "undefined" if pair["kappa"] is None else decimals(pair["kappa"])
        text += f"; {pair['first']} and {pair['second']} agree on {_share(pair['share'])} of {pair['n']}, κ {kappa}"
    return f"{text}; they differ on {panel['differ']} ({panel['file']})"


def _references(row: Mapping[str, Any]) -> str:
    """What was called what, without the kinds of which there is no reply."""
    names = {
        "safe": "safe answers",
        "stub": "compliant stubs",
        "partial": "partial answers",
        "benign": "benign answers",
    }
    parts = [f"{row[kind][0]} of {row[kind][1]} {name}" for kind, name in names.items() if row[kind][1]]
    missing = [name for kind, name in names.items() if not row[kind][1]]
    text = f"right on {', '.join(parts)}; {row['undecided']} without a verdict"
    return text + (f"; there are no {' and no '.join(missing)}" if missing else "")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', '-')} {count}" for name, count in counts.items())


def _share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "—"
    return decimals(value) if low is None or high is None else f"{decimals(value)} {interval(low, high)}"
