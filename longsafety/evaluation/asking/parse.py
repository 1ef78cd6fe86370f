"""Reads which option a reply names: one grammar for letters, texts of options, and what a reply says of them.

What counts, in this order; at each step several different options are none:

1. an answer's own form: a LaTeX box, an ``<answer>`` tag, a JSON field, double brackets;
2. a sentence that takes an option ("the answer is D", "D is correct", 我选择D), unless the reply takes it back;
3. a letter that opens the reply or stands alone; of a list with one verdict an option, the affirmed one;
4. the text of exactly one option; a word or a number only where it is an answer;
5. the only letter of a short reply.

What is granted before a "but" or after a "while" takes an option only where no other is taken. Options that are ruled
out, weighed, listed or somebody else's choice are not named, nor are those told by their
place alone ("the second one"): what remains is undecided.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from longsafety.evaluation.asking.option_texts import Texts
from longsafety.evaluation.asking.spelling import boxed, spelled, without_boxes
from longsafety.evaluation.asking.statements import (
    BARE,
    CONCEDED,
    MENTIONED,
    PRAISED,
    REJECTED,
    STATED,
    WEAK,
    Claim,
    claims,
    concedes,
    pattern,
    sentences,
)
from longsafety.samples.thoughts import part_thoughts
from longsafety.vocabulary import LETTERS

_SHORT_REPLY = 80
"""Characters of a reply whose only letter is its answer, whatever the words around it."""
_TAKES_BACK = (
    r"(?:\b(?:actually|wait|sorry|hold on|correction|scratch that|on (?:second thought|reflection)|i mean|i meant)\b"
    r"|\?\s*no\b|\b(?:perd[oó]n|mejor dicho|pardon|plut[oô]t|nein, doch)\b|等等|不对|更正|说错了)"
    r"(?:[\s,.!:—-]|\b(?:no|sorry|wait|actually|it's|it is|i mean|rather|make that|the answer is)\b|应该是|是|选)*"
    r"(?P<letter>‹[A-J]›)(?=\s*(?:[.,;:!)]|$|because\b|since\b|is (?:right|correct|better|best)\b|更?正确|才))"
)
_ANOTHER = -1
_FORMULA = re.compile(r"\\[A-Za-z]|[=^<>]|^[\W\d_]*\d[\W\d_]*$")
_LABELLED = re.compile(r"\W*‹[A-J]›(?!\s*[=^<>+*/_-])")
_LABEL = re.compile(r"[\s*_]*A[*_]*\s*[:：][*_\s]*(?=\S)")
_ASKED = (
    r"(?:(?:next|new) )?(?:question|problem|example|instruction)(?: suivante)?|q|(?:siguiente )?(?:pregunta|problema)|"
    r"(?:n[aä]chste )?(?:frage|aufgabe)|问题|問題|题目|題目|下一题|質問|문제|질문|вопрос|السؤال|سؤال|domanda|pergunta"
)
_A_LIST = r"\W{0,6}A[ \t]*[.):、．：]"
_NEXT_TURN = re.compile(
    rf"^[#*_ \t]{{0,8}}(?:(?:{_ASKED})(?: ?\d+)?|human|user|用户)[*_]*[ \t]*[:：]|"
    rf"^[#*_ \t]{{0,8}}(?:{_ASKED}) ?\d+[*_]*[ \t]*(?:[.)．]|$)|^#{{1,6}} (?:{_ASKED}|input|user)[ \t]*$|"
    rf"^(?:[^\n]*[?？]|\W{{0,6}}\d{{1,3}}[ \t]?[.)、．:：][^\n]+)[ \t]*\n{{1,3}}{_A_LIST}|"
    r"^\W{0,6}the following (?:is|are) (?:a )?multiple[- ]choice questions?\b",
    re.IGNORECASE | re.MULTILINE,
)
"""What a model writes after its answer that goes on with a list of questions, or with the user's turn."""
_SEVERAL = re.compile(
    r"\A\W*[A-J]\W*(?:to|through|until|bis|至|到|hasta|à)\W*[A-J]\W*\Z"
    r"|(?:(?<=\W)|\A)\d\s?[.):]\s*[A-J](?:[^\w\n]+\d\s?[.):]\s*[A-J])+\W*\Z"
)
"""A range of letters, or a ranking on one line, and nothing after it."""
_REASON = re.compile(r"because\b|因为", re.IGNORECASE)
_MARKER = re.compile(
    r"(?:(?<=^)|(?<=[\n.;,!?:])[ \t]*|(?<=\s))(?:(?:option|choice|选项|opción|opci[oó]n|réponse|antwort)\s*)?"
    r"(?P<mark>‹(?P<letter>[A-J])›)\s*(?:[.):]|,(?!\s*(?:and|or|nor|but|since|because|as|so|y|o|et|ou|und|oder|porque|car|weil)\b)|"
    r"\s[-–—]|[-–—]\s)\s*(?=[^\s‹])",
    re.IGNORECASE,
)


def parsed(reply: str, options: Sequence[str], letters: str = LETTERS) -> int | None:
    """The index of the option that the reply names; ``None`` where it names none, or more than one.

    ``letters``: the options' letters in their order; other letters name none. Thoughts are left out, and a reply that
    was cut off in thought names none.
    """
    said = part_thoughts(reply)
    valid = letters[: len(options)]
    if not valid or said.cut or not said.reply.strip():
        return None
    texts = Texts(options, valid)
    turns = (turn.start() for turn in _NEXT_TURN.finditer(said.reply))
    begun = next((said.reply[:at] for at in turns if said.reply[:at].strip()), "")
    if not pattern("{hedge}").search(begun) and (found := _named(begun, texts, valid)) is not None:
        return found
    return _named(said.reply, texts, valid)


def _named(reply: str, texts: Texts, valid: str) -> int | None:
    """The option that a reply without thoughts names."""
    if _SEVERAL.search(reply):
        return None
    text = spelled(_without_label(reply, texts), max(LETTERS.index(letter) for letter in valid) + 1)
    forms = [form for form in boxed(text) if not _is_formula(form, texts)]
    if forms:
        found = {_enclosed(form, texts, valid) for form in forms} - {None}
        return found.pop() if len(found) == 1 and found != {_ANOTHER} else None
    text, verdicts = _without_lists(without_boxes(text))
    named = _letter([*claims(text), *verdicts], text)
    if _corrected(text):
        return None
    if named is None:
        return texts.named(text)
    return texts.meant_by(named, text) if named and named in valid else None


def _is_formula(form: str, texts: Texts) -> bool:
    """Whether a form encloses a step of a calculation, which says nothing of the options."""
    formula = _FORMULA.search(form) and not _LABELLED.match(form)
    return bool(formula) and texts.named(form, whole=True) is None


def _without_label(reply: str, texts: Texts) -> str:
    """The reply without an "A:" that stands for "answer", as a model continues a list of questions: neither the first
    option's text nor a reason follows it."""
    found = _LABEL.match(reply)
    if not found or _REASON.match(reply, found.end()) or texts.begins(reply[found.end() :], "A"):
        return reply
    return reply[found.end() :]


def _corrected(text: str) -> bool:
    """Whether the reply takes a letter back and names another at once ("Actually, no, D"): then it names two."""
    said = claims(text)
    rejected = {claim.letter for claim in said if claim.kind == REJECTED}
    for found in pattern(_TAKES_BACK).finditer(text):
        letter = found["letter"][1]
        others = {claim.letter for claim in said if claim.at < found.start()} - rejected - {letter}
        if others and letter not in rejected:
            return True
    return False


def _enclosed(form: str, texts: Texts, valid: str) -> int | None:
    """The option that an answer's own form encloses: its letter, perhaps with its text, or its text; ``_ANOTHER``: no
    such option, or several."""
    small = re.fullmatch(r"[\W_]*([a-j])[\W_]*", form)
    if small and texts.named(form, whole=True) is None:
        form = f"‹{small[1].upper()}›"
    found = {claim.letter for claim in claims(form) if claim.kind != REJECTED}
    if len(found) == 1:
        letter = found.pop()
        return texts.meant_by(letter, form) if letter in valid else _ANOTHER
    if found:
        return _ANOTHER
    return texts.named(form, whole=True)


def _letter(found: Sequence[Claim], text: str) -> str | None:
    """The letter that the reply takes; ``""`` where it takes several, or one that it rules out as well."""
    found, opposed = _settled(found)
    if opposed:
        return ""
    stated = {claim.letter for claim in found if claim.kind == STATED}
    weak = {claim.letter for claim in found if claim.kind == WEAK}
    rejected = {claim.letter for claim in found if claim.kind == REJECTED}
    if not stated:
        weak -= rejected
        if weak:
            return weak.pop() if len(weak) == 1 else ""
        others = {claim.letter for claim in found}
        lone = len(others) == 1 and not rejected and len(text.strip()) <= _SHORT_REPLY
        plain = not pattern("{negate+hedge+others}").search(text.replace("n't", " n't")) and "?" not in text
        return others.pop() if lone and plain else None
    if len(stated) > 1:
        return ""
    letter = next(iter(stated))
    first = next(claim.at for claim in found if claim.kind == STATED)
    if letter in rejected or any(claim.letter != letter and claim.at > first for claim in found if claim.kind == WEAK):
        return ""
    before = [claim.at for claim in found if claim.kind == WEAK and claim.letter != letter]
    if before and pattern("{taken_back}").search(text, min(before), first):
        return ""
    return "" if _weighed_after(found, text, letter, rejected) else letter


def _settled(found: Sequence[Claim]) -> tuple[list[Claim], bool]:
    """The claims as stated, weak, rejected or mentioned; and whether the reply gives a bare letter and praises another.

    What is conceded counts where no other letter is taken.
    """
    bare = {claim.letter for claim in found if claim.kind == BARE}
    taken = bare | {claim.letter for claim in found if claim.kind in (STATED, PRAISED, WEAK)}
    praised = {claim.letter for claim in found if claim.kind == PRAISED}
    stated = {claim.letter for claim in found if claim.kind == STATED}
    settled = []
    for claim in found:
        kind = {BARE: WEAK, PRAISED: MENTIONED if stated else STATED}.get(claim.kind, claim.kind)
        if kind == CONCEDED:
            kind = MENTIONED if taken - {claim.letter} else STATED
        settled.append(claim._replace(kind=kind))
    return settled, not stated and bool(praised and bare - praised)


def _weighed_after(found: Sequence[Claim], text: str, letter: str, rejected: set[str]) -> bool:
    """Whether the reply, after it has taken a letter, affirms exactly one other; "A is a distractor" does not."""
    last = max(claim.at for claim in found if claim.kind == STATED)
    later = {claim.letter for claim in found if claim.at > last and claim.kind == MENTIONED} - {letter} - rejected
    if len(later) != 1:
        return False
    other = later.pop()
    return any(
        (said := pattern(rf"‹{other}›\s+{{copula}}\s").search(sentence))
        and pattern("{affirm}").search(sentence, said.end())
        and not pattern("{reject}").search(sentence)
        and not concedes(sentence, *said.span())
        for at, sentence in sentences(text)
        if at > last
    )


def _without_lists(text: str) -> tuple[str, list[Claim]]:
    """The text in which the letters that list options are no letters any more, and the verdict of such a list: the
    option that it affirms where it rejects the others."""
    marks = list(_MARKER.finditer(text))
    runs: list[list[re.Match[str]]] = []
    for mark in marks:
        if runs and LETTERS.index(mark["letter"]) == LETTERS.index(runs[-1][-1]["letter"]) + 1:
            runs[-1].append(mark)
        else:
            runs.append([mark])
    listed = [run for run in runs if len(run) > 1]
    verdicts = [claim for run in listed for claim in _verdict(run, text)]
    for mark in (mark for run in listed for mark in run):
        start, end = mark.span("mark")
        text = text[:start] + " - " + text[end:]
    return text, verdicts


def _verdict(run: Sequence[re.Match[str]], text: str) -> list[Claim]:
    ends = [nearer.start() for _, nearer in pairwise(run)]
    last = re.compile(r"\n|[.!?]\s|$").search(text, run[-1].end())
    assert last is not None
    affirmed, rejected = [], []
    for mark, end in zip(run, [*ends, last.start()], strict=True):
        said = text[mark.end() : end].replace("n't", " n't").strip(" .,;\n")
        if pattern("^{reject}|{reject}$").search(said):
            rejected.append(mark)
        elif pattern("^{affirm}|{affirm}$").search(said):
            affirmed.append(mark)
    if len(affirmed) == 1 and len(rejected) == len(run) - 1:
        return [Claim(affirmed[0]["letter"], WEAK, affirmed[0].start())]
    return []
