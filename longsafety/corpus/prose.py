"""The prose of docstrings: running text without code, tables, lists and markup."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator


def listed(names: str) -> frozenset[str]:
    """The names between commas."""
    return frozenset(name.strip() for name in names.split(","))


_DROPPED_SECTIONS = listed(
    "parameters, other parameters, returns, return, yields, receives, raises, warns, attributes, methods, "
    "properties, see also, references, reference, examples, example, usage, args, arguments, keyword args, "
    "keyword arguments, inputs, input, outputs, output, shape, kwargs, params, todo, bibliography, routine "
    "listings, contents, functions, classes"
)
_NOTES = listed("note, warning, tip, important, caution, admonition, attention, hint")
_UNDERLINE = re.compile(r"([=\-~^*#\"'+`.])\1{2,}$")
_DIRECTIVE = re.compile(r"\.\. ?([\w:-]+?)::\s*(.*)$")
_LIST_ITEM = re.compile(r"([-*+•]|\d{1,2}[.)]|\([0-9a-z]{1,3}\)|[a-z]\)|\[\d+\])\s")
_GOOGLE_SECTION = re.compile(r"([A-Z][A-Za-z ]{2,24}):$")

_INLINE = [
    (re.compile(r":[\w:+-]+:`~[\w.]*?(\w+)(?:\(\))?`"), r"\1"),  # :class:`~torch.nn.Module` shows as Module
    (re.compile(r":[\w:+-]+:`([^`<]+?)\s*<[^`>]*>`"), r"\1"),
    (re.compile(r":[\w:+-]+:`!?([^`]*)`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?"), r"\1"),
    (re.compile(r"\[`~?([^`\]]*)`\]"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\((?:https?://|\.|/|#)[^)]*\)"), r"\1"),
    (re.compile(r"\s*\[#?[\w-]*\]_"), ""),
    (re.compile(r"``([^`]*)``"), r"\1"),
    (re.compile(r"`([^`]*)`_{0,2}"), r"\1"),
    (re.compile(r"(?<!\w)\*\*(\S(?:[^*]*\S)?)\*\*"), r"\1"),
    (re.compile(r"(?<!\w)\*(\S(?:[^*]*\S)?)\*(?!\w)"), r"\1"),
    (re.compile(r"\$(\w{1,12})\$"), r"\1"),
    (re.compile(r"\s+([.,;])(?=\s|$)"), r"\1"),
    (re.compile(r"\s?---?\s?"), " — "),
    (re.compile(r"\s{2,}"), " "),
]
_MIN_WORDS = 15
_ENDS = (".", "!", "?", '."', ".)")
_NEEDED_CITATION = re.compile(r"\b(?:in|by|to|of|on|from|see|and|with|follows)\s+\[#?[\w-]*\]_")
_BROKEN_WORD = re.compile(r"(?<=[a-z])- (?=[a-z])(?!and |or )")
_NOT_PROSE = re.compile(r"[{}<>\\|`=$@#^~*]|::|https?:|\.\.\.|%\(|\b(?:TODO|FIXME|XXX|NB|np|pd|plt)\b|\[\s*\]")
PLAIN_WORD = re.compile(
    r"[\"'(\[“‘]*(?:[A-Z]?[a-zé]+|[A-Z]{1,6}s?)(?:[-'’/](?:[A-Za-z]?[a-z]+|[A-Z]+))*[\])\"'’”.,;:!?]*"
)
_COMMON_WORDS = listed(
    "a, an, the, of, to, in, is, are, be, and, or, not, that, this, it, its, as, by, for, with, from, on, at, if, "
    "when, which, can, may, will, was, has, have, but, than, then, so, no, all, any, each, one, such, these, "
    "those, there, between, into, only, also, more, most, other, both, does, do, should, must, where, while, "
    "whether, how, what, you, we, they, he, been, being, use, used, using, same, their, your"
)


def prose_paragraphs(docstring: str, *, indented: bool = False) -> Iterator[str]:
    """The natural-language paragraphs of a docstring, on one line each and without markup.

    Code, doctests, tables, lists, directives, and sections of parameters or references are left out; so are indented
    blocks, unless ``indented`` (a rendered manual indents the description of each of its entries).
    """
    lines = inspect.cleandoc(docstring).splitlines() or [""]
    paragraph: list[str] = []
    in_section = in_fence = in_doctest = False
    block: int | None = None  # lines indented more than this belong to a dropped block
    base = 0  # indentation of running text: 0, or that of an admonition's body
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        is_header = text and _UNDERLINE.match(following.strip()) and not _UNDERLINE.match(text)
        if text.startswith(("```", "~~~")):
            in_fence = not in_fence
        if not text or is_header:
            yield from _joined(paragraph)
            in_doctest = False
            if is_header:
                in_section, block = text.rstrip(":").lower() in _DROPPED_SECTIONS, None
            continue
        if block is not None and indent <= block:
            block = None
        if in_section or in_fence or in_doctest or block is not None:
            continue
        if indent < base:
            base = 0
        directive = _DIRECTIVE.match(text)
        section = _GOOGLE_SECTION.match(text)
        if directive and directive[1].lower() in _NOTES:
            yield from _joined(paragraph)
            base = indent + 3
            paragraph.extend([directive[2]] if directive[2] else [])
        elif (
            text.startswith((".. ", ":"))
            or directive
            or (section and section[1].lower() in _DROPPED_SECTIONS)
            or _LIST_ITEM.match(text)
        ):
            yield from _joined(paragraph)
            block = indent
        elif text.startswith((">>>", "In [", "$ ", "% ")):
            paragraph.clear()
            in_doctest = True
        elif _UNDERLINE.match(text) or text.startswith("```"):
            paragraph.clear()
        elif indented or base <= indent <= (base + 1 if base else 0):
            paragraph.append(text)
        else:
            paragraph.clear()
            block = indent - 1
    yield from _joined(paragraph)


def _joined(lines: list[str]) -> Iterator[str]:
    text = _BROKEN_WORD.sub("-", " ".join(lines))
    lines.clear()
    if text.count(" ") < _MIN_WORDS - 1 or not text.endswith(_ENDS) or _NEEDED_CITATION.search(text):
        return
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    if _is_prose(text):
        yield text


def _is_prose(text: str) -> bool:
    words = text.split()
    if len(words) < _MIN_WORDS or not text[0].isupper() or _NOT_PROSE.search(text):
        return False
    if text.count("(") != text.count(")"):
        return False
    plain = sum(1 for word in words if PLAIN_WORD.fullmatch(word))
    common = sum(1 for word in words if word.lower().strip(".,;:()\"'") in _COMMON_WORDS)
    return plain >= 0.88 * len(words) and common >= 0.26 * len(words)
