"""The documents that contexts are made of: read, stripped of Project Gutenberg's notices, checked and counted."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from longsafety.corpus.embedded import LICENCE, embedded_fingerprint, embedded_texts
from longsafety.errors import DataError
from longsafety.files import files_hash, user_path
from longsafety.formats.data_files import DataFile, Row, file_rows
from longsafety.formats.rows import data_files, dataset_name, dataset_rows, is_dataset
from longsafety.samples.language import UNSPACED
from longsafety.samples.store import Document
from longsafety.settings import Corpus

_SOURCE = "corpus.source"
_TEXT_SUFFIXES = (".txt", ".md")
_SUFFIXES = (*_TEXT_SUFFIXES, ".jsonl", ".parquet")
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_GUTENBERG_START = re.compile(r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]{0,500}\*{3}[^\n]*\n", re.MULTILINE)
_GUTENBERG_END = re.compile(r"^\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG", re.MULTILINE)
_GUTENBERG = "Project Gutenberg notices stripped"


@dataclass(frozen=True)
class DocumentSet:
    """A corpus as read.

    ``counts`` holds ``read`` and ``kept`` (documents), the number left out for each reason, and what else was done.
    """

    documents: list[Document]
    licence: str
    fingerprint: str
    counts: dict[str, int]


class _Text(NamedTuple):
    """A document before it is checked; ``place`` names it in messages."""

    id: str
    text: str | None
    place: str


def read_documents(corpus: Corpus) -> DocumentSet:
    """All usable documents of ``corpus.source``, in the order of their files and rows.

    ``embedded``; a folder (read recursively, without hidden files) or file of .txt, .md, .jsonl or .parquet; a dataset
    saved with ``save_to_disk``; a folder with a dataset card; or a name on the Hugging Face hub, ``owner/name`` or
    ``owner/name@revision``. Without ``corpus.id_key`` a document is named by its file, and row if it has several.

    Raises ``DataError`` for a source that is missing or empty, text that is not Unicode, a row without the needed
    keys, two documents with one id, and if no document has ``corpus.min_words`` words.
    """
    counts: Counter[str] = Counter()
    identity = fingerprint(corpus)
    if corpus.source == "embedded":
        texts, embedded_counts = embedded_texts()
        counts.update({name: count for name, count in embedded_counts.items() if count})
        read: Iterable[_Text] = (_Text(name, text, f"embedded:{name}") for name, text in texts)
    else:
        read = _texts(corpus, counts)
    documents = _checked(read, corpus, counts)
    licence = corpus.licence or (LICENCE if corpus.source == "embedded" else "unknown")
    return DocumentSet(documents, licence, identity, dict(counts))


def fingerprint(corpus: Corpus) -> str:
    """Hash of the documents' origin and of the settings by which they are read; loads no model or data library.

    Local files are hashed by content; a hub dataset by its name, revision and split.
    """
    path = user_path(corpus.source)
    if corpus.source == "embedded":
        origin = embedded_fingerprint()
    elif not path.exists():
        origin = str(dataset_name(corpus.source, _SOURCE))
    elif is_dataset(path):
        origin = files_hash(sorted(file for file in path.rglob("*") if file.is_file()), path)
    else:
        files = data_files(path, Counter(), suffixes=_SUFFIXES, key=_SOURCE)
        origin = files_hash([file.path for file in files], path)
    parts = [corpus.text_key, corpus.id_key, corpus.split, corpus.min_words, origin]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _checked(read: Iterable[_Text], corpus: Corpus, counts: Counter[str]) -> list[Document]:
    documents: list[Document] = []
    places: dict[str, str] = {}
    texts: set[bytes] = set()
    longest = 0
    counts["read"] = counts["kept"] = 0
    for row in read:
        counts["read"] += 1
        if row.id in places:
            raise DataError(
                f"{row.place}: id {row.id!r} is taken by {places[row.id]}; make ids unique, or leave corpus.id_key out"
            )
        places[row.id] = row.place
        if row.text is None:
            counts["without text (null)"] += 1
            continue
        text = _without_gutenberg(row.text.replace("\r\n", "\n").replace("\r", "\n"), counts)
        words = sum(1 for _ in islice(_WORD.finditer(text), corpus.min_words))
        longest = max(longest, words)
        if words < corpus.min_words:
            counts["shorter than min_words"] += 1
            continue
        try:
            key = hashlib.sha256(text.encode()).digest()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{row.place}: character {error.start} of the text is half a surrogate pair; write the escape in full"
            ) from None
        if key in texts:
            counts["duplicate text"] += 1
            continue
        texts.add(key)
        documents.append(Document(row.id, text))
    counts["kept"] = len(documents)
    if not counts["read"]:
        raise DataError(f"corpus.source = {corpus.source}: holds no document; give a source with at least one")
    if not documents:
        raise DataError(
            f"corpus.min_words = {corpus.min_words}: none of the {counts['read']} documents of {corpus.source} has as "
            f"many words (the longest has {longest}); lower it, or give longer documents"
        )
    return documents


def _without_gutenberg(text: str, counts: Counter[str]) -> str:
    start = _GUTENBERG_START.search(text)
    begin = start.end() if start else 0
    end = _GUTENBERG_END.search(text, begin)
    if not start and not end:
        return text
    counts[_GUTENBERG] += 1
    return text[begin : end.start() if end else len(text)].strip("\n") + "\n"


def _texts(corpus: Corpus, counts: Counter[str]) -> Iterator[_Text]:
    path = user_path(corpus.source)
    columns = [key for key in (corpus.text_key, corpus.id_key) if key is not None]
    if not path.exists() or is_dataset(path):
        for row in dataset_rows(corpus.source, split=corpus.split, columns=columns, key=_SOURCE):
            yield _text(row, corpus)
        return
    for file in data_files(path, counts, suffixes=_SUFFIXES, key=_SOURCE):
        if file.path.suffix.lower() in _TEXT_SUFFIXES:
            yield _Text(file.name, _decoded(file), str(file.path))
        else:
            for row in file_rows(file, columns):
                yield _text(row, corpus)


def _decoded(file: DataFile) -> str:
    data = file.path.read_bytes()
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = data[error.start] if error.start < len(data) else 0
        raise DataError(
            f"{file.path}: byte {error.start} (0x{byte:02x}) is not valid {error.encoding.upper()}; convert the file "
            "to UTF-8, for example with iconv"
        ) from None


def _text(row: Row, corpus: Corpus) -> _Text:
    if row.problem:
        raise DataError(f"{row.place}: {row.problem}")
    for option, key in (("text_key", corpus.text_key), ("id_key", corpus.id_key)):
        if key is not None and key not in row.values:
            there = ", ".join(row.values) or "nothing"
            raise DataError(f"{row.place}: no {key!r}; there are: {there}; set corpus.{option} to one of them")
    text, name = row.values[corpus.text_key], row.name
    if text is not None and not isinstance(text, str):
        kind = type(text).__name__
        raise DataError(f"{row.place}: {corpus.text_key!r} is a value of type {kind}, not a text; set corpus.text_key")
    if corpus.id_key is not None:
        value = row.values[corpus.id_key]
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise DataError(f"{row.place}: {corpus.id_key!r} is {value!r}; an id is a text or a whole number")
        name = str(value)
    return _Text(name, text, row.place)
