"""One spelling for the many ways of writing an answer: marks, brackets, tags, boxes, JSON, full-width letters.

In the result a letter that stands for an option is ``‹D›``, whatever stood around it, and what an answer's own form
encloses (a LaTeX box, a tag, a JSON field, double brackets) is ``⟦…⟧``. An article, a pronoun and "vitamin D" are no
letters of options.
"""

from __future__ import annotations

import re
import unicodedata

_LATIN = r"A-Za-zÀ-ɏЀ-ӿ0-9_"
_SIMPLIFIED = str.maketrans("選擇項為應對錯誤確該會無認適當個這們後從過還沒說",
                            "选择项为应对错误确该会无认适当个这们后从过还没说")  # fmt: skip
_MARKS = str.maketrans(
    dict.fromkeys("’‘ʼ´`′＇", "'")
    | dict.fromkeys("“”„«»「」『』《》＂", '"')
    | dict.fromkeys("【〔［〖〈", "(")
    | dict.fromkeys("】〕］〗〉", ")")
    | {"。": ". ", "．": ".", "、": ", ", "，": ", ", "：": ": ", "；": "; ", "！": "! ", "？": "? ", "…": ". "}
    | {"✅": " correct ", "✔": " correct ", "✓": " correct ", "☑": " correct "}
    | {"❌": " wrong ", "✗": " wrong ", "✘": " wrong ", "→": ": ", "⇒": ": ", "\ufe0f": "", "\u200b": ""}
    | {chr(first + place): chr(65 + place) for first in (0x1F150, 0x1F170) for place in range(10)}
)
_FIELD = (
    r"(?:(?:final|correct|best|selected|chosen|my|predicted)[_ ]?)?(?:answer|choice|option|letter|selection|response|"
    r"respuesta|opción|réponse|antwort|答案|选项|选择|答え|回答|정답)(?:[_ ]?(?:letter|option|choice|id|key|label))?"
)
_NAMED_TAG = r"(?:final_?)?(?:answer|choice|option|letter|selection|respuesta|réponse|答案|output|solution|result)"
_BOXES = [
    (re.compile(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}"), r"⟦\1⟧"),
    (re.compile(rf"<({_NAMED_TAG})(?:\s[^<>]*)?>(.*?)</\1\s*>", re.I | re.S), r"⟦\2⟧"),
    (re.compile(rf"[\"']({_FIELD})[\"']\s*:\s*(?:\[\s*)?\"([^\"\n]*)\"", re.I), r" ⟦\2⟧"),
    (re.compile(rf"[\"']({_FIELD})[\"']\s*:\s*(?:\[\s*)?'([^'\n]*)'", re.I), r" ⟦\2⟧"),
    (re.compile(r"\[\[([^\[\]\n]{1,200})\]\]"), r"⟦\1⟧"),
]
_LATEX = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|up|normal)?|math(?:bf|it|rm|sf|tt)|[mh]box|operatorname|emph|underline|boldsymbol|bm)"
    r"\s*\{([^{}]*)\}"
)
_FONT = re.compile(
    r"\\(?:bf|rm|it|sf|tt|bfseries|itshape|tiny|small|normalsize|large|Large|LARGE|huge|Huge|displaystyle|textstyle|quad|"
    r"qquad|[,;:!])(?![A-Za-z])"
)
"""LaTeX's changes of font, size and space, which say nothing."""
_HTML = re.compile(
    r"</?(?:b|strong|i|em|u|p|span|div|mark|code|center|li|ul|ol|h\d|font|small|br)(?:\s[^<>]*)?/?>", re.I
)
_LINE_MARKS = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>+[ \t]*|[-*•+][ \t]+|\d{1,2}[.)][ \t]+)+", re.M)
_TABLE = re.compile(r"^[ \t]*\|(.*?)\|?[ \t]*$", re.M)
_STRUCK = re.compile(r"~~.*?~~", re.S)
_EMPHASISED = re.compile(
    rf"(?<![{_LATIN}])(\*{{1,3}}|_{{1,2}}|'{{1,3}}|\"|\$)[ \t]*\(?([A-Ja-j])\)?([.):]?)[ \t]*\1(?![{_LATIN}])"
)
_BRACKETED = re.compile(rf"(?<![{_LATIN}])[(\[{{]\s*[\"']?([A-Ja-j])[\"']?\s*[)\]}}]")
_EMPHASIS = re.compile(r"\*{1,3}|(?<!\w)_{1,2}|_{1,2}(?!\w)|'{2,3}|\$|\\[()\[\]]")
_ALONE = re.compile(
    rf"(?<![{_LATIN}‹])(?<![A-Z]\.)(?<![{_LATIN}]-)(?<!\bN/)([A-J])(?![{_LATIN}+#›])(?!'\s?[a-z])(?!\.[A-Z]\.)(?!-[{_LATIN}])"
)
_SMALL = [
    re.compile(r"(?im)(^)([a-j])(?=[).:]\s)"),
    re.compile(r"(?im)(^)([b-dfghj])(?=,\s|\s[-–—]\s|\s(?:because|since|as|porque|car|weil)\b)"),
    re.compile(
        r"(?i)(\b(?:option|choice|letter|answer|choose|select|pick|opci[oó]n|respuesta|letra|elijo|escojo|r[eé]ponse|"
        r"lettre|choisis|antwort|w[aä]hle)(?:\s+(?:is|would be|should be|es|ser[ií]a|est|ist))?\s*[:=]?\s*)"
        r"([a-j])(?=\s*(?:[.,;:!)]|$)|\s+(?:because|since|as|porque|car|weil)\b)"
    ),
    re.compile(
        r"(?i)(\b(?:option|choice|letter|opci[oó]n|lettre)\s+)([a-j])(?=\s+(?:is|was|would|seems|looks|fits|es|est|ist)\b)"
    ),
    re.compile(r"(?i)(\b(?:option|choice)[_-])([a-j])(?![\w-])"),
    re.compile(r"([选择项是为案]\s*:?\s*)([a-j])(?![a-z])"),
]
"""Where a small letter stands for an option: elsewhere it is a word of some language."""
_ABJAD = {"أ": "A", "ا": "A", "ب": "B", "ج": "C", "د": "D", "هـ": "E", "ه": "E", "و": "F", "ز": "G", "ح": "H"}
"""Arabic's letters of options in their order."""
_ONE_OF_ABJAD = f"({'|'.join(_ABJAD)})(?![\\w\u064b-\u0652])"
_JUDGED = r"\s+(?:لأن\w*|حيث|هي|هو|صحيحة?|ليست?|خاطئة?)\b"
_ARABIC = [
    re.compile(
        rf"^()[\s*_]*{_ONE_OF_ABJAD}(?!(?<=د)\.\s*\w)(?=[\s*_]*(?:[.)\]،؛!,;]|-\s|\Z)|{_JUDGED})"  # "د." is "Dr."
    ),
    re.compile(rf"(?<!\w)()[(\[{{]\s*{_ONE_OF_ABJAD}\s*[)\]}}]"),
    re.compile(rf"(?<!\S)(){_ONE_OF_ABJAD}(?=\))"),
    re.compile(
        r"(?<!\w)((?:(?:ال)?(?:إجابة|اجابة|جواب|خيار|اختيار|حرف|بديل|صحيحة?|صواب)|هي|هو|أختار|اختار|اخترت)"
        rf"(?:\s*:\s*|\s+))[\"*_]*{_ONE_OF_ABJAD}(?=[\s\"*_]*(?:[.)\]،؛!,;\n]|\Z)|{_JUDGED})"
    ),
]
"""Where an Arabic letter stands for an option: elsewhere it is "and", "Dr" or a question's or an answer's name."""
_FOLLOWS_A = re.compile(
    r"\s*(?:$|[\n.,:;!?)\]>‹›⟧/&-]|(?:is|are|was|because|since|as|and|or|over|seems|looks|would|it|with|not|but|here|"
    r"appears|remains|fits|wins|works|sounds|should|cannot|can|may|might|declines|helps|for me|es|est|ist|porque|car|"
    r"weil|y|o|et|ou|und|oder)\b|[^\x00-\x7f])"
)
_BEGINS = re.compile(r"(?:^|[\n.!?:\"(]\s*)$")
_FOLLOWS_I = re.compile(r"\s*(?:$|[\n.:;!?)\]⟧]|[-–—]\s)")
_NO_PRONOUN = re.compile(r" (?:is|would be|fits|seems|was|est|es|ist) ")
_LEADS_TO_I = re.compile(
    r"(?:^|\n|\b(?:is|option|answer|choice|letter|choose|select|pick|es|est|ist)\s+|:\s*|[选择项是为]\s*)$"
)
_OTHER_THINGS = re.compile(
    r"(?i)(?:\b(?:vitamin[ae]?|plan|hepatitis|type|tipo|grade|group|grupo|gruppe|section|class|team|part|appendix|exhibit|"
    r"room|sala|salle|gate|dock|door|building|figure|table|chapter|schedule|drive|phase|block|unit|zone|wing|platform|"
    r"route|witness|person|party|company|level|lot|dr|mr|ms|mrs)\.?\s+|(?:维生素|计划|附录|图|表)\s*)$"
)
_THING_AFTER = re.compile(r"[栋座组型级班轮区楼罩]")


def spelled(text: str, num_options: int) -> str:
    """The text in one spelling; letters beyond ``num_options`` are marked too, but for the pronoun."""
    text = _STRUCK.sub(" ", text)
    for pattern, box in _BOXES:
        text = pattern.sub(box, text)
    text = _FONT.sub(" ", text)
    while (plain := _LATEX.sub(r"\1", text)) != text:
        text = plain
    text = unicodedata.normalize("NFKC", text.translate(_MARKS)).translate(_SIMPLIFIED)
    text = _LINE_MARKS.sub("", _HTML.sub(" ", text))
    for pattern in _ARABIC:
        text = pattern.sub(lambda found: f"{found[1]}‹{_ABJAD[found[2]]}›", text)
    text = _TABLE.sub(lambda row: " : ".join(cell.strip() for cell in row[1].split("|")), text)
    whole = re.fullmatch(r"[\W_]*(?:(?:option|choice|letter|选项|答案)\s*)?([A-Ja-j])[\W_]*", text)
    whole = whole or re.fullmatch(r"[\W_]*([A-J])(?:[\W_]*\1)+[\W_]*", text)
    if whole and "⟦" not in text and "?" not in text:
        return f"‹{whole[1].upper()}›" if _known(whole[1], num_options) else text
    text = _EMPHASISED.sub(lambda found: _marked(found[2], num_options) + found[3], text)
    text = _EMPHASIS.sub("", _BRACKETED.sub(lambda found: _marked(found[1], num_options), text))
    for pattern in _SMALL:
        text = pattern.sub(lambda found: found[1] + _marked(found[2], num_options), text)
    return _ALONE.sub(lambda found: _option_letter(found, num_options), text)


def boxed(text: str) -> list[str]:
    """What stands in an answer's own form, of a text in one spelling."""
    return [inner.strip() for inner in re.findall(r"⟦(.*?)⟧", text, re.DOTALL)]


def without_boxes(text: str) -> str:
    """The text without what stands in an answer's own form."""
    return re.sub(r"⟦.*?⟧", " ", text, flags=re.DOTALL)


def _known(letter: str, num_options: int) -> bool:
    return letter.upper() != "I" or num_options > 8


def _marked(letter: str, num_options: int) -> str:
    return f"‹{letter.upper()}›" if _known(letter, num_options) else letter


def _option_letter(found: re.Match[str], num_options: int) -> str:
    letter, before, after = found[1], found.string[: found.start()], found.string[found.end() :]
    if letter == "A" and _BEGINS.search(before) and not _FOLLOWS_A.match(after):
        return letter
    if letter == "I" and not _NO_PRONOUN.match(after) and not (_FOLLOWS_I.match(after) and _LEADS_TO_I.search(before)):
        return letter
    if _OTHER_THINGS.search(before) or _THING_AFTER.match(after):
        return letter
    return _marked(letter, num_options)
