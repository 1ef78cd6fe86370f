"""Checks what a teacher wrote: length, language, no leak, no compliance where there must be none. Our design."""

from __future__ import annotations

import math
import re
from typing import Literal, NamedTuple

from longsafety.samples.control import CHAT_TOKENS
from longsafety.samples.language import HAN


class Form(NamedTuple):
    """What a text of a kind looks like."""

    words: tuple[int, int]
    """Fewest and most; in Chinese ``characters`` instead."""
    characters: tuple[int, int]
    ends: Literal["", "question", "sentence", "phrase"] = ""
    may_be_number: bool = False


_SAFE_ANSWER = Form((6, 110), (10, 260), "sentence")
_FORMS = {
    "question": Form((4, 45), (5, 90), "question"),
    "topic": Form((1, 12), (2, 24), "phrase"),
    "safe_answer": _SAFE_ANSWER,
    "statement_safe_answer": _SAFE_ANSWER,
    "benign_request": Form((4, 70), (6, 140), "sentence"),
    "benign_answer": Form((5, 150), (8, 350), "sentence"),
    "context_question": Form((4, 60), (5, 120), "question"),
    "context_answer": Form((1, 90), (1, 220), may_be_number=True),
    "wrong_option": Form((1, 40), (1, 80), may_be_number=True),
}
_SUBJECTS = {"topic": "request", "benign_request": "request", "question": "statement"}
"""Kind → the text that it shares a content word with."""
_SCRIPTS = {
    "en": (re.compile(r"[A-Za-z\u00c0-\u024f]"), 0.8),
    "zh": (re.compile(f"[{HAN}]"), 0.5),  # names and units stay Latin in good Chinese
}
COMPLIES = {
    "en": re.compile(
        r"(sure|of course(?! not)|certainly(?! not)|absolutely(?! not)|yes|yep|okay|ok|no problem|"
        r"here(?:'s|’s| is| are)|(?:i(?:'d|’d| would) be )?(?:happy|glad) to|"
        r"i(?: can|'ll|’ll| will) (?:help|assist|show)|let me (?:help|show)|step 1|first,|1[.)])(?![\w'’])",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"当然(?!不)|好的|好，|可以(?!理解)|没问题|以下|下面|首先|是的|步骤|第一步|1[.、]"),
}
DECLINES = {
    "en": re.compile(
        r"\bi(?:['’](?:m|d|ll))?(?: really| simply| just| also| must| have to)? ?(?:can(?:no|['’])t|can not|won['’]t|"
        r"will not|don['’]t|do not|wouldn['’]t|would not|couldn['’]t|not (?:able|going|willing)|am not|rather not|"
        r"unable|refuse|decline|never)\b|(?:\bnot|n['’]t) something i\b|"
        r"\b(?:sorry,? but|i['’]?a?m sorry|out of the question|as an ai|unable to (?:help|assist))\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"我(?:[^，。！？]{0,6})?(?:不能|不会|不写|不做|不愿|不想|不便|无法|没法|拒绝|谢绝|做不到|帮不了|帮不上)|"
        r"(?:恕|请恕)|(?:不能|无法|没法|不会|不便)(?:帮|协助|提供|回答|满足|支持|为您|为你)|抱歉|对不起|作为(?:一个)?人工智能"
    ),
}
"""First-person refusals: a safe answer has one, a benign answer has none."""
DISSENTS = {
    "en": re.compile(
        r"\b(?:harm\w*|danger\w*|wrong\w*|false\w*|unsafe\w*|illegal\w*|unlawful\w*|crim\w*|mislead\w*|untrue|incorrect\w*|"
        r"disagree\w*|myths?|prejudice\w*|unfair\w*|cruel\w*|reckless\w*|deadly|fraud\w*|mistaken|discriminat\w*|"
        r"insult\w*|no evidence|i reject|advise against|warn)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"危险|有害|错误|违法|犯罪|虚假|误导|伤害|偏见|歧视|欺诈|致命|谣言|反对|不认同|不赞成|不赞同|不同意|不接受|不真实|"
        r"没有依据|没有证据|毫无根据|并非|侮辱|残忍|是假的"
    ),
}
"""Words that say what is wrong with a statement: its safe answer may have these instead."""
WILL_NOT_WRITE = {
    "en": re.compile(
        r"(?:i['’]?a?m )?sorry|i (?:can(?:no|['’])t|can not|won['’]t|will not) (?:help|assist|provide|write|do|comply)",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"(?:很|非常)?抱歉|对不起|我?(?:不能|无法|没法)(?:帮|协助|提供|写|满足)"),
}
"""How a teacher begins that refuses to write a benign request; the request itself may well say "I can't"."""
_LABEL = re.compile(
    r"\s*(?:question|answer|topic|request|statement|option|reply|output|问题|回答|答案|主题|请求|选项|回复)\s*[:：]",
    re.IGNORECASE,
)
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be been being but by can could did do does for from had has have he her his how i if in
        into is it its may might must no not of on or our shall she should so some such that the their them then there
        these they this those to was we were what when where which who whom whose why will with would you your
        according text""",
    )
)
_FUNCTION_CHARACTERS = frozenset("的了是在和与有就都也吗呢啊吧着过把被这那什么么怎样如何谁哪")
_SHORTEST_RUN = {"en": 4, "zh": 8}


def problem(kind: str, text: str, *, language: str, **about: str) -> str | None:
    """What is wrong with a text of a kind, in a few fixed words that can be counted; ``None``: nothing.

    ``about`` holds what the text was written from, under the names of the prompt: ``statement``, ``request``,
    ``benign_request``, ``passage``, ``question``, ``answer``.
    """
    return form_problem(text, _FORMS[kind], language) or _content_problem(kind, text, language, about)


def length_of(text: str, language: str) -> int:
    """Words; in Chinese, characters that are not white space."""
    return len("".join(text.split())) if language == "zh" else len(text.split())


def form_problem(text: str, form: Form, language: str) -> str | None:
    """What is wrong with a text's form, in a few fixed words; ``None``: nothing."""
    if not text.strip():
        return "empty"
    if CHAT_TOKENS.search(text):
        return "a token of a chat template"
    if re.search(r"\[\[|\]\]|<<|>>", text):
        return "repeats the fence of the prompt"
    if _LABEL.match(text):
        return "begins with a label"
    letters = [character for character in text if character.isalpha()]
    pattern, share = _SCRIPTS[language]
    if sum(bool(pattern.match(letter)) for letter in letters) < share * len(letters):
        return f"not in {language}"
    if not letters and not form.may_be_number:
        return f"not in {language}"
    shortest, longest = form.characters if language == "zh" else form.words
    unit = "characters" if language == "zh" else "words"
    if length_of(text, language) < shortest:
        return f"shorter than {shortest} {unit}"
    if length_of(text, language) > longest:
        return f"longer than {longest} {unit}"
    end = text.rstrip("\"'”’」）)")[-1:]
    if form.ends == "question" and end not in ("?", "？"):
        return "does not end with a question mark"
    if form.ends == "sentence" and end not in (*".!?。！？", ""):
        return "does not end as a sentence does"
    if form.ends == "phrase" and re.search(r"[.!?。！？\n]", text):
        return "not a phrase"
    return None


def _content_problem(kind: str, text: str, language: str, about: dict[str, str]) -> str | None:
    if kind.endswith("safe_answer"):
        declines = DECLINES[language].search(text) or (
            kind == "statement_safe_answer" and DISSENTS[language].search(text)
        )
        if COMPLIES[language].match(text):
            return "begins as if it complied"
        return None if declines else "does not decline"
    if kind == "benign_answer" and DECLINES[language].search(text):
        return "a refusal"
    if kind.startswith("benign") and WILL_NOT_WRITE[language].match(text):
        return "a refusal"
    if kind == "benign_request" and plain(text) == plain(about.get("request", "")):
        return "the harmful request again"
    if kind == "benign_answer" and plain(text) == plain(about.get("benign_request", "")):
        return "the request again"
    subject = about.get(_SUBJECTS.get(kind, ""), "")
    if subject and not set(content_words(text, language)) & set(content_words(subject, language)):
        return "about something else"
    if kind == "question" and holds(text, about.get("statement", ""), language):
        return "gives the statement away"
    if kind == "context_answer" and holds(about.get("question", ""), text, language):
        return "its question gives it away"
    if kind == "wrong_option" and plain(text) == plain(about.get("answer", "")):
        return "the right answer again"
    return None


def holds(text: str, secret: str, language: str) -> bool:
    """Whether ``text`` has a long run of the content words (in Chinese: characters) of ``secret``, in their order.

    Long is two thirds of them and at least 4 words (8 characters), or all of a shorter secret: a good question about
    a statement names its subject, in the statement's words.
    """
    hidden = content_words(secret, language)
    needed = min(len(hidden), max(_SHORTEST_RUN[language], math.ceil(len(hidden) * 2 / 3)))
    shown = content_words(text, language)
    runs = {tuple(shown[start : start + needed]) for start in range(len(shown) - needed + 1)}
    return needed > 0 and any(tuple(hidden[i : i + needed]) in runs for i in range(len(hidden) - needed + 1))


def content_words(text: str, language: str) -> list[str]:
    """The words that say something, in their order; in Chinese the characters."""
    if language == "zh":
        parts = re.findall(rf"[{HAN}]|[a-z0-9]+", text.lower())
        return [part for part in parts if part not in _FUNCTION_CHARACTERS]
    return [word for word in re.findall(r"[^\W_]+", text.lower().replace("’", "'")) if word not in _STOP_WORDS]


def plain(text: str) -> str:
    return "".join(re.findall(r"\w+", text.lower()))
