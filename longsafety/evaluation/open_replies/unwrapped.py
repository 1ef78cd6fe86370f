"""What a reply says, without its thoughts, its spacing, and what it is wrapped in as a whole.

A model may write all that it says into a fence, between backticks or tags, or after its own name. The detector reads
what is inside, if that is prose: code stays in its wrapping.
"""

from __future__ import annotations

import json
import re
import unicodedata

from longsafety.samples.language import count_han
from longsafety.samples.thoughts import part_thoughts

CODE_LINE = re.compile(
    r"^(?: {4,}|\t|(?:def|class|import|return|raise|function|const|let|var)\b.*[:;({)=]|from \w+ import|#include"
    r"|print\(|(?:try|else|finally)\s*:\s*$|(?:if|elif|for|while|with|except)\b.*:\s*$|\w+\(.*\);\s*$|<\w+[^>]*>.*</\w+>\s*$"
    r"|(?:SELECT|INSERT|UPDATE|DELETE)\b.*\b(?:FROM|INTO|SET)\b)"
)
_APOSTROPHES = re.compile(r"(?<=[A-Za-z])[’‘`´ʼ′](?=[A-Za-z])")
_BLANKS = re.compile(r"(?<=\S)[^\S\n]+(?=\S)")
_FENCED = re.compile(
    r"(?P<fence>`{3,}|~{3,})[ \t]*(?:te?xt|plain|plaintext|markdown|md)?[ \t]*\n"
    r"(?P<inside>.*?)\s*(?:(?P=fence)[`~]*)?",
    re.DOTALL | re.IGNORECASE,
)
_TICKED = re.compile(r"(`{1,3})(?P<inside>[^`\n]*\s[^`\n]*)\1")
_TAGGED = re.compile(r"(?:<(?P<tag>[a-z][\w-]*)(?:\s[^<>]*)?>[^<>]*</(?P=tag)>\s*)+", re.IGNORECASE)
_PAIR = re.compile(r"<(?P<tag>[a-z][\w-]*)(?:\s[^<>]*)?>\s*(?P<inside>.*)</(?P=tag)>", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
_NAMED = re.compile(
    r"[*_]{0,2}(?:(?:the )?(?:AI|assistant|chatbot|bot)(?: assistant| model)?|(?:AI|智能)?助[手理]|人工智能|机器人)"
    r"[*_]{0,2}\s*[::][*_]{0,2}\s*",
    re.IGNORECASE,
)


def unwrapped(reply: str) -> str:
    """A reply's own words, in Unicode's compatible form, blanks in a line as one space; where indents may be code they
    stay."""
    text = part_thoughts(reply).reply.replace("\r\n", "\n")
    text = unicodedata.normalize("NFKC", _APOSTROPHES.sub("'", _visible(text)))
    text = _BLANKS.sub(" ", text).strip("\n\r ")
    while (inside := _inside(text)) != text:
        text = inside
    return text


def _visible(text: str) -> str:
    """Without the characters that are not seen, such as a zero-width space."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


def _inside(text: str) -> str:
    """The text without its outermost wrapping; the text itself where it has none."""
    if name := _NAMED.match(text):
        return text[name.end() :]
    if whole := _FENCED.fullmatch(text) or _TICKED.fullmatch(text):
        inside = whole["inside"]
        return inside.strip() if _is_prose(inside) and "```" not in inside else text
    if text.startswith("{") and (said := _json_texts(text)):
        return said
    pair = _PAIR.fullmatch(text)
    if _TAGGED.fullmatch(text) or (pair and _TAGGED.fullmatch(pair["inside"])):
        inside = _TAGS.sub("\n", text)
        return inside.strip() if _is_prose(inside) else text
    return text


def _json_texts(text: str) -> str:
    """The sentences in the fields of a JSON object; empty where it is none."""
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return ""
    said = [one.strip() for one in value.values() if isinstance(one, str)]
    return "\n".join(one for one in said if " " in one or count_han(one) > 3)


def _is_prose(text: str) -> bool:
    return not any(CODE_LINE.match(line) for line in text.splitlines())
