"""Chat templates that trim, replace, raise, hold a date, or open and end an answer in their own way."""

from __future__ import annotations

import copy
import datetime
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers.utils import chat_template_utils

from longsafety.errors import DataError
from longsafety.model import tiny
from longsafety.model.tokenizer import load_tokenizer
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Goal, Sample, Segment, Span
from longsafety.samples.store import Document, TokenStore
from longsafety.samples.template import dated, undated
from longsafety.settings import Model

TEXTS = (
    "\n\n  The ferry left late. It carried Salt, and two sisters who counted every crate; nobody spoke. \n\n",
    "\u3000\u3000渡船晚了。它运的是盐，没有人说话。\n",
    "  \t \n",
    " A ledger,  a bell and   an umbrella were sold <b>at once</b> & \"for\" 'good' {{ x }} \\n to the mayor. ",
)
CHATML = "{{ '<|im_start|>' + m['role'] + '\n' + CONTENT + '<|im_end|>\n' }}"
GENERATION = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def chatml(content: str = "m['content']", end: str = GENERATION) -> str:
    return "{% for m in messages %}" + CHATML.replace("CONTENT", content) + "{% endfor %}" + end


@pytest.fixture(scope="module")
def encoder(tiny_tokenizer: Any, tiny_documents: list[Document], tmp_path_factory: Any) -> ChatEncoder:
    folder = tmp_path_factory.mktemp("store")
    documents = [*(Document(str(number), text) for number, text in enumerate(TEXTS)), tiny_documents[0]]
    TokenStore.build(folder, documents, tiny_tokenizer)
    return ChatEncoder(tiny_tokenizer, TokenStore.open(folder))


def with_template(encoder: ChatEncoder, template: str, *tokens: AddedToken) -> ChatEncoder:
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.add_tokens(list(tokens))
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer, encoder.store)


def contexts(store: TokenStore, number: int) -> list[list[Segment]]:
    """Spans that begin and end at any token, and literals of white space or text."""
    rng = random.Random(number)
    made: list[list[Segment]] = [[], [Span(2, 0, store.num_tokens(2))]]
    for _ in range(number):
        parts: list[Segment] = []
        for _ in range(rng.randint(1, 4)):
            document = rng.randrange(len(store))
            start, stop = sorted(rng.randint(0, min(store.num_tokens(document), 40)) for _ in range(2))
            if store.can_cut(document, start) and store.can_cut(document, stop):
                parts.append(Span(document, start, stop))
            parts += rng.choice([[], [" \n"], [" A needle. "], ["\n\n"]])
        made.append(parts)
    return made


CHANGING = {
    "trim": "m['content'] | trim",
    "strip of one side": "m['content'].lstrip('\n')",
    "strip of the other": "m['content'].rstrip()",
    "trim of user only": "(m['content'] | trim if m['role'] == 'user' else m['content'])",
    "replace": "m['content'] | replace('ferry', 'boat')",
    "upper": "m['content'] | upper",
    "capitalize": "m['content'] | capitalize",
    "tojson": "m['content'] | tojson",
    "escape": "m['content'] | e",
    "collapse": "m['content'].split() | join(' ')",
    "twice": "m['content'] + ' / ' + m['content']",
    "truncate": "m['content'][:60]",
}


@pytest.mark.parametrize("kind", CHANGING)
@pytest.mark.parametrize("goal", ["after", "before"])
def test_ids_are_the_templates_whatever_it_does_to_a_message(encoder: ChatEncoder, kind: str, goal: Goal) -> None:
    changed = with_template(encoder, chatml(CHANGING[kind]))
    tokenizer = changed.tokenizer
    for number, context in enumerate(contexts(encoder.store, 25)):
        history = ((" Who is the ferryman? ", " A reader.\n"),) if number % 3 == 0 else ()
        parts = (context, " What is said of the ferry?\n", history, goal)
        chat = changed.messages(*parts)
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        text += changed.template.header  # JSON's opening quotation mark
        assert changed.prompt_text(*parts) == text, (kind, context)
        expected = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert changed.prompt_ids(*parts).tolist() == expected
        assert changed.prompt_length(*parts) == len(expected)


@pytest.mark.parametrize("kind", ["trim", "replace", "upper", "tojson"])
def test_a_whole_sample_is_what_the_template_makes_of_its_messages(encoder: ChatEncoder, kind: str) -> None:
    changed = with_template(encoder, chatml(CHANGING[kind]))
    plain: dict[str, Any] = dict.fromkeys(
        ("id", "pair_id", "task", "scenario", "kind", "category", "seed_id", "licence"), ""
    )
    sample = Sample(**plain, context=(Span(0, 0, 20),), question="What of the ferry? ", answer=" The ferry left.\n")
    ids, num_answer = changed.sample_ids(sample)
    chat = [*changed.messages(*sample.prompt()), {"role": "assistant", "content": sample.answer}]
    text = changed.tokenizer.apply_chat_template(chat, tokenize=False).removesuffix("\n")
    assert ids.tolist() == changed.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert changed.tokenizer.decode(ids[-num_answer:]).endswith("<|im_end|>")


def test_trimming_costs_what_the_ends_cost(encoder: ChatEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = with_template(encoder, chatml(CHANGING["trim"]))
    encoded: list[str] = []
    original = ChatEncoder.literal_ids

    def counted(self: ChatEncoder, text: str) -> Any:
        encoded.append(text)
        return original(self, text)

    monkeypatch.setattr(ChatEncoder, "literal_ids", counted)
    assert changed.prompt_length(["\n", Span(4, 0, encoder.store.num_tokens(4))], "What?") > 1000
    assert sum(map(len, encoded)) < 800


# --- where an answer begins, and how it ends ------------------------------------------------------------------------

USER = AddedToken("<|user|>", special=False, normalized=False)
END = AddedToken("<|end|>", special=True, normalized=False)
INST = [AddedToken(text, special=False, normalized=False) for text in ("[INST]", "[/INST]")]
THINK = [AddedToken(text, special=False, normalized=False) for text in ("<think>", "</think>")]
PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
MISTRAL = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
EMPTY_THOUGHT = chatml("('<think>\n\n</think>\n\n' if m['role'] == 'assistant' and loop.last else '') + m['content']")
BEGINNINGS = {
    "generation prompt": (chatml(), [], "<|im_start|>assistant\n", "<|im_end|>"),
    "none": (chatml(end=""), [], "<|im_start|>assistant\n", "<|im_end|>"),
    "always": (chatml(end="{{ '<|im_start|>assistant\n' }}"), [], "<|im_start|>assistant\n", "<|im_end|>"),
    "without the line": (chatml(end=GENERATION.replace("\n", "")), [], "<|im_start|>assistant\n", "<|im_end|>"),
    "half of the header": (chatml(end=GENERATION.replace("assistant\n", "")), [], "assistant\n", "<|im_end|>"),
    "another end token": (PHI, [USER, END], "<|assistant|>\n", "<|end|>"),
    "another end token, no prompt": (PHI.partition("{% if")[0], [USER, END], "<|assistant|>\n", "<|end|>"),
    "an empty thought": (EMPTY_THOUGHT, THINK, "assistant\n<think>\n\n</think>\n\n", "<|im_end|>"),
    "role names": (
        "{% for m in messages %}{{ m['role'].title() + ': ' + m['content'] + eos_token }}{% endfor %}",
        [], "Assistant:", " Nothing.",
    ),
    "none is needed": (MISTRAL, INST, "[/INST]", " Nothing."),
}  # fmt: skip


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_what_opens_an_answer_is_prompt_and_never_supervised(encoder: ChatEncoder, kind: str) -> None:
    template, tokens, opening, end = BEGINNINGS[kind]
    made = with_template(encoder, template, *tokens)
    for history in ((), (("Who?", "A reader."),)):
        prompt = made.prompt_text([Span(4, 0, 30)], "What?", history)
        answer = made.answer_text("What?", "Nothing.")
        assert prompt.endswith(opening)
        assert answer in (f"Nothing.{end}", f" Nothing.{made.tokenizer.eos_token}")
        chat = [*made.messages([Span(4, 0, 30)], "What?", history), {"role": "assistant", "content": "Nothing."}]
        assert made.tokenizer.apply_chat_template(chat, tokenize=False).startswith(prompt + answer)


def test_replies_end_at_the_turns_end_as_well_as_at_the_tokenizers(encoder: ChatEncoder) -> None:
    made = with_template(encoder, PHI, USER, END)
    known = made.tokenizer.convert_tokens_to_ids
    assert made.template.end_ids == [made.tokenizer.eos_token_id, known("<|end|>")]
    assert encoder.template.end_ids == [encoder.tokenizer.eos_token_id]
    assert made.literal_ids(made.answer_text("What?", "No."))[-1] == known("<|end|>")


def test_what_is_scored_begins_as_an_answer_does(encoder: ChatEncoder) -> None:
    made = with_template(encoder, MISTRAL, *INST)
    assert made.tokenizer.decode(made.reply_ids("Nothing.")) == " Nothing."
    assert made.answer_ids("What?", "Nothing.")[:-1].tolist() == made.reply_ids("Nothing.").tolist()
    assert encoder.reply_ids("Nothing.").tolist() == encoder.literal_ids("Nothing.").tolist()


def test_a_template_that_never_ends_an_answer_trains_nothing(encoder: ChatEncoder) -> None:
    alpaca = "{% for m in messages %}{{ '### ' + m['role'] + ':\n' + m['content'] + '\n\n' }}{% endfor %}"
    made = with_template(encoder, alpaca + "{% if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}")
    assert made.prompt_text((), "What?").endswith("What?\n\n### assistant:\n")
    with pytest.raises(DataError, match=r"^chat template: ends an answer with no token, .* write \{\{ eos_token \}\}"):
        made.answer_text("What?", "No.")


def test_a_thought_that_only_the_generation_prompt_opens_can_be_asked_and_not_trained(encoder: ChatEncoder) -> None:
    made = with_template(encoder, chatml(end=GENERATION.replace("assistant\n", "assistant\n<think>\n")), *THINK)
    assert made.prompt_text((), "What?").endswith("<|im_start|>assistant\n<think>\n")
    with pytest.raises(DataError, match=r"^chat template: the chat with an answer does not begin with its prompt"):
        made.answer_text("What?", "No.")


def test_a_later_answer_that_is_written_otherwise_is_refused(encoder: ChatEncoder) -> None:
    last = "(m['content'] if loop.index0 < 2 else '(' + m['content'] + ')')"
    made = with_template(encoder, chatml(last))
    assert made.answer_text("What?", "No.") == "No.<|im_end|>"
    with pytest.raises(DataError, match=r"^chat template: renders an answer after earlier turns in another way"):
        made.prompt_ids((), "What?", (("Who?", "A reader."),))


# --- refusals --------------------------------------------------------------------------------------------------------

RAISES = "{% if COND %}{{ raise_exception('REASON') }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (RAISES.replace("COND", "messages[0]['role'] != 'system'") + chatml(), "REASON"),
        ("{% for m in messages %}{{ m['content'] }", "unexpected '}'"),
        ("{% for m in messages %}{{ m['content'] }}", "Unexpected end of template"),
        (chatml("sender.name + m['content']"), "'sender' is undefined"),
        (chatml("m['content'] | unheard_of"), "No filter named 'unheard_of'"),
        (chatml("m['content'] + 3"), 'TypeError: can only concatenate str (not "int") to str'),
        (chatml("m['content'] ~ (1 // 0)"), "ZeroDivisionError: "),
    ],
)
def test_a_template_that_refuses_every_chat_is_one_line_with_its_reason(
    encoder: ChatEncoder, template: str, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        with_template(encoder, template)
    assert str(caught.value).startswith("chat template: cannot render a chat of user (")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("or correct the model's chat_template.jinja")


def test_a_template_of_one_turn_refuses_histories_only(encoder: ChatEncoder) -> None:
    made = with_template(encoder, RAISES.replace("COND", "messages | length > 2") + chatml())
    assert made.answer_text("What?", "No.") == "No.<|im_end|>"
    with pytest.raises(DataError, match=r"^chat template: cannot render a chat of user, assistant, user \(REASON\)"):
        made.prompt_ids((), "What?", (("Who?", "A reader."),))


def test_role_checks_pass_on_histories_of_any_length(encoder: ChatEncoder) -> None:
    alternate = "{% for m in messages %}" + RAISES.replace("COND", "(m['role'] == 'user') != (loop.index0 % 2 == 0)")
    made = with_template(encoder, alternate + "{% endfor %}" + chatml())
    history = tuple((f"Question {number}?", f"Answer {number}.") for number in range(40))
    text = made.prompt_text([Span(4, 0, 30)], "What?", history)
    assert text.count("<|im_start|>user") == 41


@pytest.mark.parametrize("dropped", ["user", "assistant"])
def test_a_template_that_drops_a_role_is_refused(encoder: ChatEncoder, dropped: str) -> None:
    with pytest.raises(DataError, match=rf"^chat template: drops the {dropped}'s message"):
        with_template(encoder, chatml(f"('' if m['role'] == '{dropped}' else m['content'])")).answer_text("a?", "b")


# --- control tokens in what is not a document ------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["question", "answer", "history", "needle"])
def test_no_text_may_hold_a_control_token(encoder: ChatEncoder, place: str) -> None:
    made = with_template(encoder, PHI, USER, END)
    bad = {name: "x<|user|>y" if name == place else "plain" for name in ("question", "answer", "history", "needle")}
    with pytest.raises(DataError, match=r"^text = 'x<\|user\|>y': holds '<\|user\|>', a special token of the model"):
        made.prompt_ids([bad["needle"], Span(4, 0, 9)], bad["question"], (("a", bad["history"]),))
        made.answer_ids(bad["question"], bad["answer"])


# --- dates -----------------------------------------------------------------------------------------------------------

DATES = {
    "%d %b %Y": "26 Jul 2024",
    "%Y-%m-%d": "2024-07-26",
    "%A, %B %-d": "Friday, July 26",
    "%H:%M:%S %p, day %j": "00:00:00 AM, day 208",
    "100%% of %y": "100% of 24",
}


@pytest.mark.parametrize("form", DATES)
def test_two_days_give_the_same_prompt(
    form: str, tiny_cache: Path, tmp_path: Path, encoder: ChatEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny.tokenizer_folder(tiny_cache), tmp_path / "model"))
    (folder / "config.json").write_text('{"model_type": "llama"}', "utf-8")
    head = "\n  {% if strftime_now is defined %}\n{{ 'Today: ' + strftime_now('" + form + "') }}\n\n{% endif %}\n"
    inner = "{% macro day() %}{{ strftime_now('" + form + "') }}{% endmacro %}{{ day() }}\n"
    (folder / "chat_template.jinja").write_text(head + inner + chatml(), "utf-8")
    prompts = set()
    for day in (datetime.datetime(2031, 3, 31, 23, 59), datetime.datetime(2031, 4, 1)):

        class Day(datetime.datetime):
            @classmethod
            def now(cls, tz: Any = None, day: datetime.datetime = day) -> Any:
                return day

        monkeypatch.setattr(chat_template_utils, "datetime", Day)
        tokenizer = load_tokenizer(Model(name="m", source=str(folder), window=256), tmp_path)
        prompts.add(ChatEncoder(tokenizer, encoder.store).prompt_text((), "What?"))
        plain = copy.deepcopy(tokenizer)
        plain.chat_template = undated(tokenizer.chat_template)
        today = str(plain.apply_chat_template([{"role": "user", "content": "What?"}], tokenize=False))
        assert (day.strftime(form) in today) == (day.strftime(form) != DATES[form])
        fixed = today.replace(day.strftime(form), DATES[form])
        assert prompts == {fixed + "<|im_start|>assistant\n"}


def test_only_a_template_with_a_clock_is_changed() -> None:
    clock = "{{ strftime_now('%Y') }}"
    assert dated(chatml()) == chatml()
    assert dated(dated(clock)) == dated(clock) != clock
    assert undated(dated(clock)) == clock
