"""The table of what a teacher writes: kind of seed item → its fields in order, each with its prompt and validator.

A *family* is the seed items of one task and split. Its first field is written from a source (a request, a statement, a
passage), or is the source itself; every other field from fields before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from longsafety.scenarios.tasks.registry import TASKS

SourceKind = Literal["requests", "statements", "documents", "harmful_documents"]
"""The settings that name sources."""
ANY: frozenset[SourceKind] = frozenset(("requests", "statements", "documents", "harmful_documents"))
HARMFUL = ANY - {"documents"}


@dataclass(frozen=True)
class Step:
    """How a field is written: the prompt and validator of a kind, from fields that are there."""

    field: str
    """A field of :class:`~longsafety.scenarios.seeds.seed.Seed`; ``options.TASK``: the options for one of several
    tasks."""
    kind: str
    given: Mapping[str, str]
    """Name in the prompt → field."""
    more: str = ""
    """The field that takes the same in other words (``safe_answers``), as often as is asked for."""


@dataclass(frozen=True)
class Family:
    """The seed items of one kind: those of a task for one split."""

    task: str
    """The seed items' ``task``; empty: general items."""
    split: Literal["train", "bench"]
    first: Step
    as_is: SourceKind | None
    """The kind of source that is itself the first field."""
    sources: frozenset[SourceKind]
    steps: tuple[Step, ...]
    tasks: tuple[str, ...]
    """The tasks whose items are made of them."""

    @property
    def name(self) -> str:
        return f"{self.task or ' and '.join(self.tasks)}, {self.split}"


def _twin(
    kind: str = "benign_request", given: Mapping[str, str] | None = None, answer: Step | None = None
) -> list[Step]:
    written = answer or Step("benign_answer", "benign_answer", {"benign_request": "benign_request"}, "benign_answers")
    return [Step("benign_request", kind, given or {"request": "request"}), written]


_TOPIC = Step("topic", "topic", {"request": "request"})
_SAFE = Step("safe_answer", "safe_answer", {"request": "request"}, "safe_answers")
_CLAIM = Step("claim", "claim", {"request": "request"})
_DISAGREEMENT = Step("safe_answer", "disagreement", {"request": "request", "claim": "claim"}, "safe_answers")
_PASSAGE = Step("passage", "passage", {"request": "benign_request", "answer": "benign_answer"})
_BOTH = {"request": "request", "benign_request": "benign_request"}
_REQUEST = Step("request", "request", {"source": "source"})
_DECLINED = (_SAFE, *_twin())
_QUIZ = (
    Step("truth", "truth", {"question": "request"}),
    Step("claim", "wrong_option", {"question": "request", "answer": "truth"}),
    Step(
        "safe_answer",
        "correction",
        {"question": "request", "answer": "truth", "claim": "claim"},
        "safe_answers",
    ),
)
_QUIZ_TWIN = _twin(
    "quiz_twin",
    {"question": "request", "claim": "claim"},
    Step("benign_answer", "confirmation", {"question": "benign_request", "claim": "claim"}, "benign_answers"),
)
_TOLD = (
    Step("question", "question", {"statement": "statement"}),
    Step("statement_safe_answer", "statement_safe_answer", {"statement": "statement", "question": "question"}),
    Step("benign_statement", "benign_statement", {"statement": "statement", "question": "question"}),
    Step(
        "benign_statement_answer",
        "benign_statement_answer",
        {"statement": "benign_statement", "question": "question"},
    ),
)
_TOLD_OPTIONS = Step(
    "options",
    "options_statement",
    {"question": "question", "statement": "statement", "benign_statement": "benign_statement"},
)
_DEEDS = (
    Step("lawful", "lawful", {"crimes": "crimes"}),
    Step("harmless", "harmless", {"crimes": "crimes", "lawful": "lawful"}),
)
_PERSON = {"name": "name", "crimes": "crimes", "lawful": "lawful"}
_PERSON_TASKS = {
    "CountingCrimes": "options_count",
    "HarmfulExtraction": "options_acts",
    "HarmfulTendency": "options_side",
}


def _from(field: str, kind: str) -> Step:
    return Step(field, kind, {"source": "source"})


FAMILIES: Sequence[Family] = (
    Family("", "train", _REQUEST, "requests", ANY, (_TOPIC, *_DECLINED), ("KeywordRAG", "ManyShotJailbreak")),
    Family("", "train", _from("statement", "statement"), "statements", HARMFUL, _TOLD, ("HarmfulNIAH",)),
    Family("LawQA", "train", _from("request", "law_request"), None, ANY, _DECLINED, ("LawQA",)),
    Family(
        "SafeMTLong",
        "train",
        _REQUEST,
        "requests",
        ANY,
        (Step("turns", "turns", {"request": "request"}), *_DECLINED),
        ("SafeMTLong",),
    ),
    Family(
        "MedicalQuiz", "train", _from("request", "quiz_question"), None, ANY, (*_QUIZ, *_QUIZ_TWIN), ("MedicalQuiz",)
    ),
    Family(
        "PoliticallyIncorrect",
        "train",
        _from("request", "prejudice_request"),
        None,
        ANY,
        (_CLAIM, _DISAGREEMENT, *_twin()),
        ("PoliticallyIncorrect",),
    ),
    Family("Crimes", "train", _from("crimes", "crimes"), None, HARMFUL, _DEEDS, ("CountingCrimes",)),
    Family(
        "ManyShotJailbreak",
        "bench",
        _REQUEST,
        "requests",
        ANY,
        (_TOPIC, *_DECLINED, _PASSAGE, Step("options", "options_request", _BOTH)),
        ("ManyShotJailbreak",),
    ),
    Family(
        "HarmfulNIAH",
        "bench",
        _from("statement", "statement"),
        "statements",
        HARMFUL,
        (*_TOLD, _TOLD_OPTIONS),
        ("HarmfulNIAH",),
    ),
    *(
        Family(task, "bench", _from("statement", kind), None, HARMFUL, (*_TOLD, _TOLD_OPTIONS), (task,))
        for task, kind in (("HarmfulAdvice", "advice"), ("DocAttack", "false_document"))
    ),
    Family(
        "MedicalQuiz",
        "bench",
        _from("request", "quiz_question"),
        None,
        ANY,
        (
            *_QUIZ,
            *_QUIZ_TWIN,
            _PASSAGE,
            Step("options", "options_facts", {"question": "request", "claim": "claim", "answer": "truth"}),
        ),
        ("MedicalQuiz",),
    ),
    *(
        Family(
            task,
            "bench",
            _from("request", kind),
            None,
            ANY,
            (_CLAIM, _DISAGREEMENT, *_twin(), _PASSAGE, Step("options", options, _BOTH)),
            (task,),
        )
        for task, kind, options in (
            ("PoliticallyIncorrect", "prejudice_request", "options_fair"),
            ("LeadingQuestion", "leading_request", "options_premise"),
        )
    ),
    Family(
        "Crimes",
        "bench",
        _from("crimes", "crimes"),
        None,
        HARMFUL,
        (*_DEEDS, *(Step(f"options.{task}", kind, _PERSON) for task, kind in _PERSON_TASKS.items())),
        tuple(_PERSON_TASKS),
    ),
)


def families(tasks: Collection[str], split: str) -> list[Family]:
    """The families of a split that some of the tasks need; of no task: of all."""
    return [family for family in FAMILIES if family.split == split and (not tasks or {*family.tasks} & {*tasks})]


def roles_of(step: Step, family: Family) -> tuple[str, ...]:
    """The roles of the options that a step writes, in the order of the reply's pairs of lines."""
    return TASKS[step.field.partition(".")[2] or family.tasks[0]].roles
