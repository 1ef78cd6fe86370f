"""The documents that contexts are made of: read, cleaned of their containers' marks, checked and counted."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from longsafety.corpus.embedded import LICENCE, embedded_fingerprint, embedded_texts
from longsafety.errors import DataError
from longsafety.files import _name
from longsafety.hub import _HUB_NAME, _has_card, _is_dataset, _one_line, _require_reachable
from longsafety.samples.store import Document
from longsafety.settings import Corpus

_SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")
# Chinese and Japanese write no spaces: each of their characters counts as a word.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
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


class _Row(NamedTuple):
    """A document before it is checked; ``place`` is where a message says it lies."""

    id: str
    text: str | None
    place: str


def read_documents(corpus: Corpus) -> DocumentSet:
    """All usable documents of ``corpus.source``, in the order of their files and rows.

    ``embedded``; a folder (read recursively, hidden files apart) or file of .txt, .md, .jsonl or .parquet; a dataset
    saved with ``save_to_disk``; a folder with a dataset card; or a name on the Hugging Face hub, ``owner/name`` or
    ``owner/name@revision``. Without ``corpus.id_key`` a document is named by its file, and row where there are several.

    Raises ``DataError`` for a source that is missing or empty, text that is not Unicode, a row without the needed
    keys, two documents of one id, and where no document has ``corpus.min_words`` words.
    """
    counts: Counter[str] = Counter()
    identity = fingerprint(corpus)
    if corpus.source == "embedded":
        texts, embedded_counts = embedded_texts()
        counts.update({name: count for name, count in embedded_counts.items() if count})
        rows: Iterable[_Row] = (_Row(name, text, f"embedded:{name}") for name, text in texts)
    else:
        rows = _rows(corpus, counts)
    documents = _checked(rows, corpus, counts)
    licence = corpus.licence or (LICENCE if corpus.source == "embedded" else "unknown")
    return DocumentSet(documents, licence, identity, dict(counts))


def fingerprint(corpus: Corpus) -> str:
    """Hash of the documents' origin and of the settings by which they are read; loads no model or data library.

    Local files are hashed by content; a hub dataset by its name, revision and split.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps([corpus.text_key, corpus.id_key, corpus.split, corpus.min_words]).encode())
    path = Path(corpus.source).expanduser()
    if corpus.source == "embedded":
        digest.update(embedded_fingerprint().encode())
    elif path.exists():
        files = sorted(file for file in path.rglob("*") if file.is_file()) if _is_dataset(path) else _files(path)[0]
        for file in files:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"\n{_name(file, path)}\0{content}".encode())
    else:
        digest.update("\0".join(_hub_name(corpus.source)).encode())
    return digest.hexdigest()[:32]


def _checked(rows: Iterable[_Row], corpus: Corpus, counts: Counter[str]) -> list[Document]:
    documents: list[Document] = []
    places: dict[str, str] = {}
    texts: set[bytes] = set()
    longest = 0
    counts["read"] = counts["kept"] = 0
    for row in rows:
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


def _rows(corpus: Corpus, counts: Counter[str]) -> Iterator[_Row]:
    path = Path(corpus.source).expanduser()
    if not path.exists() or _is_dataset(path):
        yield from _dataset_rows(corpus, path)
        return
    files, others = _files(path)
    if others:
        counts["files of other types"] = others
    for file in files:
        name = _name(file, path)
        if file.suffix.lower() == ".jsonl":
            yield from _jsonl_rows(file, name, corpus)
        elif file.suffix.lower() == ".parquet":
            yield from _parquet_rows(file, name, corpus)
        else:
            yield _Row(name, _decoded(file.read_bytes(), str(file)), str(file))


def _files(path: Path) -> tuple[list[Path], int]:
    """The readable files of a folder or file, sorted by path, and the number of others."""
    visible = [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file()]
        visible = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    files = sorted((file for file in visible if file.suffix.lower() in _SUFFIXES), key=lambda file: _name(file, path))
    if not files:
        raise DataError(
            f"corpus.source = {path}: no {', '.join(_SUFFIXES)} file among its {len(visible)} file(s); give a folder "
            "or file of these types, or a Hugging Face dataset"
        )
    return files, len(visible) - len(files)


def _decoded(data: bytes, place: str, offset: int = 0) -> str:
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        byte = data[error.start] if error.start < len(data) else 0
        raise DataError(
            f"{place}: byte {offset + error.start} (0x{byte:02x}) is not valid {error.encoding.upper()}; convert the "
            "file to UTF-8, for example with iconv"
        ) from None


def _jsonl_rows(file: Path, name: str, corpus: Corpus) -> Iterator[_Row]:
    offset = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            place = f"{file}:{number}"
            text = _decoded(line, place, offset)
            offset += len(line)
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{place}: not JSON ({error}); a .jsonl file has one JSON object a line") from None
            if not isinstance(row, dict):
                raise DataError(f"{place}: a JSON {type(row).__name__}; a .jsonl file has one JSON object a line")
            yield _row(row, f"{name}:{number}", place, corpus)


def _parquet_rows(file: Path, name: str, corpus: Corpus) -> Iterator[_Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as table:
            _require(table.schema_arrow.names, str(file), corpus)
            columns = [key for key in (corpus.text_key, corpus.id_key) if key is not None]
            for batch in table.iter_batches(batch_size=1024, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield _row(row, f"{name}:{number}", f"{file}:{number}", corpus)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).split("\n", 1)[0]
        raise DataError(f"{file}: not a readable Parquet file after row {number} ({reason}); write it anew") from None


def _dataset_rows(corpus: Corpus, path: Path) -> Iterator[_Row]:
    import datasets

    source, split = corpus.source, corpus.split
    if path.exists():
        saved = not _has_card(path)
    else:
        source, revision = _hub_name(source)
        saved = False
        _require_reachable(source, revision)
    try:
        if saved:
            dataset: Any = datasets.load_from_disk(str(path))
        else:
            options = {} if path.exists() else {"revision": revision or None}
            dataset = datasets.load_dataset(str(path) if path.exists() else source, split=split, **options)
    except Exception as error:  # the libraries raise a dozen unrelated types here
        raise DataError(f"corpus.source = {corpus.source}: {_one_line(error)}; check it and corpus.split") from error
    if isinstance(dataset, dict):
        if split not in dataset:
            raise DataError(f"corpus.split = {split}: {source} has {', '.join(sorted(dataset))}; choose one of these")
        dataset = dataset[split]
    _require(dataset.column_names, corpus.source, corpus)
    columns = [key for key in (corpus.text_key, corpus.id_key) if key is not None]
    for number, row in enumerate(dataset.select_columns(columns), start=1):
        yield _row(row, f"{split}:{number}", f"{corpus.source} ({split}):{number}", corpus)


def _row(row: dict[str, Any], fallback: str, place: str, corpus: Corpus) -> _Row:
    _require(row, place, corpus)
    text, name = row[corpus.text_key], fallback
    if text is not None and not isinstance(text, str):
        raise DataError(f"{place}: {corpus.text_key!r} is a {type(text).__name__}, not a text; set corpus.text_key")
    if corpus.id_key is not None:
        value = row[corpus.id_key]
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise DataError(f"{place}: {corpus.id_key!r} is {value!r}; an id is a text or a whole number")
        name = str(value)
    return _Row(name, text, place)


def _require(keys: Iterable[str], place: str, corpus: Corpus) -> None:
    present = list(keys)
    for option, key in (("text_key", corpus.text_key), ("id_key", corpus.id_key)):
        if key is not None and key not in present:
            there = ", ".join(present) or "nothing"
            raise DataError(f"{place}: no {key!r}; there are: {there}; set corpus.{option} to one of them")


def _hub_name(source: str) -> tuple[str, str]:
    """(name, revision or nothing) of a source that is no existing path."""
    match = _HUB_NAME.fullmatch(source)
    if not match or Path(source).suffix.lower() in _SUFFIXES:
        raise DataError(
            f"corpus.source = {source}: no such file or folder; give one, 'embedded', or a Hugging Face dataset's name"
        )
    return match["name"], match["revision"] or ""
