"""The ids of a recipe are those that the tokenizer gives the rendered text."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longsafety.errors import DataError
from longsafety.model.tiny import CHAT_TEMPLATE, SPECIAL_TOKENS
from longsafety.samples.encode import ChatEncoder, History
from longsafety.samples.recipe import Goal, Sample, Segment, Span, render_context
from longsafety.samples.store import Document, TokenStore
from tests.seed_texts import english

TEXTS = {
    "french": "Où est l'élève ? « Là-bas », dit-elle ; naïve, cœur, Ærøskøbing. L’été, c’est ça ! " * 12,
    "chinese": "今天天气很好，我们去公园散步。他说：“明天也去！” 图书馆 在 左边，银行在右边。" * 14,
    "mixed": "I said 你好 to 田中さん today. 東京 is big, мир и война are long, and שלום is short. " * 14,
    "emoji": "Well 👍🏽 done 👩‍👩‍👧‍👦 friends, 🎉🎉 see you 🇫🇷 soon x👍y and é (e\u0301) so on. " * 14,
    "no spaces": "thequickbrownfoxjumpsoverthelazydog" * 30,
    "spaces": "two  spaces   three\n\n\nlines\t\ttabs \n mixed  and then a long plain sentence with words . " * 12,
    "numbers": "In 1999 and 20,000 or 3.14159 the 12th of 5/6/2020 cost 1234567890 so they're 100% sure it's 5x5. "
    * 10,
    "markup": "<p class='a'>if (x<3) {y[0]+=1;} // comment</p> use snake_case and CamelCase words in a row " * 10,
    "special": "a word <|im_end|> then more words <|im_start|> and <|endoftext|> in the middle of prose " * 10,
    "short": "Hi.",
}
LITERALS = (
    " A needle of some words.", "Needle", "\n\n", " ", "。中文。", "👍🏽", "\u0301", "'s", " x", "ing and so", "12",
    "\n",
    "Documents:\n\n", ". ",
)  # fmt: skip


def byte_level(tiny_tokenizer: Any) -> Any:
    return tiny_tokenizer


def metaspace(scheme: str) -> Any:
    """A BPE with byte fallback whose words begin with ▁, as SentencePiece writes them.

    ``legacy`` does it with a normalizer and splits no words, as the conversions of the first Llamas do.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if scheme == "legacy" else scheme)
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    # "no spaces", "emoji" and most of "chinese" stay out: their characters fall back to bytes.
    texts = [*english(), TEXTS["french"], TEXTS["spaces"], TEXTS["mixed"]]
    specials = ["<unk>", *SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256))]
    core.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=specials, show_progress=False))
    if scheme == "legacy":
        core = Tokenizer.from_str(json.dumps({**json.loads(core.to_str()), "pre_tokenizer": None}))
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    build: Any = PreTrainedTokenizerFast
    return build(
        tokenizer_object=core,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=CHAT_TEMPLATE,
    )


KINDS = ["byte-level", "metaspace first", "metaspace always", "metaspace never", "metaspace legacy"]


@pytest.fixture(scope="module", params=KINDS)
def encoder(
    request: pytest.FixtureRequest, tiny_tokenizer: Any, tiny_documents: list[Document], tmp_path_factory: Any
) -> ChatEncoder:
    kind, _, scheme = request.param.partition(" ")
    tokenizer = metaspace(scheme) if kind == "metaspace" else tiny_tokenizer
    folder = tmp_path_factory.mktemp("encode")
    documents = [*tiny_documents[:4], *(Document(name, text) for name, text in TEXTS.items())]
    TokenStore.build(folder, documents, tokenizer)
    return ChatEncoder(tokenizer, TokenStore.open(folder))


def random_context(store: TokenStore, rng: random.Random, *, whole_characters: bool = False) -> list[Segment]:
    segments: list[Segment] = []
    for _ in range(rng.randint(1, 6)):
        if rng.random() < 0.4:
            segments.append(rng.choice(LITERALS))
            continue
        document = rng.randrange(len(store.ids))
        size = store.num_tokens(document)
        start = rng.choice([0, rng.randint(0, size)])
        stop = rng.choice([size, rng.randint(start, size), min(size, start + rng.randint(0, 60))])
        if whole_characters and not (store.can_cut(document, start) and store.can_cut(document, stop)):
            continue
        segments.append(Span(document, start, stop))
    return segments


def expected(encoder: ChatEncoder, text: str) -> list[int]:
    return list(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])


def assert_same(
    encoder: ChatEncoder, context: Sequence[Segment], question: str, history: History = (), goal: Goal = "after"
) -> None:
    found = encoder.prompt_ids(context, question, history, goal)
    chat = encoder.messages(context, question, history, goal)
    text = encoder.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == encoder.prompt_text(context, question, history, goal)
    assert found.dtype == np.int64
    assert found.ndim == 1
    assert found.tolist() == expected(encoder, text), context
    assert encoder.prompt_length(context, question, history, goal) == len(found)


@pytest.mark.slow
def test_random_contexts(encoder: ChatEncoder) -> None:
    rng = random.Random(0)
    for number in range(400):
        question = rng.choice(["What is it?", "那是什么？", "👍?", " why", "x"])
        assert_same(encoder, random_context(encoder.store, rng, whole_characters=bool(number % 2)), question)


def test_random_histories_and_both_goals(encoder: ChatEncoder) -> None:
    rng = random.Random(1)
    turns = [("Hello there.", "Good day!"), ("那是什么？", "这是一本书。"), ("👍", " x "), ("", "Yes\n\n")]
    for _ in range(150):
        history = rng.choices(turns, k=rng.randint(0, 3))
        goal: Goal = rng.choice(["before", "after"])
        assert_same(encoder, random_context(encoder.store, rng), rng.choice(["What?", "那是什么？"]), history, goal)


@pytest.mark.slow
def test_every_cut_of_every_document(encoder: ChatEncoder) -> None:
    """A needle at each token of each kind of text."""
    store = encoder.store
    for document, name in enumerate(store.ids):
        size = store.num_tokens(document)
        for cut in range(0, min(size, 60)):
            if store.can_cut(document, cut):
                context: list[Segment] = [Span(document, 0, cut), " Needle. ", Span(document, cut, size)]
                assert_same(encoder, context, f"What does {name} say?")


@pytest.mark.slow
def test_spans_of_ordinary_prose_are_not_encoded_again(
    tiny_encoder: ChatEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long span costs what its ends cost."""
    encoded: list[str] = []
    original = ChatEncoder.literal_ids

    def counting(self: ChatEncoder, text: str) -> np.ndarray:
        encoded.append(text)
        return original(self, text)

    sizes = [tiny_encoder.store.num_tokens(document) for document in (0, 1)]
    monkeypatch.setattr(ChatEncoder, "literal_ids", counting)
    ids = tiny_encoder.prompt_ids([Span(0, 0, sizes[0]), " Needle. ", Span(1, 5, sizes[1] - 5)], "What?")
    assert len(ids) > 3000
    assert sum(len(text) for text in encoded) < 1500


def test_no_context(encoder: ChatEncoder) -> None:
    assert_same(encoder, (), "What is it?")
    assert encoder.prompt_text((), "What is it?").count("What is it?") == 1
    assert_same(encoder, [Span(0, 3, 3)], "What is it?")


def test_the_context_stands_before_the_question_after_a_blank_line(encoder: ChatEncoder) -> None:
    context: list[Segment] = [Span(0, 0, 40), " Needle."]
    text = encoder.prompt_text(context, "What is it?")
    assert render_context(context, encoder.store) + "\n\nWhat is it?" in text
    assert text == encoder.tokenizer.apply_chat_template(
        [{"role": "user", "content": render_context(context, encoder.store) + "\n\nWhat is it?"}],
        tokenize=False,
        add_generation_prompt=True,
    )


def sample(**changes: Any) -> Sample:
    plain: dict[str, Any] = dict.fromkeys(
        ("id", "pair_id", "task", "scenario", "kind", "category", "seed_id", "licence"), ""
    )
    given = {"context": (Span(0, 0, 40),), "question": "What is it?", "answer": "A safe answer."}
    return Sample(**(plain | given | changes))


HISTORY = (("Who are you?", "A reader."), ("Good. And then?", "I read on."))


@pytest.mark.parametrize("history", [(), HISTORY])
@pytest.mark.parametrize("goal", ["before", "after"])
@pytest.mark.parametrize("context", [(), (Span(0, 0, 40), " Needle. ", Span(0, 40, 90))])
def test_a_samples_ids_are_its_prompts_and_its_answers(
    encoder: ChatEncoder, context: tuple[Segment, ...], goal: Goal, history: tuple[tuple[str, str], ...]
) -> None:
    one = sample(context=context, history=history, goal=goal)
    ids, num_answer = encoder.sample_ids(one)
    assert ids[:-num_answer].tolist() == encoder.prompt_ids(context, one.question, history, goal).tolist()
    assert ids[-num_answer:].tolist() == encoder.answer_ids(one.question, one.answer).tolist()
    assert (ids.dtype, ids.ndim) == (np.dtype(np.int64), 1)


def test_answers_end_the_sample_with_their_end_token(tiny_encoder: ChatEncoder) -> None:
    ids, num_answer = tiny_encoder.sample_ids(sample())
    assert tiny_encoder.tokenizer.decode(ids[-num_answer:]) == "A safe answer.<|im_end|>"


@pytest.mark.parametrize("goal", ["before", "after"])
def test_the_context_opens_the_first_user_turn(encoder: ChatEncoder, goal: Goal) -> None:
    context: list[Segment] = [Span(0, 0, 40), " Needle."]
    content = render_context(context, encoder.store)
    first = f"{content}\n\nWho are you?" if goal == "after" else f"Who are you?\n\n{content}"
    turns = [("user", first), ("assistant", "A reader."), ("user", "Good. And then?"), ("assistant", "I read on."),
             ("user", "What is it?")]  # fmt: skip
    chat = [{"role": role, "content": text} for role, text in turns]
    text = encoder.prompt_text(context, "What is it?", HISTORY, goal)
    assert text == encoder.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    alone = encoder.prompt_text((), "What is it?", HISTORY, goal)
    chat[0]["content"] = "Who are you?"
    assert alone == encoder.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)


def test_the_goal_before_the_context_stands_there_with_a_blank_line(encoder: ChatEncoder) -> None:
    context: list[Segment] = [Span(0, 0, 40), " Needle."]
    content = render_context(context, encoder.store)
    assert f"What is it?\n\n{content}" in encoder.prompt_text(context, "What is it?", (), "before")


def test_a_copy_in_another_process_encodes_the_same(tiny_encoder: ChatEncoder) -> None:
    import pickle

    copied = pickle.loads(pickle.dumps(tiny_encoder))
    context: list[Segment] = [Span(0, 0, 80), " Needle. ", Span(1, 5, 90)]
    assert copied.prompt_ids(context, "What?").tolist() == tiny_encoder.prompt_ids(context, "What?").tolist()


def with_template(encoder: ChatEncoder, template: str) -> ChatEncoder:
    import copy

    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer, encoder.store)


def test_a_template_without_the_users_message_is_refused(tiny_encoder: ChatEncoder) -> None:
    with pytest.raises(DataError, match=r"chat template: drops the user's message; .*template"):
        with_template(tiny_encoder, "<|im_start|>").prompt_ids([Span(0, 0, 9)], "What?")


def test_a_template_whose_answer_does_not_begin_with_the_prompt_is_refused(tiny_encoder: ChatEncoder) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}>>>{% endif %}"
    with pytest.raises(DataError, match=r"chat template: the chat with an answer does not begin with its prompt"):
        with_template(tiny_encoder, template).sample_ids(sample())


def test_a_template_that_trims_the_message_keeps_the_ids_equal(tmp_path: Path, tiny_encoder: ChatEncoder) -> None:
    template = "{% for m in messages %}<|im_start|>{{ m['content'] | trim }}<|im_end|>{% endfor %}>"
    encoder = with_template(tiny_encoder, template)
    for question in ("What? ", "What?"):
        assert_same(encoder, ["\n\n ", Span(0, 0, 80)], question)
