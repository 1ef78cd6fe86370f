"""Chinese, which sets no spaces: exact ids, and seams at full-width marks where a tokenizer splits there."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from longsafety.model.tiny import CHAT_TEMPLATE, SPECIAL_TOKENS
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Segment, Span
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.seeds.seed import Seed
from tests.seed_texts import english

MARKS = "，。！？；：、（《“"
QWEN = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LITERALS = (
    "门是绿的。",
    "针",
    "，",
    "。",
    "\n\n",
    "The door.",
    "（见上）",
    "他说：“好。”",
    " ",
    "é，",
    "7，",
    "字。字",
)
SPLITTING = ["byte-level", "byte-level qwen", "metaspace", "metaspace legacy", "unigram"]
CROSSING = ["byte-level crossing", "byte-level half", "metaspace crossing", "legacy crossing", "metaspace nfkc"]


@pytest.fixture(scope="module")
def chinese(seeds_in: dict[str, list[Seed]]) -> list[str]:
    texts = [text for seed in seeds_in["zh"] for text in (seed.request, seed.safe_answer, seed.benign_answer)]
    return [text for text in texts if text]


def tokenizer(kind: str, chinese: list[str]) -> Any:
    """Byte-level BPE with two regular expressions; as SentencePiece does it, with and without pieces across marks."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts, specials = [*chinese, *english()[:200]], ["<unk>", *SPECIAL_TOKENS]
    pre: Any = pre_tokenizers
    if kind in CROSSING:  # "a，" becomes a piece
        texts += ["area，data，idea，camera，a，a。a！a？a：a；a（"] * 200
    if kind.startswith("byte-level"):
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        if kind == "byte-level qwen":
            core.normalizer = normalizers.NFC()
            split = pre.Split(Regex(QWEN), "isolated")
            core.pre_tokenizer = pre.Sequence([split, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
        if kind in CROSSING:  # splits at spaces, at full stops or not, at commas not
            whole, words = pre.ByteLevel(add_prefix_space=False, use_regex=False), pre.Split(" ", "merged_with_next")
            stops = [pre.Split("。", "isolated")] if kind == "byte-level half" else []
            core.pre_tokenizer = pre.Sequence([words, *stops, whole])
        core.decoder = decoders.ByteLevel()
        alphabet = sorted(pre.ByteLevel.alphabet())
        trainer: Any = trainers.BpeTrainer(
            vocab_size=2500 if kind not in CROSSING else 8000,
            special_tokens=specials,
            initial_alphabet=alphabet,
            show_progress=False,
        )
    elif kind == "unigram":
        core = Tokenizer(models.Unigram())
        core.pre_tokenizer = pre.Sequence([pre.Metaspace(), pre.Split(Regex(f"[{MARKS}”）》]"), "isolated")])
        core.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=4000, unk_token="<unk>", special_tokens=specials, show_progress=False
        )
    else:
        core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        core.pre_tokenizer = pre.Metaspace(prepend_scheme="first")
        if not kind.endswith("crossing"):  # SentencePiece cuts pieces where the script changes
            marks = pre.Split(Regex(f"[{MARKS}”）》]"), "isolated")
            core.pre_tokenizer = pre.Sequence([core.pre_tokenizer, marks])
        if kind == "metaspace nfkc":  # sees "a," where the text has "a，"
            core.normalizer = normalizers.NFKC()
            texts += ["area, data, idea, camera, a, a. a! a? a: a; a("] * 200
        core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
        specials += [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=8000 if kind.endswith("crossing") else 3500, special_tokens=specials, show_progress=False
        )
    core.train_from_iterator(texts, trainer)
    if "legacy" in kind:  # the conversions of the first Llamas split no words
        core = Tokenizer.from_str(json.dumps({**json.loads(core.to_str()), "pre_tokenizer": None}))
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    build: Any = PreTrainedTokenizerFast
    return build(
        tokenizer_object=core, unk_token="<unk>", eos_token="<|im_end|>", pad_token="<|im_end|>",
        chat_template=CHAT_TEMPLATE,
    )  # fmt: skip


@pytest.fixture(scope="module", params=[*SPLITTING, *CROSSING])
def named(
    request: pytest.FixtureRequest, chinese: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, ChatEncoder]:
    rng = random.Random(0)
    mixed = [text for pair in zip(rng.sample(chinese, 40), english()[300:], strict=False) for text in pair]
    documents = [
        Document("prose", "".join(rng.sample(chinese, 120)), "zh"),
        Document("mixed", "".join(mixed), "zh"),
        Document("latin", "ab，cd。ef！gh ij，kl (mn)。camera，idea：a，" * 40, "zh"),
        Document("japanese", "これはペンです。カタカナ、ひらがな！東京（とうきょう）へ行く：“はい”。" * 25, "ja"),
        Document("odd", "é，è。ñ！Ω；я：ß、ﬁ，²，ª。ー，ｱ，Ａ。\u0301，👍，7，〇。" * 30, "zh"),
    ]
    made = tokenizer(request.param, chinese)
    folder = tmp_path_factory.mktemp("chinese")
    TokenStore.build(folder, documents, made)
    return request.param, ChatEncoder(made, TokenStore.open(folder))


def context(store: TokenStore, rng: random.Random) -> list[Segment]:
    segments: list[Segment] = []
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.4:
            segments.append(rng.choice(LITERALS))
            continue
        document = rng.randrange(len(store.ids))
        start = rng.randrange(store.num_tokens(document))
        stop = min(store.num_tokens(document), start + rng.randrange(3, 300))
        if store.can_cut(document, start) and store.can_cut(document, stop):
            segments.append(Span(document, start, stop))
    return segments


@pytest.mark.slow
def test_ids_are_those_of_the_whole_text(named: tuple[str, ChatEncoder]) -> None:
    kind, encoder = named
    rng = random.Random(1)
    for _ in range(200):
        segments, question = context(encoder.store, rng), rng.choice(["门是什么颜色的？", "What?", "，"])
        text = encoder.prompt_text(segments, question)
        found = encoder.prompt_ids(segments, question)
        assert found.tolist() == encoder.tokenizer(text, add_special_tokens=False)["input_ids"], (kind, segments)
        assert encoder.prompt_length(segments, question) == len(found)


def test_a_needle_at_each_place_of_chinese_prose(named: tuple[str, ChatEncoder]) -> None:
    kind, encoder = named
    for document in range(3):
        for cut in range(40, 90):
            if not encoder.store.can_cut(document, cut):
                continue
            parts: list[Segment] = [Span(document, 0, cut), "门是绿的。", Span(document, cut, 200)]
            text = encoder.prompt_text(parts, "什么？")
            expected = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
            assert encoder.prompt_ids(parts, "什么？").tolist() == expected, (kind, document, cut)


def encoded_characters(encoder: ChatEncoder, monkeypatch: pytest.MonkeyPatch) -> int:
    """What is encoded anew of a context with all of the prose."""
    texts: list[str] = []
    original = ChatEncoder.literal_ids

    def counting(self: ChatEncoder, text: str) -> np.ndarray:
        texts.append(text)
        return original(self, text)

    fresh = ChatEncoder(encoder.tokenizer, encoder.store)
    size = fresh.store.num_tokens(0)
    place = int(fresh.store.sentence_starts(0)[40])
    monkeypatch.setattr(ChatEncoder, "literal_ids", counting)
    fresh.prompt_length([Span(0, 0, place), "门是绿的。", Span(0, place, size)], "什么？")
    return sum(map(len, texts))


def test_seams_are_at_full_width_marks_only_where_no_token_crosses_them(
    named: tuple[str, ChatEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a long text without spaces costs what its ends cost; elsewhere it is encoded whole, and right."""
    kind, encoder = named
    text = encoder.store.text(0, 0, encoder.store.num_tokens(0))
    assert len(text) > 5000
    anew = encoded_characters(encoder, monkeypatch)
    crossing = any(
        letter.isalpha() and mark in MARKS
        for piece in (encoder.tokenizer.decode([number]) for number in range(len(encoder.tokenizer)))
        for letter, mark in pairwise(piece)
    )
    assert crossing == (kind in CROSSING and kind != "metaspace nfkc")
    if kind in SPLITTING:
        assert anew < 500
    else:
        assert anew > 1000
