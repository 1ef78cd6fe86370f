"""A model's chat template: rendered for one fixed date, with one line for what it refuses, and taken to its parts.

A template may write the date of today, open an answer after the generation prompt or without one, and end it as it
likes. What stands before the answer's own text is prompt, and is never supervised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple

from longsafety.errors import DataError, first_line
from longsafety.samples.control import ControlTokens
from longsafety.samples.thoughts import closing_of, part_thoughts

MARK = "\ue000\ue001\ue000"
"""Stands for a text while the template is applied; its private-use characters are in no document, and have no case."""
TODAY = datetime(2024, 7, 26)
"""The date that every template is told, so that two days give the same prompts. Llama 3's templates fall back on it."""
_DIRECTIVES, _NUMBERS = "aAbBcdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ", "deHIjklmMSUVWy"

End = Literal["answer", "thought", "reply", "options"]
"""How a prompt ends: where a trained answer begins; where its thought does; where a reply is generated; where options
are scored."""
Message = Mapping[str, str]
_ASKED: list[Message] = [{"role": "user", "content": "What?"}]


def dated(template: str) -> str:
    """The template with a ``strftime_now`` that tells :data:`TODAY`; unchanged where it reads no clock."""
    if "strftime_now" not in template or template.startswith(_CLOCK):
        return template
    return _CLOCK + template


def undated(template: str) -> str:
    """The template as the model brings it."""
    return _SWITCHED.sub("", template, count=1).removeprefix(_CLOCK)


def switched(template: str, thinking: str) -> str:
    """The template with its own switch for thoughts set ``on`` or ``off``; what was asked for stands in a comment."""
    if thinking == "auto":
        return template
    value = "true" if thinking == "on" else "false"
    names = [name for name in _SWITCHES if re.search(rf"(?<![\w.'\"\]]){name}(?!\w|['\"])", template)]
    sets = "".join(f"{{% set {name} = {value} %}}" for name in names)
    return f"{{# thinking: {thinking} #}}{sets}{template}"


_SWITCHES = ("enable_thinking", "thinking", "enable_reasoning", "use_thinking", "is_thinking")
"""By which templates are told to think: Qwen3, GLM, Hunyuan and SmolLM3; DeepSeek V3.1 and Granite; others."""
_SWITCHED = re.compile(r"^\{# thinking: (on|off) #\}(?:\{% set \w+ = (?:true|false) %\})*")


def _clock() -> str:
    """A macro in place of transformers' function, which no caller can replace. Its last newline is no output
    (transformers sets ``trim_blocks``)."""
    names = [*(f"%{letter}" for letter in _DIRECTIVES), *(f"%-{letter}" for letter in _NUMBERS)]
    told = [(name, TODAY.strftime(name).replace("\n", "\\n").replace("\t", "\\t")) for name in names]
    steps = [("%%", "\\x00"), *told, ("\\x00", "%")]
    replaced = "".join(f"|replace('{name}','{text}')" for name, text in steps if name != text)
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}\n"


_CLOCK = _clock()


class _Answer(NamedTuple):
    """What a template writes around an answer."""

    header: str
    """After the generation prompt; an assistant's header where there is no such prompt, or an empty thought."""
    lead: str
    """Spaces before the answer, which belong to its first token."""
    end: str
    kept: str
    """The part of the end that belongs to the answer."""


class ChatTemplate:
    """The template of one tokenizer. Raises DataError, a line with the template's own reason, where it refuses."""

    def __init__(self, tokenizer: Any, control: ControlTokens) -> None:
        self.tokenizer, self.control = tokenizer, control
        own = tokenizer.chat_template
        said = _SWITCHED.match(next(iter(own.values())) if isinstance(own, dict) else own or "")
        self.thinking = said[1] if said else "auto"
        if MARK not in self.render([{"role": "user", "content": MARK}], generate=True):
            raise DataError("chat template: drops the user's message; give a model whose template renders it")

    def render(self, messages: Sequence[Message], *, generate: bool) -> str:
        """The chat's text; with ``generate`` up to where an answer begins, as far as the template tells that."""
        try:
            return str(
                self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generate)
            )
        except Exception as error:  # a template's code can raise nearly anything
            reason = first_line(error, typed=not type(error).__module__.startswith("jinja2"))
            roles = ", ".join(message["role"] for message in messages[:3]) + (", …" if len(messages) > 3 else "")
            raise DataError(
                f"chat template: cannot render a chat of {roles} ({reason}); give a model whose template takes user "
                "and assistant in turn, or correct the model's chat_template.jinja"
            ) from error

    @cached_property
    def plain(self) -> bool:
        """Whether the template keeps what many change: case, white space, marks that HTML or JSON escape."""
        return self.keeps("Aa  b\n\n \n\tC \u3000\u00a0é'\"<&>\\n{{ x }}[]/")

    def keeps(self, text: str) -> bool:
        """Whether the template writes the inside of a message as it is."""
        marked = f"{MARK}{text}{MARK}"
        return self.render([{"role": "user", "content": marked}], generate=False).count(marked) == 1

    @cached_property
    def system_role(self) -> Literal["own", "user", ""]:
        """Where a system message stands: in a turn of its own, at the beginning of the user's (so the template has it),
        or nowhere: the template refuses or drops it."""
        try:
            text = self.render([{"role": "system", "content": MARK}, *_ASKED], generate=False)
        except DataError:
            return ""
        if text.count(MARK) != 1:
            return ""
        alone = self.render([{"role": "user", "content": MARK}], generate=False)
        return "user" if text.partition(MARK)[0] == alone.partition(MARK)[0] else "own"

    @property
    def header(self) -> str:
        """What the template writes between the generation prompt and an answer: it is prompt."""
        return self._answer.header if self._answer is not None else ""

    def end(self, kind: End) -> str:
        """What stands between the generation prompt and what begins there.

        An answer, and options, begin after what the template writes before an answer (perhaps an empty thought). A
        reply does too, unless the model is told to think: then it begins right after the generation prompt. Where that
        opens a thought, it is closed, empty, before options, and before a reply that is to have none.

        Raises DataError: the model is told to think, and the template has no place for a thought.
        """
        closing = self._closing
        if kind == "thought":
            return ""
        if self.thinking == "on" and kind == "reply":
            if closing is None and not self._may_think:
                raise DataError(
                    "model.thinking = on: the chat template has no switch for thoughts and writes none; set it to auto"
                )
            return ""
        if closing is not None and (kind == "options" or (kind == "reply" and self.thinking == "off")):
            return closing
        return self.header

    @property
    def thought_marks(self) -> tuple[str, str]:
        """What opens a thought after the generation prompt, and what closes it before the answer."""
        empty = closing_of(self.header.rstrip()) is None and part_thoughts(f"{self.header}.").thoughts == ""
        if empty:
            end = next(at for at in range(1, len(self.header)) if closing_of(self.header[:at]))
            closing = self.header[end:].lstrip("\n")
            return f"{self.header[:end]}\n", f"\n{closing}"
        if "final<|message|>" in self.header:
            return "<|channel|>analysis<|message|>", f"<|end|><|start|>assistant{self.header}"
        return "<think>\n", "\n</think>\n\n"

    def thinks(self) -> bool:
        """Whether replies begin with a thought, as far as the template tells."""
        return self.thinking == "on" or (self.thinking == "auto" and self._closing is not None)

    def opens_thought(self) -> bool:
        """Whether the prompt of a reply ends in an open thought."""
        return self._closing is not None and self.thinking != "off"

    @property
    def options_after(self) -> str:
        """After what options are scored, in words, for the record."""
        before = self.render(_ASKED, generate=True)[-80:] + self.end("options")
        return "a closed empty thought" if part_thoughts(before).thoughts is not None else "the prompt"

    @cached_property
    def _closing(self) -> str | None:
        return closing_of(self.render(_ASKED, generate=True))

    @cached_property
    def _may_think(self) -> bool:
        template = self.tokenizer.chat_template
        texts = [template] if isinstance(template, str) else list(template.values())
        has_switch = any("{% set " in (_SWITCHED.match(text) or [""])[0] for text in texts)
        return has_switch or part_thoughts(f"{self.header}.").thoughts is not None or "final<|message|>" in self.header

    @property
    def lead(self) -> str:
        """The spaces between the prompt and an answer; they belong to the answer's first token."""
        return self._answer.lead if self._answer is not None else ""

    @property
    def end_token(self) -> str | None:
        """The control token that ends an answer; None where the template writes none."""
        return self.control.found(self._answer.kept) if self._answer is not None else None

    @property
    def end_ids(self) -> list[int]:
        """The tokens that end a reply: the tokenizer's end token, and the one that the template ends turns with."""
        tokens = [self.tokenizer.eos_token, self.end_token]
        known = self.tokenizer.get_vocab()
        return list(dict.fromkeys(int(known[str(token)]) for token in tokens if token is not None))

    def answer(self, question: str, answer: str) -> str:
        """The supervised text: the answer as the template renders it, and what ends it."""
        around = self._answer
        if around is None:
            raise DataError(
                "chat template: the chat with an answer does not begin with its prompt, so the answer's tokens "
                "cannot be separated; give a model whose generation prompt opens the assistant's turn"
            )
        if not around.kept:
            raise DataError(
                "chat template: ends an answer with no token, so that a trained model would never stop; write "
                "{{ eos_token }} after the assistant's message in the model's chat_template.jinja"
            )
        user = {"role": "user", "content": question}
        opening = self.render([user], generate=True) + around.header
        full = self.render([user, {"role": "assistant", "content": answer}], generate=False)
        if not (full.startswith(opening) and full.endswith(around.end)):
            raise DataError(
                f"chat template: opens or ends the answer {answer[:60]!r} in another way than others; give a model "
                "whose template renders all answers alike"
            )
        return full[len(opening) : len(full) - len(around.end)] + around.kept

    def check_turns(self) -> None:
        """Raises DataError where an answer after earlier turns is opened or ended in another way than a first one."""
        _ = self._turns

    @cached_property
    def _turns(self) -> None:
        if self._around_answer([*_ASKED, {"role": "assistant", "content": "This."}, *_ASKED]) != self._answer:
            raise DataError(
                "chat template: renders an answer after earlier turns in another way than a first one; give a model "
                "whose template renders all answers alike, or leave out the tasks with several turns"
            )

    @cached_property
    def _answer(self) -> _Answer | None:
        return self._around_answer(_ASKED)

    def _around_answer(self, asked: list[Message]) -> _Answer | None:
        """None where the chat with an answer does not begin with its prompt."""
        prompt = self.render(asked, generate=True)
        full = self.render([*asked, {"role": "assistant", "content": MARK}], generate=False)
        before, found, end = full.partition(MARK)
        if not found:
            raise DataError("chat template: drops the assistant's message; give a model whose template renders it")
        if not before.startswith(prompt):
            return None
        opening = before[len(prompt) :]
        header, kept = opening.rstrip(" "), end.rstrip()
        if prompt == self.render(asked, generate=False) and (token := self.control.found(end)):
            kept = end[: end.index(token) + len(token)]  # it opens a turn after each chat: that is no answer
        return _Answer(header, opening[len(header) :], end, kept)
