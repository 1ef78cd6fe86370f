"""Whether a row, or the name of its file, says that a request is harmful or benign, or that an answer is unsafe."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

Label = Literal["harmful", "benign"]
About = Literal["request", "answer"]

_NAMED: dict[Label, tuple[str, ...]] = {
    "harmful": ("harmful", "unsafe", "toxic", "malicious", "dangerous", "有害", "不安全", "恶意"),
    "benign": ("benign", "safe", "harmless", "unharmful", "nontoxic", "无害", "安全", "良性"),
}
_WORDS = {word: label for label, words in _NAMED.items() for word in words}
"""Words that are labels, in values and in names."""
_OF_REQUESTS: dict[str, Label] = {"harm": "harmful", "refuse": "harmful", "comply": "benign"}
"""Values that are labels of a request alone."""
_NOT = {"not", "non", "no"}
_BESIDE_A_WORD = {"vanilla", "adversarial", "prompt", "request", "potentially", "should", "is", "very"}
"""Words that may stand in a label's value beside the one that says it."""

_HARM_NAMES = {"harm", "harmfulness", "toxicity"}
"""Words of a column's name where true means harmful, besides those that are labels."""
_REFUSALS = {"refuse", "refused", "refusal", "reject"}
_COMPLIANCE = {"comply", "compliance"}
_DUE = {"should", "must", "expected", "ideal", "to"}
"""With one of these, what is to be done about a request; without, what a reply did."""
_PLAIN_NAMES = [{"label"}, {"labels"}, {"prompt", "label"}, {"safety"}]
"""Columns of labels without a word that says which side true is on: a value that says neither is a mistake."""
_OF_A_LABEL = {
    *("is", "are", "be", "label", "labels", "labeled", "labelled", "flag", "safety", "value", "class", "rating"),
    *("status", "binary", "gold", "ground", "truth", "true", "final", "human", "annotated", "annotation"),
    *("verdict", "judgement", "judgment", "level", "or", "expected", "overall"),
}
_OF_A_REQUEST = {
    *("prompt", "prompts", "request", "question", "query", "instruction", "user", "goal", "behavior", "input"),
}
_OF_A_CATEGORY = {
    *("category", "categories", "subcategory", "type", "types", "subtype", "kind", "class", "area", "domain"),
    *("topic", "subset", "group", "policy"),
}
"""Columns that hold categories, and in some files the label."""
_OF_AN_ANSWER = {
    *("answer", "answers", "response", "responses", "output", "outputs", "completion", "completions", "reply"),
    *("replies", "assistant", "model", "generation", "chosen", "rejected", "target"),
}
_OF_SOMETHING_ELSE = {
    *("id", "ids", "source", "reason", "reasons", "rationale", "explanation", "note", "notes", "comment"),
    *("comments", "agreement", "confidence", "score", "scores", "probability", "prob", "logit", "count", "num"),
    *("number", "name", "title", "description", "text", "annotator", "annotators", "twin", "licence", "license"),
    *("language", "lang"),
}
_HINTS: dict[str, Label] = {
    **dict.fromkeys(("jailbreak", "jailbreaking", "jailbroken", "attack", "injection", "abusive"), "harmful"),
    **dict.fromkeys(("violation", "violating", "violates", "unethical", "offensive", "hateful", "nsfw"), "harmful"),
    **dict.fromkeys(("illegal", "unlawful", "inappropriate", "flagged", "blocked", "block", "banned"), "harmful"),
    **dict.fromkeys(("disallowed", "prohibited", "forbidden"), "harmful"),
    **dict.fromkeys(("allowed", "acceptable", "appropriate", "permitted"), "benign"),
}
"""Words of a flag's name that speak of one kind of harm: true means harmful, false may mean harm of another kind."""
_BESIDE_A_HINT = {"detected", "attempt", "attempted"}
_REPLIES = _OF_AN_ANSWER - {"assistant", "model", "rejected", "target"}
"""Of these, one stands in the name of a column with an answer."""
_TRUTH = {
    **dict.fromkeys(("true", "yes", "y", "t", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "n", "f", "0", "0.0"), False),
}
_NOTHING = {"none", "n/a", "na", "null", "nan", "nothing"}
_OTHER: dict[Label, Label] = {"harmful": "benign", "benign": "harmful"}
_LONGEST_LABEL = 3
"""Words; a longer value is a text and no label."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NAME_WORD = re.compile(r"[^\W\d_]+")
_FILLER = re.compile(
    "prompts?|requests?|questions?|queries|instructions?|behaviou?rs?|goals?|data|dataset|sets?|seeds?|examples?|rows?|"
    "train|test|eval|dev|validation|split|only|all|hard|en|zh"
)


class Labelled(NamedTuple):
    """What the label columns of a row say."""

    label: Label | None
    """``None``: the row has no label."""
    columns: tuple[str, ...]
    """The columns that were read as labels."""
    problems: tuple[str, ...]
    """``key = value: rule; fix`` each."""
    harmful: tuple[str, ...] = ()
    """The columns that say harmful."""


def plain_name(column: str) -> str:
    """A column's name without its spelling: ``Prompt Label`` and ``promptLabel`` are ``prompt_label``."""
    spaced = _CAMEL.sub(" ", column.strip()).casefold()
    return "_".join(spaced.replace("-", " ").replace("_", " ").split())


def name_labels(name: str, *, whole: bool = False) -> set[Label]:
    """What the words in a file's, folder's or split's name say: ``benign_prompts`` is benign.

    A word about answers (``with_safe_answers``) says nothing. ``whole``: only where the name says nothing else.
    """
    words = _NAME_WORD.findall(name.casefold().replace("_", " "))
    found: set[Label] = set()
    for at, word in enumerate(words):
        after = words[at + 1] if at + 1 < len(words) else ""
        label = _WORDS.get(word)
        if label is not None and after not in _OF_AN_ANSWER:
            found.add(_OTHER[label] if at and words[at - 1] in _NOT else label)
        elif whole and label is None and word not in _NOT and not _FILLER.fullmatch(word):
            return set()
    return found


def label_of(values: Mapping[str, Any], beside: Collection[str] = (), about: About = "request") -> Labelled:
    """Reads every label column. Two that disagree, or one that says neither, are problems.

    ``beside``: the row's other columns; a column that shares its name with that of an answer (``GPT4_harmful`` beside
    ``GPT4_response``) is about the answer. ``about``: whether labels of a request, or of the answer that a chat ends
    with, are read; one that does not say of which counts for both.
    """
    found: dict[str, Label] = {}
    problems: list[str] = []
    columns: list[str] = []
    empty: dict[str, Any] = {}
    answered = [words for name in (*values, *beside) if (words := _words(name)) & _OF_AN_ANSWER]
    for column, value in values.items():
        words = _words(column)
        if not _may_label(words, answered, about):
            continue
        sides, is_label, said = _sides(words), _names_labels(words), _said(value, about)
        truth = truth_of(value)
        if said is None and is_label and truth is not None and len(sides) == 1:
            side = next(iter(sides))
            said = side if truth else _OTHER[side]
        if said is not None:
            columns.append(column)
            found[column] = said
        elif about == "answer":
            continue
        elif words in _PLAIN_NAMES or (is_label and _stands_for_a_label(value, required=bool(sides))):
            columns.append(column)
            problems.append(f"{column} = {_short(value)}: {_neither(bool(sides))}")
        elif words & _OF_A_CATEGORY:
            if sides and str(value).strip().casefold() in _NOTHING:
                empty[column] = value
        elif sides and truth is not None:
            problems.append(
                f"{column} = {_short(value)}: its name does not say whether it is of the request or of an answer; "
                f"rename it to is_harmful or is_safe, or to response_{column}"
            )
    if about == "request":
        problems += _take_those_of_the_answer(values, found)
    if not found and not problems:
        problems += [
            f"{column} = {_short(value)}: may mean that the row is benign, or that nobody looked; add a column label "
            "(harmful, benign), or leave the cell empty"
            for column, value in empty.items()
        ]
    if about == "request" and not found and not problems:
        hinted = _hints(values, answered)
        found |= {column: "harmful" for column, label in hinted.items() if label == "harmful"}
        columns += found
        problems += [
            f"{column} = {_short(values[column])}: may mean that the row is benign, or that it is harmful in another "
            "way; add a column label (harmful, benign), or take this column out where all rows are harmful"
            for column in hinted
            if not found
        ]
    if len(set(found.values())) > 1 and about == "request":
        said_by = ", ".join(f"{column} = {values[column]}" for column in found)
        problems.append(f"{said_by}: contradict each other; correct one")
    harmful = tuple(column for column, label in found.items() if label == "harmful")
    label = "harmful" if harmful else next(iter(found.values()), None)
    return Labelled(label, tuple(columns), tuple(problems), harmful)


def truth_of(value: object) -> bool | None:
    """What a flag says, also in words and as 0 or 1; None for other values."""
    return _TRUTH.get(str(value).strip().casefold())


def _take_those_of_the_answer(values: Mapping[str, Any], found: dict[str, Label]) -> list[str]:
    """Takes the labels out of ``found`` that are of the answer in the same row; the problems of those that may be.

    That is so of a label whose name does not say what it is of: beside one that is of the request it is of the answer.
    """
    answer = next((name for name, value in values.items() if value and _is_answer(_words(name))), None)
    unclear = [column for column in found if answer is not None and not _is_of_the_request(column, values[column])]
    beside_another = len(unclear) < len(found)
    problems = [
        f"{column} = {_short(values[column])}: stands beside {answer}, and its name does not say whether it is of the "
        f"request or of the answer; rename it to prompt_{column}, or to response_{column}"
        for column in unclear
        if not beside_another
    ]
    for column in unclear:
        del found[column]
    return problems


def _is_answer(words: frozenset[str]) -> bool:
    return bool(words & _REPLIES) and words <= _OF_AN_ANSWER | {"text"}


def _is_of_the_request(column: str, value: object) -> bool:
    return bool(_words(column) & (_OF_A_REQUEST | _DUE | _OF_A_CATEGORY)) or plain_name(str(value)) in _OF_REQUESTS


def _hints(values: Mapping[str, Any], answered: list[frozenset[str]]) -> dict[str, Label]:
    """The flags whose names speak of one kind of harm, and what each would say if there were no other kinds."""
    found: dict[str, Label] = {}
    for column, value in values.items():
        words, truth = _words(column), truth_of(value)
        said = words & _HINTS.keys()
        rest = words - said - _OF_A_LABEL - _OF_A_REQUEST - _DUE - _BESIDE_A_HINT - _NOT
        if truth is None or not said or rest or not _may_label(words, answered, "request"):
            continue
        side = _HINTS[min(said)]
        found[column] = side if truth != bool(words & _NOT) else _OTHER[side]
    return found


@lru_cache(maxsize=512)
def _words(column: str) -> frozenset[str]:
    """Without numbers: of several people who label there are ``labels_0``, ``labels_1``, …"""
    words = plain_name(column).split("_")
    return frozenset(word for word in words if not word.isdecimal() or len(words) == 1)


def _said(value: object, about: About) -> Label | None:
    """The label that a value is, such as ``unsafe``, ``Not harmful`` or ``adversarial_benign``; None for others."""
    words = plain_name(value).split("_") if isinstance(value, str) else []
    known = _WORDS | _OF_REQUESTS if about == "request" else _WORDS
    labels = [known[word] for word in words if word in known]
    rest = {word for word in words if word not in known}
    if len(labels) != 1 or not rest <= _BESIDE_A_WORD | _NOT:
        return None
    return _OTHER[labels[0]] if rest & _NOT else labels[0]


def _may_label(words: frozenset[str], answered: list[frozenset[str]], about: About) -> bool:
    """Whether a column may say something of what is asked ``about``, by its name."""
    if words & _OF_SOMETHING_ELSE or words <= _OF_A_REQUEST:
        return False
    refuses = bool(words & (_REFUSALS | _COMPLIANCE))
    if about == "answer":  # what was asked, and whether an answer refuses, does not make it unsafe
        named = bool(_sides(words) or words & {"label", "labels", "safety"})
        return named and not refuses and not words & (_OF_A_REQUEST | _OF_A_CATEGORY | _DUE | {"rejected"})
    if words & _OF_AN_ANSWER or (refuses and not words & _DUE):
        return False
    owner = words - _WORDS.keys() - _HARM_NAMES - _OF_A_LABEL - _OF_A_CATEGORY - _OF_A_REQUEST
    return not owner or not any(owner <= other for other in answered)


def _sides(words: Collection[str]) -> set[Label]:
    """What true means in a column that is called so: one side, both, or none."""
    harmful: set[Label] = {"harmful"} if {*words} & (_HARM_NAMES | _REFUSALS) else set()
    benign: set[Label] = {"benign"} if {*words} & _COMPLIANCE else set()
    found = harmful | benign | {_WORDS[word] for word in words if word in _WORDS}
    return {_OTHER[side] for side in found} if _NOT & {*words} else found


def _names_labels(words: frozenset[str]) -> bool:
    """Whether a column holds labels alone: its name says which, or that it does, and nothing else."""
    said = words & (_WORDS.keys() | _HARM_NAMES | _REFUSALS | _COMPLIANCE | {"safety"})
    beside = _OF_A_LABEL | _OF_A_REQUEST | _OF_AN_ANSWER | _DUE | _NOT
    return words in _PLAIN_NAMES or (bool(said) and words - said <= beside)


def _stands_for_a_label(value: object, *, required: bool) -> bool:
    """Whether a value stands where a label should: no longer text, and something where one is ``required``."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return required
    return not isinstance(value, str) or len(value.split()) <= _LONGEST_LABEL


def _neither(is_flag: bool) -> str:
    if is_flag:
        return "is neither true nor false, harmful nor benign; write one, or rename the column if it holds no labels"
    return (
        "says neither harmful nor benign (safe and unsafe are understood too); write one of them, or rename the column "
        "if it holds no labels"
    )


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
