"""The logs of inspect_ai: ``.eval`` (a zip of JSON), and ``.json`` of the same.

Read are each sample's ``input``, ``choices``, ``target``, the text of its last output, and the first of its ``scores``
(``C`` 1, ``P`` .5, ``I`` and ``N`` 0, or a number from 0 to 1). Epochs are repetitions of a sample. Source: the log
format of inspect_ai 0.3 (``inspect_ai.log.EvalLog``), and logs that it wrote.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from longsafety.errors import DataError, first_line
from longsafety.evaluation.logs.kinds import head
from longsafety.evaluation.logs.logged import Logged
from longsafety.evaluation.logs.zipped import EvalFile
from longsafety.vocabulary import LETTERS

_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_MODEL = re.compile(r'"eval"\s*:.*?"model"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)
_ATTACHED = "attachment://"


def inspect_answers(files: Sequence[Path], counts: Counter[str], bad: list[str]) -> Iterator[Logged]:
    """The samples of logs; a line in ``bad`` for each that cannot be read. Raises DataError for a file that cannot."""
    for file in files:
        header, samples = _opened(file)
        evaluation = header.get("eval")
        if not isinstance(evaluation, Mapping):
            raise DataError(f"{file}: has no eval section; give a log that inspect_ai wrote")
        task = str(evaluation.get("task") or file.stem).rpartition("/")[2]
        if header.get("status") not in ("success", None):
            counts[f"logs whose status is {header['status']}"] += 1
        scorer = next(iter(_names(header.get("results"), evaluation)), None)
        for name, read in samples:
            place = f"{file}:{name}"
            try:
                yield _logged(read(), place, task, scorer, counts)
            except DataError as error:
                bad.append(str(error))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                bad.append(f"{place}: is no sample of inspect_ai ({first_line(error, typed=True)}); give a whole log")


def model_of(file: Path) -> str:
    """The model that a log names; empty where it names none, or cannot be read cheaply."""
    if file.suffix.lower() != ".eval":  # a log of gigabytes is not read for its name
        found = _MODEL.search(head(file))
        return str(json.loads(found[1])) if found else ""
    try:
        with EvalFile(file) as log:
            evaluation = log.header().get("eval")
    except DataError:
        return ""
    return str(evaluation.get("model") or "") if isinstance(evaluation, Mapping) else ""


def _opened(file: Path) -> tuple[dict[str, Any], Iterator[tuple[str, Callable[[], Any]]]]:
    """The log without its samples; each sample's name, and what reads it."""
    if file.suffix.lower() == ".eval":
        log = EvalFile(file)
        return log.header(), log.samples()
    try:
        whole = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not a readable log ({first_line(error)}); give a complete one") from error
    if not isinstance(whole, dict):
        raise DataError(f"{file}: is no log of inspect_ai; give a .json file that it wrote")
    samples = whole.get("samples")
    if not isinstance(samples, list):
        raise DataError(f"{file}: holds no samples (log_samples was false); give a log with them")
    return whole, ((f"samples[{number}]", partial(lambda one: one, sample)) for number, sample in enumerate(samples))


def _names(results: Any, evaluation: Mapping[str, Any]) -> Iterator[str]:
    """The names of the log's scores, the first one first."""
    for entry in (results.get("scores") if isinstance(results, Mapping) else None) or evaluation.get("scorers") or ():
        if isinstance(entry, Mapping) and entry.get("name"):
            yield str(entry["name"])


def _logged(sample: Any, place: str, task: str, scorer: str | None, counts: Counter[str]) -> Logged:
    attached = sample.get("attachments")
    attached = attached if isinstance(attached, Mapping) else {}
    choices = sample.get("choices")
    options = [str(option) for option in choices] if isinstance(choices, list) else []
    text = _text(sample["input"], attached)
    target = sample.get("target")
    scores = sample.get("scores") or {}
    if not scores and isinstance(sample.get("score"), Mapping):  # logs of 2024 have one
        scores = {scorer or "score": sample["score"]}
    used = scorer if scorer in scores else next(iter(scores), None)
    if len(scores) > 1:
        counts[f"answers whose score is that of the scorer {used}, the first of {len(scores)}"] += 1
    value, reason = _value(scores[used].get("value")) if used is not None else (None, "it was not scored")
    if sample.get("error"):
        value, reason = None, "the sample failed"
    elif sample.get("invalidation"):
        value, reason = None, "the sample was declared invalid"
    about = {**(sample.get("metadata") or {}), "id": sample.get("id")}
    identity = hashlib.sha256(json.dumps(sample["input"], sort_keys=True).encode()).hexdigest()[:12]
    found = Logged(
        place=place,
        task=task,
        text=text,
        identity=identity,
        options=options,
        right=_place(target, len(options)),
        value=value,
        reply=_reply(sample.get("output"), attached),
        reason=reason,
        repeat=max(int(sample.get("epoch") or 1) - 1, 0),
        about=about,
    )
    if options and used is not None:
        found.chosen = _place(scores[used].get("answer"), len(options))
    return found


def _place(letter: Any, count: int) -> int | None:
    """The place of one letter; of several right ones, or none, there is no place."""
    only = letter[0] if isinstance(letter, list) and len(letter) == 1 else letter
    if not isinstance(only, str) or len(only.strip()) != 1:
        return None
    place = LETTERS.find(only.strip().upper())
    return place if 0 <= place < count else None


def _value(value: Any) -> tuple[float | None, str]:
    """The score, or why there is none."""
    if isinstance(value, str):
        if value in _VALUES:
            return _VALUES[value], ""
        try:
            value = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}.get(value.strip().lower(), value)
            value = float(value)
        except ValueError:
            return None, "its score is a text"
    if isinstance(value, bool | int | float):
        if 0 <= value <= 1:
            return float(value), ""
        return None, "its score is no number from 0 to 1"
    return None, "its score has several parts" if value is not None else "it was not scored"


def _reply(output: Any, attached: Mapping[str, str]) -> str | None:
    choices = output.get("choices") if isinstance(output, Mapping) else None
    if not choices:
        return None
    return _content(choices[0]["message"].get("content"), attached)


def _text(given: Any, attached: Mapping[str, str]) -> str:
    """The input as text; of a chat, what the user says."""
    if isinstance(given, str):
        return _whole(given, attached)
    return "\n".join(_content(turn.get("content"), attached) for turn in given if turn.get("role") == "user")


def _content(content: Any, attached: Mapping[str, str]) -> str:
    """The text of a message; its thoughts, pictures and tool calls are left out."""
    if isinstance(content, str):
        return _whole(content, attached)
    parts = [
        part.get("text") or "" for part in content or () if isinstance(part, Mapping) and part.get("type") == "text"
    ]
    return "\n".join(_whole(part, attached) for part in parts)


def _whole(text: str, attached: Mapping[str, str]) -> str:
    """A text, or the attachment that it names."""
    found = attached.get(text.removeprefix(_ATTACHED)) if text.startswith(_ATTACHED) else text
    return found if isinstance(found, str) else text
