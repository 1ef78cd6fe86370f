"""The token store: lossless spans, whole characters, sentences, and documents longer than a window."""

from __future__ import annotations

import mmap
import pickle
import random
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from longsafety.errors import DataError
from longsafety.samples import store as module
from longsafety.samples.store import Document, TokenStore, sentence_tokens, token_starts

MULTILINGUAL = (
    "The ship left harbour at dawn.  It was late! “Why so late?” he asked. Nobody knew.\n\n"
    "«Où est-il ?» Él dijo: ¿qué pasó? Ça va très bien…\n\n\n\tIndented, with a tab.\n"
    "呻吟，病聲也。「病中疾痛，惟病者知。」難與他人道！亦惟病時覺。\n"
    "Emoji 🙂🙃 and a family 👨‍👩‍👧 in one word🙂word.  Trailing spaces follow   \n  "
)


def _byte_level() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.post_processor = processors.ByteLevel(trim_offsets=True)  # as GPT-2's: offsets leave out the space
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator([MULTILINGUAL] * 4, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet))
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=16)


def _metaspace() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    fallback = [AddedToken(f"<0x{byte:02X}>", special=False, normalized=False) for byte in range(256)]
    # Trained on ASCII only: every other character falls back to one token a byte.
    plain = MULTILINGUAL.encode("ascii", "ignore").decode()
    specials = [AddedToken("<unk>", special=True), *fallback]
    core.train_from_iterator([plain] * 4, trainers.BpeTrainer(vocab_size=420, special_tokens=specials))
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=16)


@pytest.fixture(scope="module", params=["byte_level", "metaspace"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return {"byte_level": _byte_level, "metaspace": _metaspace}[request.param]()


def _store(folder: Path, texts: list[str], tokenizer: Any) -> TokenStore:
    TokenStore.build(folder, [Document(f"d{number}", text) for number, text in enumerate(texts)], tokenizer)
    return TokenStore.open(folder)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def test_spans_join_without_loss(tmp_path: Path, tokenizer: Any) -> None:
    texts = [MULTILINGUAL, "Plain ASCII. Nothing else.", "🙂", " leading space", "病"]
    store = _store(tmp_path, texts, tokenizer)
    assert store.ids == ["d0", "d1", "d2", "d3", "d4"] and len(store) == 5
    for number, text in enumerate(texts):
        count = store.num_tokens(number)
        assert store.text(number, 0, count) == text
        assert "".join(store.text(number, at, at + 1) for at in range(count)) == text
        rng = random.Random(number)
        for _ in range(200):
            a, b, c = sorted(rng.randint(0, count) for _ in range(3))
            assert store.text(number, a, b) + store.text(number, b, c) == store.text(number, a, c)


def test_ids_and_starts_are_those_of_the_whole_text(tmp_path: Path, tokenizer: Any) -> None:
    store = _store(tmp_path, [MULTILINGUAL], tokenizer)
    starts = store.starts(0)
    assert store.tokens(0).tolist() == _ids(tokenizer, MULTILINGUAL)
    assert store.tokens(0).dtype == starts.dtype == np.uint32
    assert starts[0] == 0 and (np.diff(starts.astype(int)) >= 0).all()
    for token in range(store.num_tokens(0)):
        assert store.text(0, 0, token) == MULTILINGUAL[: starts[token]]


def test_a_cut_splits_no_character(tmp_path: Path, tokenizer: Any) -> None:
    store = _store(tmp_path, [MULTILINGUAL], tokenizer)
    count = store.num_tokens(0)
    barred = [token for token in range(count + 1) if not store.can_cut(0, token)]
    assert barred and 0 not in barred and count not in barred
    ids = store.tokens(0).tolist()
    whole = _decoded(tokenizer, ids)
    for token in range(1, count):
        head = _decoded(tokenizer, ids[:token])
        if store.can_cut(0, token):
            assert "\ufffd" not in head and whole.startswith(head)
        elif "\ufffd" not in head:  # the only other bar: a token without text of its own
            assert store.text(0, token - 1, token) == ""


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    """Through bytes, so that half a character shows as a replacement character with either tokenizer."""
    mapping = {character: byte for byte, character in _byte_characters().items()}
    out = bytearray()
    for token in tokenizer.convert_ids_to_tokens(ids):
        if token.startswith("<0x"):
            out.append(int(token[3:5], 16))
        elif "▁" in token or tokenizer.backend_tokenizer.decoder.__class__.__name__ == "Metaspace":
            out += token.replace("▁", " ").encode()
        else:
            out += bytes(mapping[character] for character in token)
    return out.decode("utf-8", "replace")


def _byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {**{byte: chr(byte) for byte in kept}, **{byte: chr(256 + at) for at, byte in enumerate(others)}}


def test_a_token_that_straddles_a_character_begins_with_the_one_before() -> None:
    # Characters 0, 1 and 2; the second token holds the end of 1 and the beginning of 2.
    spans = np.array([(0, 1), (1, 2), (1, 3), (2, 3), (4, 5)])
    assert token_starts(spans).tolist() == [0, 1, 1, 1, 3]
    assert token_starts(np.zeros((0, 2), dtype=np.int64)).tolist() == []


def test_characters_are_the_slices_of_the_text(tmp_path: Path, tokenizer: Any) -> None:
    store = _store(tmp_path, ["first document", MULTILINGUAL], tokenizer)
    rng = random.Random(3)
    for _ in range(300):
        a, b = rng.randint(0, len(MULTILINGUAL) + 2), rng.randint(0, len(MULTILINGUAL) + 2)
        assert store.characters(1, a, b) == MULTILINGUAL[a:b]
    assert store.characters(0, -1, 3) == "fir"


def test_sentences_begin_after_marks_and_blank_lines(tmp_path: Path, tokenizer: Any) -> None:
    characters = np.arange(len(MULTILINGUAL), dtype=np.uint32)
    bounds = [*sentence_tokens(MULTILINGUAL, characters).tolist(), len(MULTILINGUAL)]
    sentences = [MULTILINGUAL[begin:end].strip() for begin, end in pairwise(bounds)]
    assert sentences == [
        "The ship left harbour at dawn.",
        "It was late!",
        "“Why so late?” he asked.",
        "Nobody knew.",
        "«Où est-il ?»",
        "Él dijo: ¿qué pasó?",
        "Ça va très bien…",
        "Indented, with a tab.",
        "呻吟，病聲也。",
        "「病中疾痛，惟病者知。」",
        "難與他人道！",
        "亦惟病時覺。",
        "Emoji 🙂🙃 and a family 👨‍👩‍👧 in one word🙂word.",
        "Trailing spaces follow",
    ]
    store = _store(tmp_path, ["first", MULTILINGUAL], tokenizer)
    assert store.sentence_starts(0).tolist() == [0]
    stored = [store.text(1, begin, store.num_tokens(1)).lstrip() for begin in store.sentence_starts(1)]
    assert len(stored) >= 10 and all(text.startswith(tuple(sentences)) for text in stored)


def test_a_sentence_inside_a_token_is_not_one_to_cut_at() -> None:
    text = "One. Two. three.\n\nfour"
    characters = np.arange(len(text), dtype=np.uint32)
    assert sentence_tokens(text, characters).tolist() == [0, 5, 18]
    assert sentence_tokens(text, np.array([0, 3, 9], dtype=np.uint32)).tolist() == [0]
    assert sentence_tokens(text, np.array([0, 4, 9], dtype=np.uint32)).tolist() == [0, 1]
    assert sentence_tokens("", np.zeros(0, dtype=np.uint32)).tolist() == []


@pytest.mark.parametrize("kind", ["prose", "endless"])
def test_a_long_document_has_the_ids_of_its_whole_text(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(module, "_WINDOW", 1200)
    monkeypatch.setattr(module, "_OVERLAP", 300)
    monkeypatch.setattr(module, "_BATCH_CHARACTERS", 2500)
    pieces = MULTILINGUAL.split(" ")
    rng = random.Random(1)
    text = " ".join(rng.choices(pieces, k=4000)) if kind == "prose" else "ab" * 3001
    joined: list[Any] = []
    join = module._joined

    def counted(parts: Any) -> Any:
        joined.append((len(parts), join(parts)))
        return joined[-1][1]

    monkeypatch.setattr(module, "_joined", counted)
    store = _store(tmp_path, ["short", text, "after it"], tokenizer)
    assert joined[1][0] > 5
    if kind == "prose":
        assert joined[1][1] is not None
    assert store.tokens(1).tolist() == _ids(tokenizer, text)
    assert store.text(1, 0, store.num_tokens(1)) == text
    assert store.text(2, 0, store.num_tokens(2)) == "after it"


def test_windows_that_disagree_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_seam", lambda left, right: None)
    monkeypatch.setattr(module, "_WINDOW", 200)
    monkeypatch.setattr(module, "_OVERLAP", 50)
    tokenizer = _byte_level()
    store = _store(tmp_path, [MULTILINGUAL * 3], tokenizer)
    assert store.tokens(0).tolist() == _ids(tokenizer, MULTILINGUAL * 3)


def test_no_length_warning_and_the_tokenizer_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = _byte_level()
    tokenizer.backend_tokenizer.enable_truncation(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = _store(tmp_path, [MULTILINGUAL], tokenizer)
    assert store.num_tokens(0) > 100
    assert not caplog.records
    truncation = tokenizer.backend_tokenizer.truncation
    assert truncation is not None and truncation["max_length"] == 8
    assert tokenizer.backend_tokenizer.post_processor is not None


def test_a_copy_maps_the_same_files(tmp_path: Path) -> None:
    store = _store(tmp_path, [MULTILINGUAL], _byte_level())
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    assert pickle.loads(pickled).text(0, 0, 5) == store.text(0, 0, 5)
    assert not store.tokens(0).flags.owndata
    assert isinstance(_origin(store.tokens(0)), mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        store.tokens(0)[0] = 1


def _origin(array: Any) -> Any:
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array.base


def test_documents_have_the_language_they_give_or_the_one_recognised(tmp_path: Path) -> None:
    prose = {
        "en": "The ship left the harbour at dawn, and nobody on the quay knew where it was going. " * 3,
        "zh": "天刚亮，那条船就离开了港口，码头上没有人知道它要到哪里去。" * 3,
        "de": "Das Schiff verließ den Hafen in der Morgendämmerung, und niemand wusste, wohin es fuhr. " * 3,
    }
    documents = [Document(language, text) for language, text in prose.items()]
    TokenStore.build(tmp_path, [*documents, Document("given", prose["en"], "fr")], _byte_level())
    assert TokenStore.open(tmp_path).languages == [*prose, "fr"]


def test_tokens_outside_a_document_are_refused(tmp_path: Path) -> None:
    store = _store(tmp_path, ["one document", "another"], _byte_level())
    with pytest.raises(IndexError, match=r"token 99 of document 0"):
        store.text(0, 0, 99)


def test_an_incomplete_store_is_refused(tmp_path: Path) -> None:
    _store(tmp_path, [MULTILINGUAL], _byte_level())
    with (tmp_path / "tokens.bin").open("ab") as stream:
        stream.write(b"1234")
    with pytest.raises(DataError, match=r"tokens\.bin: \d+ bytes, where the index has \d+; delete the folder"):
        TokenStore.open(tmp_path)
    (tmp_path / "index.parquet").unlink()
    with pytest.raises(DataError, match=r"no complete token store \(no index\.parquet\)"):
        TokenStore.open(tmp_path)


def test_a_tokenizer_without_offsets_is_refused(tmp_path: Path) -> None:
    class Slow:
        is_fast = False
        name_or_path = "some/model"

    with pytest.raises(DataError, match=r"some/model: a tokenizer in Python.*tokenizer\.json"):
        TokenStore.build(tmp_path, [Document("a", "text")], Slow())  # type: ignore[arg-type]
