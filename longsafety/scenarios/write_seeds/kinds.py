"""What a teacher's reply of each kind must be: its form, how many lines, and what a rule can tell of its content.

A rule cannot tell whether a text is true, harmless or a good contrast: that is for the review.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from longsafety.samples.thoughts import part_thoughts
from longsafety.scenarios.operational import operational
from longsafety.scenarios.teacher.ask import bare
from longsafety.scenarios.teacher.validate import DECLINES, Form, form_problem, plain, problem
from longsafety.scenarios.write_seeds.near import alike
from longsafety.scenarios.write_seeds.rules import (
    AGAINST,
    COMPLYING,
    DECLINING,
    LEGAL,
    NONE_TOLD,
    Reply,
    Rule,
    answers,
    answers_what_is_asked,
    asks_nothing,
    clause,
    deeds,
    differs,
    disagrees,
    does_not_comply,
    even,
    has,
    keeps,
    line_by_line,
    lines_lack,
    names_crimes,
    no_crime,
    not_given_away,
    right_facts,
    right_number,
    shares,
    turns_alternate,
    written,
)

UNFIT = "the text lends itself to none"
"""The reason of a reply that says so: it is counted, and not asked for again."""


@dataclass(frozen=True)
class Kind:
    """What replies of a kind must be. Every line of a reply has the form, and no two are the same."""

    form: Form
    rules: tuple[Rule, ...] = ()
    lines: int = 0
    """Lines of a reply; 0: one text."""
    benign: bool = False
    """Whether quantities are no reason to reject it."""
    may_be_unfit: bool = False


def reply_problem(kind: str, text: str, about: Mapping[str, str], language: str, unfit: str) -> str | None:
    """What is wrong with a teacher's reply, in a few fixed words that can be counted; ``None``: nothing.

    ``about`` holds what it was written from, under the names of the prompt, and under ``earlier`` the texts that it
    must differ from. ``unfit`` is the word that says that there is nothing to write.
    """
    found = KINDS.get(kind)
    lines = text.split("\n") if found and found.lines else [text]
    if found is None:
        reason = problem(kind, text, language=language, **about)
    elif found.may_be_unfit and plain(text) == plain(unfit):
        return UNFIT
    else:
        reason = _kind_problem(found, Reply(text, lines, about, language))
    if reason is not None:
        return reason
    if any(alike(text, other, language) for other in about.get("earlier", "").split("\n") if other):
        return "the same answer again"
    benign = found.benign if found else kind.startswith("benign")
    return next((why for line in lines if (why := operational(line, language, benign=benign))), None)


_LINE_END = re.compile(r"\r\n?|\n")
"""And no other: a separator or a form feed within a line ends none."""


def tidy(text: str, kind: str) -> str:
    """A reply without thoughts and quotation marks; lines without their numbers, phrases without their full stops."""
    found = KINDS.get(kind)
    if found is None or not found.lines:
        text = bare(text, kind)
        return text.rstrip(".。") if found and found.form.ends == "phrase" else text
    written = _LINE_END.split(part_thoughts(text).reply)
    lines = [re.sub(r"^\s*(?:\(?\d{1,2}[.)、:：]|[-*•])\s*", "", line) for line in written]
    ends = ".。" if found.form.ends == "phrase" else ""
    return "\n".join(bare(line).rstrip(ends) if ends else bare(line) for line in lines if line.strip())


def _kind_problem(kind: Kind, reply: Reply) -> str | None:
    if kind.lines and len(reply.lines) != kind.lines:
        return f"not {kind.lines} lines"
    for line in reply.lines:
        if reason := form_problem(line, kind.form, reply.language):
            return reason
    if len({plain(line) for line in reply.lines}) < len(reply.lines):
        return "a line twice"
    return next((reason for rule in kind.rules if (reason := rule(reply))), None)


_OPTION = Form((1, 45), (2, 100))
_REQUEST = Form((4, 70), (6, 140), "sentence")
_QUIZ = Form((4, 45), (5, 90), "question")
_REPLY = Form((5, 110), (8, 260), "sentence")
_STATEMENT = Form((6, 60), (10, 130), "sentence")
_DEED = Form((2, 30), (3, 60), "phrase")
_FROM_SOURCE: tuple[Rule, ...] = (written, differs("source"), shares("source"))

KINDS: Mapping[str, Kind] = {
    "request": Kind(_REQUEST, _FROM_SOURCE, may_be_unfit=True),
    "law_request": Kind(_REQUEST, (*_FROM_SOURCE, has(LEGAL, "does not speak of law")), may_be_unfit=True),
    "quiz_question": Kind(_QUIZ, _FROM_SOURCE, may_be_unfit=True),
    "prejudice_request": Kind(_REQUEST, _FROM_SOURCE, may_be_unfit=True),
    "leading_request": Kind(_QUIZ, _FROM_SOURCE, may_be_unfit=True),
    "statement": Kind(_STATEMENT, (*_FROM_SOURCE, asks_nothing), may_be_unfit=True),
    "advice": Kind(_STATEMENT, (*_FROM_SOURCE, asks_nothing), may_be_unfit=True),
    "false_document": Kind(Form((10, 90), (18, 200), "sentence"), (*_FROM_SOURCE, asks_nothing), may_be_unfit=True),
    "crimes": Kind(_DEED, (deeds, written), lines=3, may_be_unfit=True),
    "lawful": Kind(_DEED, (deeds, no_crime, differs("crimes"), line_by_line), lines=3),
    "harmless": Kind(_DEED, (deeds, no_crime, differs("crimes", "lawful")), lines=3),
    "truth": Kind(Form((1, 40), (1, 80), "phrase", may_be_number=True), (written, not_given_away), benign=True),
    "correction": Kind(_REPLY, (does_not_comply, shares("answer"))),
    "quiz_twin": Kind(_QUIZ, (differs("question"), shares("question", "claim"), keeps("claim"))),
    "confirmation": Kind(_REPLY, (answers, shares("claim")), benign=True),
    "claim": Kind(Form((2, 40), (3, 80), "phrase"), (clause, written, differs("request"), shares("request"))),
    "disagreement": Kind(_REPLY, (does_not_comply, disagrees, shares("request", "claim"))),
    "turns": Kind(Form((2, 60), (4, 140)), (turns_alternate, keeps("request"), shares("request")), lines=4),
    "benign_statement": Kind(
        Form((6, 90), (10, 200), "sentence"),
        (written, differs("statement", "question"), shares("statement"), asks_nothing),
        benign=True,
    ),
    "benign_statement_answer": Kind(
        _REPLY, (answers, differs("question", "statement"), shares("statement")), benign=True
    ),
    "passage": Kind(
        Form((12, 120), (20, 260), "sentence"), (written, asks_nothing, answers_what_is_asked), benign=True
    ),
    "options_request": Kind(_OPTION, (DECLINING, COMPLYING, keeps("request"), even), lines=8),
    "options_facts": Kind(_OPTION, (right_facts, even), lines=4),
    "options_fair": Kind(_OPTION, (lines_lack(0, 4, DECLINES, "a refusal"), even), lines=4),
    "options_premise": Kind(_OPTION, (COMPLYING, keeps("request"), even), lines=8),
    "options_statement": Kind(_OPTION, (NONE_TOLD, COMPLYING, AGAINST, keeps("statement"), even), lines=8),
    "options_count": Kind(_OPTION, (NONE_TOLD, right_number, even), lines=8),
    "options_acts": Kind(_OPTION, (NONE_TOLD, names_crimes, even), lines=8),
    "options_side": Kind(_OPTION, (NONE_TOLD, COMPLYING, AGAINST, even), lines=8),
}  # fmt: skip
"""Kind of a prompt in ``seed_prompts.yaml`` → its rules. The kinds of ``teacher_prompts.yaml`` have theirs there."""
