"""The samples of lm-evaluation-harness: ``samples_TASK_TIME.jsonl``, which ``--log_samples`` writes.

A row is a document (``doc``, ``doc_id``, ``doc_hash``) with what was asked (``arguments``), what came
(``filtered_resps``) and the document's ``metrics``. Multiple choice has a log-likelihood for each option; the first of
the metrics decides: ``acc`` takes the highest sum, ``acc_norm`` the highest sum by byte. Other tasks keep the first
metric that is a number from 0 to 1. Source: ``lm_eval/loggers`` and ``lm_eval/evaluator.py`` of version 0.4, and files
that it wrote.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from longsafety.errors import first_line
from longsafety.evaluation.logs.kinds import lm_eval_task
from longsafety.evaluation.logs.logged import Logged
from longsafety.formats.rows import read_rows

_KNOWN = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash"),
    *("prompt_hash", "target_hash"),
}
"""Fields of a row that are no metric."""
_CONTEXTS = ("context", "passage", "story", "article", "document")
_QUESTIONS = ("question", "query", "input", "prompt", "problem", "instruction", "goal", "text", "sentence")
"""Fields of a document that hold its text, in the data sets that the harness ships tasks for."""


def lm_eval_answers(files: Sequence[Path], counts: Counter[str], bad: list[str]) -> Iterator[Logged]:
    """The rows of the first filter of each file; a line in ``bad`` for each that cannot be read."""
    for file in files:
        task, first = lm_eval_task(file), None
        seen: Counter[str] = Counter()
        for row in read_rows(file, counts=Counter()):
            if row.problem:
                bad.append(f"{row.place}: {row.problem}")
                continue
            name = str(row.values.get("filter", ""))
            first = name if first is None else first
            if name != first:
                counts[f"rows of another filter than {first} ({name})"] += 1
                continue
            try:
                found = _logged(row.values, row.place, task, counts)
                found.repeat = seen[str(row.values.get("doc_id"))]
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                bad.append(f"{row.place}: is no row of --log_samples ({first_line(error, typed=True)}); give its file")
                continue
            seen[str(row.values.get("doc_id"))] += 1
            yield found


def _logged(row: Mapping[str, Any], place: str, task: str, counts: Counter[str]) -> Logged:
    doc = row["doc"]
    about = doc if isinstance(doc, Mapping) else {}
    calls, responses = _calls(row["arguments"]), row["filtered_resps"]
    metrics = [name for name in row.get("metrics") or row if name not in _KNOWN]
    named = [name for name in metrics if _number(row.get(name)) is not None]
    found = Logged(
        place=place,
        task=task,
        text=_text(about),
        identity=str(row.get("doc_hash") or f"{task}/{row['doc_id']}"),
        value=_number(row[named[0]]) if named else None,
        about=about,
    )
    if not named:
        found.reason = "no metric is a number from 0 to 1"
    elif len(metrics) > 1:
        counts[f"answers whose score is the metric {named[0]}, the first of {len(metrics)}"] += 1
    if likelihoods := _likelihoods(responses):
        ends = [str(call[1]) for call in calls[: len(likelihoods)]]
        # The last calls may be the options without the question, for acc_mutual_info.
        likelihoods = likelihoods[: len(ends)]
        found.options, found.scores = _options(about, ends), likelihoods
        found.right = _right(row.get("target"), ends, len(likelihoods))
        best = [s / max(len(e.encode()), 1) for s, e in zip(likelihoods, ends, strict=True)]
        ranked = best if named and named[0] == "acc_norm" else likelihoods
        if not any(math.isnan(score) for score in ranked):
            found.chosen = max(range(len(ranked)), key=ranked.__getitem__)
    elif responses:
        found.reply = _first_text(responses)
    return found


def _calls(arguments: Any) -> list[list[Any]]:
    """What was asked: prompt and continuation of each call. Versions differ in how they write it."""
    if isinstance(arguments, Mapping):
        return [list(call.values()) if isinstance(call, Mapping) else list(call) for call in arguments.values()]
    return [list(call) for call in arguments]


def _likelihoods(responses: Any) -> list[float]:
    """The sums of several options; empty for other tasks. Some versions write them as texts."""
    if not isinstance(responses, list) or len(responses) < 2:
        return []
    if not all(isinstance(response, list) and len(response) == 2 for response in responses):
        return []
    return [float(response[0]) for response in responses]


def _first_text(responses: Any) -> str | None:
    """The first reply: some programs write a list of one, or of its repetitions, others the text alone."""
    while isinstance(responses, list) and responses:
        responses = responses[0]
    return responses if isinstance(responses, str) else None


def _options(about: Mapping[str, Any], ends: Sequence[str]) -> list[str]:
    """The texts of the options, also where the harness was given their letters alone."""
    choices = about.get("choices")
    if isinstance(choices, Mapping):  # ARC and others: {text: [...], label: [...]}
        choices = choices.get("text")
    if isinstance(choices, list) and len(choices) == len(ends) and all(isinstance(text, str) for text in choices):
        return choices
    return [end.strip() for end in ends]


def _right(target: Any, ends: Sequence[str], count: int) -> int | None:
    """The place of the right option, by its number or its text."""
    plain = str(target).strip()
    texts = [end.strip() for end in ends]
    if isinstance(target, bool):
        return None
    if plain in texts and texts.count(plain) == 1 and not plain.isdigit():
        return texts.index(plain)
    return int(plain) if plain.isdigit() and int(plain) < count else None


def _number(value: Any) -> float | None:
    """A number from 0 to 1, also as a text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool | int | float) and 0 <= value <= 1:
        return float(value)
    return None


def _text(about: Mapping[str, Any]) -> str:
    found = [next((about[name] for name in names if isinstance(about.get(name), str) and about[name]), "")
             for names in (_CONTEXTS, _QUESTIONS)]  # fmt: skip
    return "\n".join(part for part in found if part) if found[1] else ""
