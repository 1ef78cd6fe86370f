"""Reading documents: every source, what is left out and counted, and every message a user can cause."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longsafety.corpus import corpus as module
from longsafety.corpus.corpus import fingerprint, read_documents
from longsafety.corpus.domains import domains_of
from longsafety.errors import DataError
from longsafety.samples.language import language_of
from longsafety.samples.store import Document
from longsafety.settings import Corpus


def words(name: str, count: int = 6) -> str:
    return " ".join([name] * count)


def corpus(source: Path | str, **options: Any) -> Corpus:
    return Corpus(**{"source": str(source), "min_words": 5, **options})


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_folder_is_read_recursively_in_order_and_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.txt").write_text(words("hidden"))
    (tmp_path / "b.txt").write_text(words("b"))
    (tmp_path / "a.md").write_text(words("a"))
    (tmp_path / "sub" / "c.txt").write_text(words("a"))  # the same text as a.md
    (tmp_path / "d.TXT").write_text("too short")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    write_jsonl(tmp_path / "e.jsonl", [{"text": words("e1")}, {"text": words("e2")}, {"text": None}])
    found = read_documents(corpus(tmp_path))
    assert found.documents == [
        Document("a.md", words("a")),
        Document("b.txt", words("b")),
        Document("e.jsonl:1", words("e1")),
        Document("e.jsonl:2", words("e2")),
    ]
    assert found.counts == {
        "read": 7,
        "kept": 4,
        "files of other types": 1,
        "shorter than min_words": 1,
        "duplicate text": 1,
        "without text (null)": 1,
    }
    assert found.licence == "unknown" and read_documents(corpus(tmp_path, licence="CC0-1.0")).licence == "CC0-1.0"


def test_a_single_file_of_each_type(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(words("one"))
    assert read_documents(corpus(tmp_path / "one.txt")).documents == [Document("one.txt", words("one"))]
    rows = [{"body": words("x"), "name": "first"}, {"body": words("y"), "name": 7}]
    options = {"text_key": "body", "id_key": "name"}
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    assert [document.id for document in read_documents(corpus(file, **options)).documents] == ["first", "7"]
    table = pa.table({"body": [words("x"), words("y")], "name": ["p", "q"], "other": [1, 2]})
    pq.write_table(table, tmp_path / "rows.parquet")
    found = read_documents(corpus(tmp_path / "rows.parquet", **options)).documents
    assert found == [Document("p", words("x")), Document("q", words("y"))]
    ids = [document.id for document in read_documents(corpus(tmp_path / "rows.parquet", text_key="body")).documents]
    assert ids == ["rows.parquet:1", "rows.parquet:2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_and_newlines(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("Wörter über\r\nzwei Zeilen\rund  drei\n".encode(encoding))
    assert read_documents(corpus(tmp_path)).documents[0].text == "Wörter über\nzwei Zeilen\nund  drei\n"


def test_a_byte_order_mark_before_jsonl(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps({"text": words("a")}).encode() + b"\r\n\r\n")
    assert read_documents(corpus(tmp_path)).counts == {"read": 1, "kept": 1}


@pytest.mark.parametrize("article", ["THE", "THIS"])
def test_project_gutenberg_notices_are_stripped_and_counted(tmp_path: Path, article: str) -> None:
    body = "CHAPTER I\n\nIt was a *** dark *** and stormy night.\n"
    text = (
        f"\ufeffThe Project\r\n\r\n*** START OF {article} PROJECT GUTENBERG EBOOK A\r\nTITLE ***\r\n\r\n"
        + body.replace("\n", "\r\n")
        + f"\r\n\r\n*** END OF {article} PROJECT GUTENBERG EBOOK A LONG TITLE ***\r\nLicence\r\n"
    )
    (tmp_path / "book.txt").write_bytes(text.encode())
    (tmp_path / "plain.txt").write_text("This one mentions Project Gutenberg only.")
    found = read_documents(corpus(tmp_path))
    assert [document.text for document in found.documents] == [body, "This one mentions Project Gutenberg only."]
    assert found.counts["Project Gutenberg notices stripped"] == 1


def test_words_of_a_script_without_spaces_are_its_characters(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("呻吟，病聲也。", encoding="utf-8")
    assert read_documents(corpus(tmp_path)).counts["kept"] == 1
    with pytest.raises(DataError, match="the longest has 7"):
        read_documents(corpus(tmp_path, min_words=8))


def test_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [("python/a", words("a")), ("numpy/b", "short"), ("numpy/c", words("c"))]
    counts = {"repeated paragraphs": 3, "packages not installed": 0}
    monkeypatch.setattr(module, "embedded_texts", lambda: (texts, counts))
    found = read_documents(corpus("embedded"))
    assert [document.id for document in found.documents] == ["python/a", "numpy/c"]
    assert found.counts == {"read": 3, "kept": 2, "repeated paragraphs": 3, "shorter than min_words": 1}
    assert found.licence.startswith("PSF-2.0") and found.fingerprint == fingerprint(corpus("embedded"))


def test_the_bilingual_corpus_has_chinese_documents_of_both_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "embedded_texts", lambda: ([("python/a", words("a"))], {}))
    found = read_documents(corpus("embedded_bilingual"))
    chinese = [document for document in found.documents if language_of(document.text) == "zh"]
    assert found.documents[0].id == "python/a" and len(chinese) == len(found.documents) - 1 == 48
    domains = Counter(domain for document in chinese for domain in domains_of(document.text))
    assert domains == {"law": 7, "medicine": 7}
    assert found.licence.endswith(", CC0-1.0") and found.fingerprint != fingerprint(corpus("embedded"))


def test_saved_and_local_datasets(tmp_path: Path) -> None:
    import datasets

    data = datasets.Dataset.from_dict({"text": [words("x"), words("y")], "key": ["i", "j"]})
    data.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"test": data}).save_to_disk(str(tmp_path / "dict"))
    expected = [words("x"), words("y")]
    assert [document.text for document in read_documents(corpus(tmp_path / "one")).documents] == expected
    found = read_documents(corpus(tmp_path / "dict", split="test", id_key="key")).documents
    assert [document.id for document in found] == ["i", "j"]
    with pytest.raises(DataError, match=r"corpus\.split = train: .*dict has test"):
        read_documents(corpus(tmp_path / "dict"))
    with pytest.raises(DataError, match=r"no 'body'; there are: text, key; set corpus\.text_key"):
        read_documents(corpus(tmp_path / "one", text_key="body"))


def test_a_folder_with_a_dataset_card_is_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "a.jsonl", [{"text": words("train")}])
    write_jsonl(tmp_path / "data" / "b.jsonl", [{"text": words("test")}])
    config = "configs:\n- config_name: default\n  data_files:\n  - split: test\n    path: data/b.jsonl\n"
    (tmp_path / "README.md").write_text(f"---\n{config}---\n# A card\n")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    found = read_documents(corpus(tmp_path, split="test")).documents
    assert found == [Document("test:1", words("test"))]


def test_a_hub_name_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[Any, ...]] = []

    def refuse(self: Any, name: str, revision: str | None, timeout: float) -> None:
        asked.append((name, revision))
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    with pytest.raises(
        DataError, match=r"^corpus\.source = owner/name@v2: no such file.*ConnectionError: no route\); check the path"
    ):
        read_documents(corpus("owner/name@v2"))
    assert asked == [("owner/name", "v2")]


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/at/all", "book.txt", "a/b/c"])
def test_a_missing_path(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"corpus\.source"):
        read_documents(corpus(source))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.txt, \.md, \.jsonl, \.parquet file among its 0 file"):
        read_documents(corpus(tmp_path))
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match=r"among its 1 file"):
        fingerprint(corpus(tmp_path))
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"holds no document"):
        read_documents(corpus(tmp_path))


def test_all_documents_are_too_short(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("three words here")
    with pytest.raises(DataError, match=r"corpus\.min_words = 5: none of the 1 documents .* longest has 3"):
        read_documents(corpus(tmp_path))


def test_invalid_utf8_names_the_file_and_the_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"0123456789\xff rest")
    with pytest.raises(DataError, match=r"a\.txt: is not UTF-8: byte 10 \(0xff\) is not valid.*; set corpus\.encoding"):
        read_documents(corpus(tmp_path / "a.txt"))
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "ok"}\n{"text": "\xe9t\xe9"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl:2: byte 10 \(0xe9\) is not UTF-8; convert"):
        read_documents(corpus(tmp_path / "b.jsonl"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"body": "x", "n": 1}', r"a\.jsonl:2: no 'text'; there are: body, n; set corpus\.text_key"),
        ('{"text": "x"', r"a\.jsonl:2: not JSON \("),
        ("[1, 2]", r"a\.jsonl:2: a list instead of an object; each row is one JSON object"),
        ('{"text": 5}', r"a\.jsonl:2: 'text' is a value of type int, not a text"),
        ('{"text": "one two three four \\ud83d"}', r"a\.jsonl:2: character 19 of the text is half a surrogate"),
    ],
)
def test_a_bad_row_names_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": words("a")}) + f"\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_documents(corpus(tmp_path))


def test_ids_are_unique_and_present(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": words("a"), "id": "x"}])
    write_jsonl(tmp_path / "b.jsonl", [{"text": words("b"), "id": "y"}, {"text": words("c"), "id": "x"}])
    with pytest.raises(DataError, match=r"b\.jsonl:2: id 'x' is taken by .*a\.jsonl:1; make ids unique"):
        read_documents(corpus(tmp_path, id_key="id"))
    with pytest.raises(DataError, match=r"a\.jsonl:1: no 'key'; there are: text, id; set corpus\.id_key"):
        read_documents(corpus(tmp_path, id_key="key"))
    write_jsonl(tmp_path / "a.jsonl", [{"text": words("a"), "id": None}])
    with pytest.raises(DataError, match=r"a\.jsonl:1: 'id' is None"):
        read_documents(corpus(tmp_path, id_key="id"))


def test_a_broken_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but nothing else PAR1")
    with pytest.raises(DataError, match=r"a\.parquet:1: not a readable Parquet file from here on"):
        read_documents(corpus(tmp_path))


def test_fingerprint_follows_content_names_and_settings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(words("a"))
    first = fingerprint(corpus(tmp_path))
    assert first == fingerprint(corpus(tmp_path)) == read_documents(corpus(tmp_path)).fingerprint
    (tmp_path / "ignored.png").write_bytes(b"x")
    assert fingerprint(corpus(tmp_path)) == first
    assert fingerprint(corpus(tmp_path, licence="MIT")) == first
    assert fingerprint(corpus(tmp_path, min_words=6)) != first
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    renamed = fingerprint(corpus(tmp_path))
    (tmp_path / "b.txt").write_text(words("b"))
    assert len({first, renamed, fingerprint(corpus(tmp_path))}) == 3
    hub = {fingerprint(corpus(name, split=split)) for name in ("o/n", "o/m", "o/n@v1") for split in ("train", "test")}
    assert len(hub) == 6


def test_a_copy_with_other_line_breaks_is_the_same_document(tmp_path: Path) -> None:
    """Else one copy could train, and the other stand in the benchmark."""
    text = "A quiet day at the harbour. " * 60
    for name, copy in {"a": text, "b": text + "\n\n", "c": text.replace(". ", ".\n"), "d": text + "More."}.items():
        (tmp_path / f"{name}.txt").write_text(copy)
    found = read_documents(Corpus(source=str(tmp_path), min_words=1))
    assert [document.id for document in found.documents] == ["a.txt", "d.txt"]
    assert found.counts["duplicate text"] == 2


@pytest.mark.parametrize(
    ("head", "end"),
    [
        ("*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*", "End of Project Gutenberg's A Harbour"),
        (
            "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
            "End of The Project Gutenberg Etext of it",
        ),
        ("***START OF THE PROJECT GUTENBERG EBOOK A HARBOUR***", "End of the Project Gutenberg EBook of A Harbour"),
    ],
)
def test_the_notices_of_old_gutenberg_files_are_stripped_too(tmp_path: Path, head: str, end: str) -> None:
    text = "A quiet day at the harbour.\n" * 60
    (tmp_path / "a.txt").write_text(f"The Project Gutenberg Etext\n{head}\n{text}\n{end}\nThe licence.\n")
    found = read_documents(Corpus(source=str(tmp_path), min_words=1))
    assert found.documents[0].text == text and found.counts["Project Gutenberg notices stripped"] == 1
