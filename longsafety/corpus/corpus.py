"""The documents that contexts are made of: read, stripped of Project Gutenberg's notices, checked and counted."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from longsafety.corpus.embedded import (
    BILINGUAL,
    EMBEDDED,
    chinese_texts,
    embedded_fingerprint,
    embedded_licence,
    embedded_texts,
)
from longsafety.errors import DataError
from longsafety.files import files_hash, printable, user_path, visible_files
from longsafety.formats.data_files import DataFile, Row, file_rows
from longsafety.formats.datasets_read import dataset_of, dataset_rows
from longsafety.formats.decode import NotText, decode, not_a_text
from longsafety.formats.packed import packed
from longsafety.formats.rows import data_files
from longsafety.samples.language import count_words
from longsafety.samples.store import Document
from longsafety.settings import Corpus

_SOURCE = "corpus.source"
_TEXT_SUFFIXES = (".txt", ".md")
_SUFFIXES = (*_TEXT_SUFFIXES, ".jsonl", ".parquet")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LOST = "\ufffd"
_SHOWN = 20
"""Bad documents that are named."""
_ABOUT = re.compile(
    r"((readme|licen[cs]e|copying|change_?log|contributing|code_of_conduct|citation)([._ -].*)?\.(txt|md)"
    r"|requirements([._-].*)?\.txt)",
    re.IGNORECASE,
)
"""Names of files that say something of the folder in which they lie."""
_GUTENBERG_START = re.compile(
    r"^(?:\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]{0,500}\*{3}|\*END[* ]+THE SMALL PRINT!)[^\n]*\n",
    re.MULTILINE,
)
_GUTENBERG_END = re.compile(
    r"^(?:\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:(?:[Tt]he|[Tt]his) )?Project Gutenberg['’]?s? )",
    re.MULTILINE,
)
"""Newer files, and those of before 2004."""
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
    bad: list[str]
    """A line for each damaged file or row that was left out."""


class _Text(NamedTuple):
    """A document before it is checked; ``place`` names it in messages. A damaged one has a ``problem`` and no text."""

    id: str
    text: str | None
    place: str
    problem: str = ""


def read_documents(corpus: Corpus, on_bad_row: str = "error", key: str = _SOURCE) -> DocumentSet:
    """All usable documents of ``corpus.source``, in the order of their files and rows.

    ``embedded`` or ``embedded_bilingual``; a folder (read recursively, without hidden files) or file of .txt, .md,
    .jsonl or .parquet; a dataset saved with ``save_to_disk``; a folder with a dataset card; or a name on the Hugging
    Face hub, ``owner/name`` or ``owner/name@revision``. Without ``corpus.id_key`` a document is named by its file, and
    row if it has several.

    A file or row is bad that is no text in Unicode or ``corpus.encoding``, lacks the needed keys, or has an id that is
    taken. The whole source is read; then one ``DataError`` names them all, or, with ``on_bad_row="skip"``, they are
    left out. Raises it also for a source that is missing or empty, for a ``corpus.split`` of what has no splits, and
    if no document has ``corpus.min_words`` words.
    ``key``: the dotted key of the source, for messages.
    """
    counts: Counter[str] = Counter()
    identity = fingerprint(corpus)
    if corpus.source in EMBEDDED:
        texts, embedded_counts = embedded_texts()
        texts = [*texts, *(chinese_texts() if corpus.source == BILINGUAL else [])]
        counts.update({name: count for name, count in embedded_counts.items() if count})
        read: Iterable[_Text] = (_Text(name, text, f"embedded:{name}") for name, text in texts)
    else:
        read = _texts(corpus, counts, key)
    bad: list[str] = []
    documents = _checked(read, corpus, counts, bad)
    _check_found(corpus, documents, counts, bad, on_bad_row, key)
    licence = corpus.licence or (embedded_licence(corpus.source) if corpus.source in EMBEDDED else "unknown")
    return DocumentSet(documents, licence, identity, dict(counts), bad)


def fingerprint(corpus: Corpus) -> str:
    """Hash of the documents' origin and of the settings by which they are read; loads no model or data library.

    Local files are hashed by content; a hub dataset by its name, revision and split. Raises DataError for a source
    that is not there, and for a ``corpus.split`` of what has no splits.
    """
    if problem := split_problem(corpus):
        raise DataError(problem)
    if corpus.source in EMBEDDED:
        origin = embedded_fingerprint(corpus.source)
    elif found := dataset_of(corpus.source, _SOURCE):
        origin = corpus.source if found.folder is None else files_hash(visible_files(found.folder), found.folder)
        origin = origin if found.config is None else f"{origin}:{found.config}"
    else:
        origin = files_hash([file.path for file in _files(corpus, Counter(), _SOURCE)], user_path(corpus.source))
    parts = [corpus.text_key, corpus.id_key, corpus.split, corpus.min_words, corpus.encoding, origin]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _checked(read: Iterable[_Text], corpus: Corpus, counts: Counter[str], bad: list[str]) -> list[Document]:
    documents: list[Document] = []
    places: dict[str, str] = {}
    texts: set[bytes] = set()
    longest = 0
    counts["read"] = counts["kept"] = 0
    for row in read:
        counts["read"] += 1
        problem = row.problem or _problem(row, places)
        if problem:
            bad.append(f"{row.place}: {problem}")
            continue
        if row.text is None:
            counts["without text (null)"] += 1
            continue
        text = _without_gutenberg(row.text.replace("\r\n", "\n").replace("\r", "\n"), counts)
        words = count_words(text, corpus.min_words)
        longest = max(longest, words)
        if words < corpus.min_words:
            counts["shorter than min_words"] += 1
            continue
        key = hashlib.sha256(" ".join(text.split()).encode()).digest()
        if key in texts:
            counts["duplicate text"] += 1
            continue
        texts.add(key)
        documents.append(Document(row.id, text))
        if _LOST in text:
            counts[f"kept, with letters that an earlier conversion lost ({_LOST})"] += 1
    counts["kept"] = len(documents)
    if counts["shorter than min_words"]:
        counts["words of the longest document"] = longest
    if bad:
        counts["left out: bad"] = len(bad)
    return documents


def _problem(row: _Text, places: dict[str, str]) -> str:
    if row.id in places:
        return f"id {row.id!r} is taken by {places[row.id]}; make ids unique, or leave corpus.id_key out"
    places[row.id] = row.place
    if row.text is None:
        return ""
    if half := _SURROGATE.search(row.text):
        return f"character {half.start()} of the text is half a surrogate pair; write the escape in full"
    reason = not_a_text(row.text)
    return f"the text {reason}; remove such characters" if reason else ""


def _check_found(
    corpus: Corpus, documents: list[Document], counts: Counter[str], bad: list[str], on_bad_row: str, key: str
) -> None:
    """Raises DataError where something is bad and nothing may be, and where nothing is left."""
    longest = counts.pop("words of the longest document", 0)
    source = corpus.source
    if bad and (on_bad_row == "error" or not documents):
        lines = [*bad[:_SHOWN], *([f"and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else [])]
        skip = ", or set on_bad_row=skip to leave them out" if len(bad) < counts["read"] else ""
        raise DataError(
            "\n".join([*lines, f"{key} = {source}: {len(bad)} of {counts['read']} documents are bad; fix them{skip}"])
        )
    if not counts["read"]:
        raise DataError(f"{key} = {source}: holds no document; give a source with at least one")
    if not documents and counts["shorter than min_words"]:
        raise DataError(
            f"corpus.min_words = {corpus.min_words}: none of the {counts['read']} documents of {source} has as "
            f"many words (the longest has {longest}); lower it, or give longer documents"
        )
    if not documents:
        raise DataError(f"{key} = {source}: each of its {counts['read']} documents is null; set corpus.text_key")


def _without_gutenberg(text: str, counts: Counter[str]) -> str:
    start = _GUTENBERG_START.search(text)
    begin = start.end() if start else 0
    end = _GUTENBERG_END.search(text, begin)
    if not start and not end:
        return text
    counts[_GUTENBERG] += 1
    return text[begin : end.start() if end else len(text)].strip("\n") + "\n"


def _texts(corpus: Corpus, counts: Counter[str], source_key: str) -> Iterator[_Text]:
    columns = [key for key in (corpus.text_key, corpus.id_key) if key is not None]
    if dataset_of(corpus.source, source_key) is not None:
        for row in dataset_rows(corpus.source, split=corpus.split, columns=columns, key=source_key, counts=counts):
            yield _text(row, corpus)
        return
    for file in _files(corpus, counts, source_key):
        if file.path.suffix.lower() in _TEXT_SUFFIXES:
            yield _file_text(file, corpus.encoding)
        else:
            for row in file_rows(file, columns, corpus.encoding):
                yield _text(row, corpus)


def _files(corpus: Corpus, counts: Counter[str], key: str) -> list[DataFile]:
    """The files of an ordinary source, without those that say something of it, where others remain."""
    files = data_files(user_path(corpus.source), counts, suffixes=_SUFFIXES, key=key)
    about = [file for file in files if _ABOUT.fullmatch(file.name)]
    if not about or len(about) == len(files):
        return files
    names = ", ".join(file.name for file in about)
    counts[f"files that describe the corpus, not read as documents: {names}"] = len(about)
    return [file for file in files if file not in about]


def split_problem(corpus: Corpus) -> str:
    """Why ``corpus.split``, where it is set, chooses nothing: the source has no splits; empty if it has.

    Raises DataError for a source that is not there.
    """
    if corpus.split == Corpus.model_fields["split"].default:
        return ""
    if corpus.source not in EMBEDDED and dataset_of(corpus.source, _SOURCE) is not None:
        return ""
    return (
        f"corpus.split = {corpus.split}: {corpus.source} is no dataset with splits, and all of it would be read; leave "
        f"corpus.split out, and give the files of that split as {_SOURCE}"
    )


def _file_text(file: DataFile, encoding: str | None) -> _Text:
    place = printable(file.path)
    try:
        if other := packed(file.path):
            return _Text(file.name, None, place, other)
        return _Text(file.name, decode(file.path.read_bytes(), encoding), place)
    except NotText as error:
        fix = (
            "write the file anew in UTF-8" if error.is_unicode else "set corpus.encoding, or convert the file to UTF-8"
        )
        return _Text(file.name, None, place, f"{error}; {fix}")
    except OSError as error:
        return _Text(file.name, None, place, f"cannot be read ({error.strerror}); make it readable, or move it away")


def _text(row: Row, corpus: Corpus) -> _Text:
    if row.problem:
        return _Text(row.name, None, row.place, row.problem)
    for option, key in (("text_key", corpus.text_key), ("id_key", corpus.id_key)):
        if key is not None and key not in row.values:
            there = ", ".join(row.values) or "nothing"
            problem = f"no {key!r}; there are: {there}; set corpus.{option} to one of them"
            return _Text(row.name, None, row.place, problem)
    text, name = row.values[corpus.text_key], row.name
    if text is not None and not isinstance(text, str):
        kind = type(text).__name__
        problem = f"{corpus.text_key!r} is a value of type {kind}, not a text; set corpus.text_key"
        return _Text(row.name, None, row.place, problem)
    if corpus.id_key is not None:
        value = row.values[corpus.id_key]
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            return _Text(
                row.name, None, row.place, f"{corpus.id_key!r} is {value!r}; an id is a text or a whole number"
            )
        name = str(value)
    return _Text(name, text, row.place)
