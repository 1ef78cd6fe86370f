"""Documents that are tokenised once and memory-mapped; recipes refer to their tokens.

A folder holds ``tokens.bin`` (ids), ``starts.bin`` and ``bytes.bin`` (where each token starts in its document, in
characters and in UTF-8 bytes), ``sentences.bin`` (tokens at which a sentence begins), all uint32, ``text.bin`` (UTF-8)
and ``index.parquet`` (a row for each document). Byte offsets make any span of text a slice of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from longsafety.errors import DataError
from longsafety.samples.language import language_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


UInt32Array = npt.NDArray[np.uint32]
_ARRAYS = ("tokens", "starts", "bytes", "sentences")
_INDEX = "index.parquet"
_COUNTS = ("num_tokens", "num_sentences", "num_bytes")

_BATCH_CHARACTERS = 1 << 21
"""Size of the batches in which text is encoded. It bounds the memory: an encoding takes about 100 bytes a token."""
_WINDOW = 1 << 15
_OVERLAP = 512
_AGREEING_TOKENS = 16
"""Longer documents are encoded in windows of ``_WINDOW`` characters that overlap by ``_OVERLAP``. Two windows are
joined within ``_AGREEING_TOKENS`` tokens on which they agree, so that the ids are those of the whole document."""

# A sentence ends with its mark, closing quotes or brackets, space (none after a full-width mark); or a blank line.
_CLOSING = "\"'”’»)\\]」』）】》"
_SENTENCE_END = re.compile(rf"(?:[.!?][{_CLOSING}]*(?=\s)|[。！？][{_CLOSING}]*|\n[^\S\n]*(?=\n))\s*")


class TokenStore:
    """Tokens, their places and their text, by document number. Arrays are read-only views of files."""

    ids: list[str]
    """Document ids, in the order of the document numbers."""
    languages: list[str]
    """Their languages (ISO 639-1)."""

    @staticmethod
    def build(folder: Path, documents: Sequence[Document], tokenizer: PreTrainedTokenizerBase) -> None:
        """Tokenises ``documents`` (no special tokens are added, whatever their length) into ``folder``.

        Memory is bounded by one batch, or a few times the longest document. The index is written last: a folder
        without it is not complete. Raises ``DataError`` for a tokenizer that does not report the places of its tokens.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        encoder = _encoder(tokenizer)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _INDEX).unlink(missing_ok=True)
        rows: list[dict[str, Any]] = []
        with ExitStack() as stack:
            files = {name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in (*_ARRAYS, "text")}
            for batch in _batches(documents):
                encoded = _encoded([document.text for document in batch], encoder)
                for document, (ids, spans) in zip(batch, encoded, strict=True):
                    utf8 = document.text.encode()
                    starts = token_starts(spans)
                    arrays = {
                        "tokens": ids.astype(np.uint32),
                        "starts": starts,
                        "bytes": _byte_offsets(utf8, len(document.text), starts),
                        "sentences": sentence_tokens(document.text, starts),
                    }
                    for name, array in arrays.items():
                        files[name].write(array.tobytes())
                    files["text"].write(utf8)
                    counts = (len(starts), len(arrays["sentences"]), len(utf8))
                    language = document.language or language_of(document.text)
                    rows.append({"id": document.id, "language": language, **dict(zip(_COUNTS, counts, strict=True))})
        names = [(name, pa.string()) for name in ("id", "language")]
        schema = pa.schema([*names, *((key, pa.int64()) for key in _COUNTS)])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / _INDEX)

    @classmethod
    def open(cls, folder: Path) -> TokenStore:
        """The store that ``build`` wrote into ``folder``; raises ``DataError`` if it is not complete."""
        return cls(folder)

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        if not (folder / _INDEX).is_file():
            raise DataError(f"{folder}: no complete token store (no {_INDEX}); delete the folder and build it again")
        table = pq.read_table(folder / _INDEX)
        self.folder = folder
        self.ids = table["id"].to_pylist()
        self.languages = table["language"].to_pylist()
        bounds = {key: np.concatenate([[0], np.cumsum(table[key].to_numpy())]) for key in _COUNTS}
        self._token_bounds = [int(bound) for bound in bounds["num_tokens"]]
        self._sentence_bounds = [int(bound) for bound in bounds["num_sentences"]]
        self._byte_bounds = [int(bound) for bound in bounds["num_bytes"]]
        self._tokens, self._starts, self._bytes = (
            _mapped(folder / f"{name}.bin", np.uint32, self._token_bounds[-1]) for name in ("tokens", "starts", "bytes")
        )
        self._sentences = _mapped(folder / "sentences.bin", np.uint32, self._sentence_bounds[-1])
        self._text = _mapped(folder / "text.bin", np.uint8, self._byte_bounds[-1])

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenStore, (self.folder,)  # a copy in another process maps the same files

    def __len__(self) -> int:
        """The number of documents."""
        return len(self.ids)

    def num_tokens(self, doc: int) -> int:
        """The number of tokens of document number ``doc``."""
        return self._token_bounds[doc + 1] - self._token_bounds[doc]

    def tokens(self, doc: int) -> UInt32Array:
        """Token ids, shape (num_tokens,)."""
        return self._tokens[self._token_bounds[doc] : self._token_bounds[doc + 1]]

    def starts(self, doc: int) -> UInt32Array:
        """Where each token's text starts, in characters from the document's start, shape (num_tokens,).

        The first is 0 and none is smaller than the one before; equal ones are parts of one character.
        """
        return self._starts[self._token_bounds[doc] : self._token_bounds[doc + 1]]

    def sentence_starts(self, doc: int) -> UInt32Array:
        """The tokens at which a sentence begins, rising, shape (sentences,); the first is 0."""
        return self._sentences[self._sentence_bounds[doc] : self._sentence_bounds[doc + 1]]

    def text(self, doc: int, start: int, stop: int) -> str:
        """The text of tokens [start, stop). Adjacent spans join without loss, and all tokens give the document."""
        return self._decoded(doc, self._byte(doc, start), self._byte(doc, stop))

    def characters(self, doc: int, start: int, stop: int) -> str:
        """The characters [start, stop) of a document, as ``text[start:stop]`` if neither is negative."""
        start = max(start, 0)
        if stop <= start:
            return ""
        starts = self.starts(doc)
        first = max(int(np.searchsorted(starts, start, side="right")) - 1, 0)
        last = int(np.searchsorted(starts, stop, side="left"))
        offset = int(starts[first]) if len(starts) else 0
        return self.text(doc, first, last)[start - offset : stop - offset]

    def can_cut(self, doc: int, token: int) -> bool:
        """Whether a whole character ends before ``token`` (0 … num_tokens), so that a span may end there."""
        if token <= 0 or token >= self.num_tokens(doc):
            return True
        starts = self.starts(doc)
        return bool(starts[token] > starts[token - 1])

    def _byte(self, doc: int, token: int) -> int:
        """The byte of the document at which ``token`` starts; its length for the token after the last."""
        first, stop = self._token_bounds[doc], self._token_bounds[doc + 1]
        if not 0 <= token <= stop - first:
            raise IndexError(f"token {token} of document {doc}, which has {stop - first}")
        if token == stop - first:
            return self._byte_bounds[doc + 1] - self._byte_bounds[doc]
        return int(self._bytes[first + token])

    def _decoded(self, doc: int, start: int, stop: int) -> str:
        base = self._byte_bounds[doc]
        return self._text[base + start : base + stop].tobytes().decode()


def token_starts(spans: npt.NDArray[np.int64]) -> UInt32Array:
    """Starts of tokens that tile their text, from the (start, stop) characters that a tokenizer reports, shape (n, 2).

    A token starts where everything before it ends: characters between two tokens go to the second, and a token that
    begins inside a character of the one before (byte-level BPE, byte fallback) starts where that one does.
    """
    ends = np.zeros(len(spans), dtype=np.int64)
    np.maximum.accumulate(spans[:-1, 1], out=ends[1:])
    return np.maximum.accumulate(np.where(spans[:, 0] >= ends, ends, 0)).astype(np.uint32)


def sentence_tokens(text: str, starts: UInt32Array) -> UInt32Array:
    """The tokens at which a sentence of ``text`` begins, its leading white space included; the first is 0.

    A sentence begins after . ! ? 。 ！ ？, closing quotes or brackets, and white space, unless in lower case
    ("“What?” he said"); and after a blank line.
    """
    if not len(starts):
        return np.zeros(0, dtype=np.uint32)
    found = [
        (match.start() + len(match[0].rstrip()), match.end())
        for match in _SENTENCE_END.finditer(text)
        if match.end() < len(text) and (match[0].count("\n") > 1 or not text[match.end()].islower())
    ]
    ends, begins = np.array(found, dtype=np.int64).reshape(-1, 2).T
    holding = np.searchsorted(starts, begins, side="right") - 1
    first = np.searchsorted(starts, starts[holding], side="left")  # of the parts of one character
    whole = starts[first] >= ends  # else the token also holds the mark before
    return np.unique(np.concatenate([[0], first[whole]])).astype(np.uint32)


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Any:
    """A copy of the tokenizer's core that neither truncates, pads, nor warns, and reports offsets with their spaces."""
    from tokenizers import Tokenizer

    if not tokenizer.is_fast:
        raise DataError(
            f"{tokenizer.name_or_path or type(tokenizer).__name__}: a tokenizer in Python, which does not report the "
            "places of its tokens; give a model with a tokenizer.json"
        )
    core = tokenizer.backend_tokenizer
    # Without special tokens a post-processor only trims spaces off the offsets.
    encoder = Tokenizer.from_str(json.dumps({**json.loads(core.to_str()), "post_processor": None}))
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = core.encode_special_tokens
    return encoder


_Encoded = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Ids, shape (n,), and (start, stop) characters, shape (n, 2)."""


def _encoded(texts: Sequence[str], encoder: Any) -> Iterator[_Encoded]:
    windows = [
        (number, begin)
        for number, text in enumerate(texts)
        for begin in range(0, max(len(text) - _OVERLAP, 1), _WINDOW - _OVERLAP)
    ]
    parts: list[list[_Encoded]] = [[] for _ in texts]
    group = max(_BATCH_CHARACTERS // _WINDOW, len(texts))
    for first in range(0, len(windows), group):
        chosen = windows[first : first + group]
        pieces = [texts[number][begin : begin + _WINDOW] for number, begin in chosen]
        encodings = encoder.encode_batch(pieces, add_special_tokens=False)
        for (number, begin), encoding in zip(chosen, encodings, strict=True):
            parts[number].append(_arrays(encoding, begin))
    for text, own in zip(texts, parts, strict=True):
        yield _joined(own) or _arrays(encoder.encode(text, add_special_tokens=False), 0)


def _arrays(encoding: Any, begin: int) -> _Encoded:
    return np.array(encoding.ids, dtype=np.int64), np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) + begin


def _joined(parts: list[_Encoded]) -> _Encoded | None:
    """The parts without their overlaps; None if two do not agree, as inside one endless word."""
    kept: list[_Encoded] = []
    ids, spans = parts[0]
    for next_ids, next_spans in parts[1:]:
        seam = _seam((ids, spans), (next_ids, next_spans))
        if seam is None:
            return None
        kept.append((ids[: seam[0]], spans[: seam[0]]))
        ids, spans = next_ids[seam[1] :], next_spans[seam[1] :]
    kept.append((ids, spans))
    return np.concatenate([part[0] for part in kept]), np.concatenate([part[1] for part in kept])


def _seam(left: _Encoded, right: _Encoded) -> tuple[int, int] | None:
    """Positions of one token in both parts, at a character's start and within tokens on which both agree."""
    first = int(np.searchsorted(left[1][:, 0], right[1][0, 0])) if len(right[0]) else len(left[0])
    theirs = {(int(start), int(stop)): at for at, (start, stop) in enumerate(right[1][: 2 * _OVERLAP])}
    for at in range(first + 1, len(left[0]) - _AGREEING_TOKENS):
        start, stop = left[1][at]
        other = theirs.get((int(start), int(stop)))
        if other is None or other == 0 or start < max(left[1][at - 1, 1], right[1][other - 1, 1]):
            continue
        before = min(_AGREEING_TOKENS, other)
        mine, yours = slice(at - before, at + _AGREEING_TOKENS), slice(other - before, other + _AGREEING_TOKENS)
        if before == _AGREEING_TOKENS and np.array_equal(left[0][mine], right[0][yours]):
            return at, other
    return None


def _batches(documents: Sequence[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        if batch and size + len(document.text) > _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += len(document.text)
    if batch:
        yield batch


def _byte_offsets(utf8: bytes, num_characters: int, starts: UInt32Array) -> UInt32Array:
    if len(utf8) == num_characters:
        return starts
    # A character begins at each byte that is not 10xxxxxx; a token past the last character starts at the end.
    characters = np.flatnonzero((np.frombuffer(utf8, dtype=np.uint8) & 0xC0) != 0x80)
    return np.append(characters, len(utf8))[starts].astype(np.uint32)


def _mapped(path: Path, dtype: type[np.generic], length: int) -> npt.NDArray[Any]:
    expected = length * np.dtype(dtype).itemsize
    size = path.stat().st_size if path.is_file() else 0
    if size != expected:
        raise DataError(f"{path}: {size} bytes, where the index has {expected}; delete the folder and build it again")
    if not length:
        return np.zeros(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)  # slices of a memmap cost five times as much


@dataclass(frozen=True)
class Document:
    """A text with a name that is unique in its corpus; newlines are ``\\n``."""

    id: str
    text: str
    language: str = ""
    """ISO 639-1; recognised if it is not given."""
