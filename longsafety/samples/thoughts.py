"""Parts what a reasoning model thinks from what it replies, in the notations that models write thoughts in.

Everything that reads a model's text calls :func:`part_thoughts` first and reads ``reply`` alone: letters, generated
answers, open replies, the refusal detector, a judge's verdict, a teacher's text. Where ``cut`` is true there is no
reply to read, whatever stands in the thought: the outcome is *cut off in thought*.

    said = part_thoughts(content, reasoning=message.reasoning_content, cut_short=finish_reason == "length")
    if said.cut: ...  # an outcome of its own: neither safe nor unsafe, and no letter
    read(said.reply)

Notations: tags such as ``<think>`` in any case (also ``[THINK]``, ``◁think▷``, ``<|begin_of_thought|>``,
``<|START_THINKING|>``, ``<unused94>``, ``<details type="reasoning">``), nested and several of them; a closing tag
alone, where the prompt or the server has the opening one; harmony's channels, also where the tokenizer has dropped
their marks; the turns of s1 (``think``, ``answer``) and of tuned Gemma models; headings before thought and answer.
A tag between backticks is text, as is one in a fenced block that begins before it.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Parted(NamedTuple):
    """A model's text, parted."""

    reply: str
    """What it says to the user, without white space around it; a tag around the whole (``<answer>``) and the marks of
    turns are left out, with what follows the end of its turn."""
    thoughts: str | None
    """What it thinks, several thoughts joined by blank lines; ``""``: an empty thought; ``None``: it does not think."""
    cut: bool
    """Whether the text ends inside a thought."""


_NAMES = {
    "think": "think|thinking|thoughts?|thought_process|think_(?:fast|slow|faster)|seed:(?:think|cot_budget_reflect)|"
    "longcat_think|inner_thoughts?|思考(?:过程)?",
    "reason": "reason|reasoning|reasoning_content|chain_of_thought|cot",
    "reflect": "reflect|reflection|self_reflection",
    "scratch": "scratchpad|scratch_pad|inner_monologue|internal_monologue|monologue",
}
_ANY = "|".join(_NAMES.values())
_ANGLED = rf"{_ANY}|analysis"
"""``[Analysis]`` is a heading."""
_OPENING = (
    rf"(?:<|＜|&lt;)\s*(?P<open>{_ANGLED})(?:\s[^<>]{{0,60}})?\s*(?:>|＞|&gt;)|\[(?P<open2>{_ANY})\]|◁(?P<open3>{_ANY})▷|"
    r"<[|｜](?P<open4>begin_of_thought|start_thinking|thinking_start|think_start|think|thinking|thought|"
    r"inner_prefix)[|｜]>|<\|channel>\s*(?P<open5>thought|analysis)\b|<(?P<open6>unused94)>(?:\s*thought\b)?|"
    r"<(?P<open7>details)(?=\s[^<>]{0,99}\btype=[\"']?reasoning\b)[^<>]{1,200}>"
)
_CLOSING = (
    rf"(?:<|＜|&lt;)\s*/\s*(?P<close>{_ANGLED})\s*(?:>|＞|&gt;)|\[/(?P<close2>{_ANY})\]|◁/(?P<close3>{_ANY})▷|"
    r"<[|｜](?P<close4>end_of_thought|end_thinking|thinking_end|think_end|/think|/thinking|/thought|inner_suffix)[|｜]>|"
    r"(?P<close5><channel\|>)|<(?P<close6>unused95)>|</(?P<close7>details)\s*>"
)
_TAG = re.compile(rf"(?<!(?<!``)`)(?:{_OPENING}|{_CLOSING})(?!`(?!``))", re.IGNORECASE)
"""Not beside a backtick; three of them begin or end a block."""
_EMPTY = re.compile(rf"(?<!`)<(\s*({_ANY})\s*/\s*)>(?!`)", re.IGNORECASE)
"""``<think/>``"""
_OPENED = re.compile(rf"<(?:{_ANY}) \0([^<>]*)></(?:{_ANY})>", re.IGNORECASE)
"""The same as an opening and a closing tag, with its own letters behind a NUL."""
_CHANNEL = re.compile(
    r"(?:<\|start\|>[^<]{0,80})?<\|channel\|>\s*(?P<name>\w+)[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?(?:<\|message\|>|$)"
    r"|^\s*(?P<bare>analysis|commentary|final)\s*<\|message\|>"
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start|im_end)\|>|<end_of_turn>")
_UNMARKED = re.compile(
    r"\A\s*(?:assistant\s?)?(?:analysis|commentary)(?P<glued>(?=[A-Z\"'“]))?"
    r"|assistant(?P<name>analysis|commentary|final)"
    r"|(?<![^\W\d_]\s)assistant\s(?P<spaced>analysis|commentary|final)(?![a-z])"
)
"""Harmony's channels where decoding has dropped the special tokens, or put spaces instead:
``analysisWe need …assistantfinalD``."""
_TURN = re.compile(
    r"(?<!`)(?:<\|im_start\|>\s*(?P<name>think|answer)\b|<start_of_turn>\s*(?P<gemma>think|thinking|thought|model)\b)"
)
"""The turns of s1, and of tuned Gemma models: what is thought, and what is answered."""
_FENCE = re.compile(
    r"(?:^|(?<=[>\]▷]))[ \t]*(?P<fence>`{3,}|~{3,})[^\n`]*\n(?P<inside>(?:(?![ \t]*(?P=fence)).*\n)*)"
    r"(?:[ \t]*(?P=fence)(?P<closed>)[`~]*[ \t\r]*$|.*\Z)",
    re.MULTILINE,
)
"""A fenced block that is closed, or that the text ends in."""
_HEADINGS = [
    (r"\s*here(?:'s|’s| is) my thought process:?", r"^\W{0,4}here(?:'s|’s| is) my response:?\W{0,3}"),
    (r"\s*#+ *(?:thinking|reasoning|thought process)\b[^\n]*\n", r"^#+ *(?:final )?(?:response|answer|reply)\b:?"),
    (r"\s*thinking(?:\.\.\.|…)[ \t]*\n", r"^[ \t]*(?:\.\.\.|…) ?done thinking\.?"),
]
"""Granite's sentences; the headings of models that were tuned on texts with them; the lines of Ollama's terminal."""
_SHOWN = ("answer", "response", "output", "final", "final_answer", "solution", "reply")
_AROUND = re.compile(rf"<({'|'.join(_SHOWN)})>(.*?)(?:</\1>\s*)?\Z", re.IGNORECASE | re.DOTALL)
_GIVEN = re.compile(r"<answer>(?:(?!<answer>).)*</answer>\s*\Z", re.IGNORECASE | re.DOTALL)
"""An answer in its tag that ends the text: it also ends a thought that nothing else does."""
_SOLUTION = re.compile(r"<\|(begin_of_solution|start_response|begin_of_response)\|>", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|im_start\|>\s*assistant|<\|assistant\|>|<｜assistant｜>|<start_of_turn>\s*model|"
    r"<\|channel>\s*(?:final|response)\b|"
    r"<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<\|message\|>|"
    r"<\|(?:begin_of_solution|start_response|begin_of_response)\|>))+",
    re.IGNORECASE,
)
_TURN_ENDS = re.compile(
    r"(?<!`)(?:<\|(?:im_end|eot_id|eom_id|end|return|call|endoftext|end_of_text|end_of_turn|eot|eos|end_of_turn_token|"
    r"end_of_solution|end_response|end_of_response|endofassistant)\|>|<｜end[^｜\n]{1,30}｜>|<end_of_turn>|<eos>|"
    r"\[\|endofturn\|\]|\[EOS\]|</s>(?=\s*(?:\Z|<s>|\[INST\]))|(?<=.)(?<=[^`])(?:<\|(?:im_start|user|system|observation|"
    r"start_header_id)\|>|<｜(?:user|assistant)｜>|<start_of_turn>))",
    re.IGNORECASE | re.DOTALL,
)
"""What ends a turn, and what opens another one after it."""


def part_thoughts(
    text: str | None, *, opened: bool = False, reasoning: str | None = None, cut_short: bool = False
) -> Parted:
    """``text``: what the model wrote; None counts as empty.

    ``opened``: the prompt has opened a thought, so a text that closes none is one. ``reasoning``: what a server gave
    apart from the text. ``cut_short``: the tokens ran out (``finish_reason = length``), so that a text that says
    nothing beside ``reasoning`` was cut off in thought.
    """
    text = _EMPTY.sub("<\\2 \0\\1></\\2>", text or "")
    reply, thoughts, cut = _by_channel(text) or _by_heading(text) or _by_tag(text, opened and not reasoning)
    reply = _said(_as_written(reply), bool(thoughts))
    thoughts = [_as_written(thought) for thought in thoughts]
    if reasoning is not None and reasoning.strip():
        thoughts = [_bare(reasoning), *thoughts]
        cut = cut or (cut_short and not reply)
    kept = [thought.strip() for thought in thoughts if thought.strip()]
    return Parted("" if cut else reply, "\n\n".join(kept) if thoughts else None, cut)


def _as_written(text: str) -> str:
    """With an empty tag that is part of the text, such as code, as it stands there."""
    return _OPENED.sub(r"<\1>", text)


def closing_of(prompt: str) -> str | None:
    """What closes the thought that a prompt ends in, as models write it; None where the prompt opens none."""
    tag = next((tag for tag in _TAG.finditer(prompt[-80:]) if not prompt[-80:][tag.end() :].strip()), None)
    if tag is None or not _named(tag)[0]:
        return None
    kind, opening = str(tag.lastgroup), tag[0]
    closings = {"open4": _CLOSING_TOKENS.get(opening.lower(), ""), "open5": "<channel|>", "open6": "<unused95>"}
    closings["open7"] = "\n</details>\n\n"
    return closings.get(kind, f"\n{opening[0]}/{opening[1:]}\n\n")


_CLOSING_TOKENS = {
    f"<|{opening}|>": f"<|{closing}|>"
    for opening, closing in (
        ("begin_of_thought", "end_of_thought"), ("start_thinking", "END_THINKING"), ("thinking_start", "thinking_end"),
        ("think_start", "think_end"), ("inner_prefix", "inner_suffix"), ("think", "/think"), ("thinking", "/thinking"),
        ("thought", "/thought"),
    )
}  # fmt: skip
_Parts = tuple[str, list[str], bool]
"""The reply, the thoughts, and whether the text ends inside one."""


def _by_tag(text: str, opened: bool) -> _Parts:
    """A thought reaches to the tag that closes it; where tags inside it leave it open, to the last that closes one."""
    replies: list[str] = []
    thoughts: list[str] = []
    start, depth, family, last = 0, int(opened), "think" if opened else "", None
    fences = _Fences(text)
    for tag in _TAG.finditer(text):
        opens, name = _named(tag)
        if not depth and (fences.hold(tag, opens, start) or (name == "details" and not opens)):
            continue
        if not depth and opens:
            replies.append(text[start : tag.start()])
            start, depth, family, last = tag.end(), 1, name, None
        elif not depth and (text[tag.end() :].strip() or not thoughts):  # its opening tag is not in the text
            thoughts.append("".join(replies) + text[start : tag.start()])
            replies, start = [], tag.end()
        elif not depth:  # a tag too many, at the end
            replies.append(text[start : tag.start()])
            start = tag.end()
        elif name == family:
            depth += 1 if opens else -1
            last = last if opens else tag
            if not depth:
                thoughts.append(text[start : tag.start()])
                start = tag.end()
    if not depth:
        return "".join([*replies, text[start:]]), thoughts, False
    if last is not None:
        return "".join([*replies, text[last.end() :]]), [*thoughts, text[start : last.start()]], False
    if given := _SOLUTION.search(text, start) or _GIVEN.search(text, start):
        return "".join([*replies, text[given.start() :]]), [*thoughts, text[start : given.start()]], False
    return "".join(replies), [*thoughts, text[start:]], True


def _named(tag: re.Match[str]) -> tuple[bool, str]:
    """Whether a tag opens a thought, and the family of its name: ``<thinking>`` is closed by ``</think>``, too."""
    kind = str(tag.lastgroup)
    name = tag[kind].lower()
    families = (family for family, names in _NAMES.items() if re.fullmatch(names, name))
    return kind.startswith("open"), name if name in ("analysis", "details") else next(families, "think")


class _Fences:
    """The fenced blocks of a text that begin outside a thought, looked up from its start to its end.

    Where one block is the whole text and begins with a thought, it holds none of its tags.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.fence = _FENCE.search(text)
        if self.fence and _is_thought_and_reply(text, self.fence):
            self.fence = None
        self.opened: re.Match[str] | None = None
        """The block that held an opening tag."""

    def hold(self, tag: re.Match[str], opens: bool, start: int) -> bool:
        """Whether a tag outside a thought is part of a block that begins after ``start``.

        A block without an end holds no closing tag alone: it may be part of a thought.
        """
        while self.fence and (self.fence.end() <= tag.start() or self.fence.start("fence") < start):
            begun = self.fence.start("fence") < start
            self.fence = _FENCE.search(self.text, start if begun else self.fence.end())
        fence = self.fence
        if fence is None or tag.start() < fence.start("inside"):
            return False
        self.opened = fence if opens else self.opened
        return fence["closed"] is not None or self.opened is fence


def _is_thought_and_reply(text: str, fence: re.Match[str]) -> bool:
    """Whether a fenced block is the whole text, and in it a thought with something after it."""
    if text[: fence.start("fence")].strip() or text[fence.end() :].strip():
        return False
    first = _TAG.match(fence["inside"].lstrip())
    if first is None or not _named(first)[0]:
        return False
    last = [tag for tag in _TAG.finditer(fence["inside"]) if not _named(tag)[0]][-1:]
    return bool(last and fence["inside"][last[0].end() :].strip())


def _by_channel(text: str) -> _Parts | None:
    """The channel ``final`` is the reply, every other is thought; without ``final`` the text is cut."""
    marks = _marked(text) or _turns(text) or _unmarked(text)
    if not marks:
        return None
    replies = [text[: marks[0][1].start()]]
    thoughts: list[str] = []
    for (name, mark), stop in zip(marks, [*(mark.start() for _, mark in marks[1:]), len(text)], strict=True):
        end = _CHANNEL_END.search(text, mark.end(), stop)
        part = text[mark.end() : end.start() if end else stop]
        (replies if name in ("final", "answer", "model") else thoughts).append(part)
    return "".join(replies), thoughts, len(replies) == 1


_Marks = list[tuple[str, re.Match[str]]]
"""The names of channels, and where they are announced."""


def _marked(text: str) -> _Marks:
    return [((mark["name"] or mark["bare"]).lower(), mark) for mark in _CHANNEL.finditer(text)]


def _turns(text: str) -> _Marks:
    """Those of s1 and Gemma, where the text begins with one; a second reply is that to a question made up."""
    begin = _LEADING.match(text)
    if not _TURN.match(text[begin.end() if begin else 0 :].lstrip()):
        return []
    marks = [(mark["name"] or mark["gemma"], mark) for mark in _TURN.finditer(text)]
    names = [name for name, _ in marks]
    return marks[: names.index("model") + 1] if "model" in names else marks


def _unmarked(text: str) -> _Marks:
    """Without special tokens. A text that begins with ``analysis`` is a thought where another channel follows, or where
    the next letter shows it; such words inside an ordinary text are none."""
    marks = list(_UNMARKED.finditer(text))
    if not marks or text[: marks[0].start()].strip() or marks[0]["spaced"]:
        return []
    if len(marks) == 1 and not marks[0]["name"] and marks[0]["glued"] is None:
        return []
    return [(mark["name"] or mark["spaced"] or "analysis", mark) for mark in marks]


def _by_heading(text: str) -> _Parts | None:
    for opening, closing in _HEADINGS:
        if begin := re.match(opening, text, re.IGNORECASE):
            end = re.compile(closing, re.IGNORECASE | re.MULTILINE).search(text, begin.end())
            if end:
                return text[end.end() :], [text[begin.end() : end.start()]], False
            if "my" in begin[0].lower():  # the sentence of the template: there is no reply without the other one
                return "", [text[begin.end() :]], True
    return None


def _bare(reasoning: str) -> str:
    """A server's reasoning without the tags that it was found by."""
    return _TAG.sub("", reasoning).strip()


def _said(reply: str, thinks: bool) -> str:
    """The reply without marks of turns, up to the end of its turn."""
    begin = _LEADING.match(reply)
    reply = reply[begin.end() :] if begin else reply
    end = _TURN_ENDS.search(reply)
    reply = (reply[: end.start()] if end else reply).strip()
    around = _AROUND.fullmatch(reply) if thinks else None
    return around[2].strip() if around else reply
