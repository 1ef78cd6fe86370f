"""Folders as people have them: links, damaged files among good ones, scripts without spaces, several configurations."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from longsafety.corpus.corpus import fingerprint, read_documents
from longsafety.errors import DataError
from longsafety.files import visible_files
from longsafety.formats.rows import read_rows, rows_fingerprint
from longsafety.samples.language import count_words
from longsafety.settings import Corpus


def page(word: str) -> str:
    return " ".join([word] * 8)


def corpus(source: Path | str, **options: object) -> Corpus:
    return Corpus.model_validate({"source": str(source), "min_words": 5, **options})


def test_linked_folders_are_read_and_loops_end(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    for path in (folder, elsewhere / "below"):
        path.mkdir(parents=True)
    (folder / "a.txt").write_text(page("a"))
    (elsewhere / "b.txt").write_text(page("b"))
    (elsewhere / "below" / "c.txt").write_text(page("c"))
    (elsewhere / "below" / "up").symlink_to(elsewhere)
    (folder / "more").symlink_to(elsewhere)
    (folder / "self").symlink_to(folder)
    (folder / "gone.txt").symlink_to("/nowhere/x.txt")
    (folder / "round").symlink_to(folder / "round")
    os.mkfifo(folder / "pipe.txt")
    found = read_documents(corpus(folder))
    assert [document.id for document in found.documents] == ["a.txt", "more/b.txt", "more/below/c.txt"]
    told = [
        "gone.txt",
        "more/below/up (is more again)",
        "pipe.txt (no ordinary file)",
        "round",
        "self (is corpus again)",
    ]
    assert sum(count for name, count in found.counts.items() if name.endswith(", ".join(told))) == len(told)
    left_out: list[str] = []
    assert len(visible_files(folder, left_out)) == 3 and left_out == told
    first, rows = fingerprint(corpus(folder)), rows_fingerprint(str(folder))
    (elsewhere / "b.txt").write_text(page("other"))
    assert fingerprint(corpus(folder)) != first and rows_fingerprint(str(folder)) != rows


def test_every_damaged_file_and_row_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(page("good"))
    for name in ("old1.txt", "old2.md"):
        (tmp_path / name).write_bytes(page("café" + name[3]).encode("latin-1"))
    (tmp_path / "wide.txt").write_text(page("wide"), "utf-16-le")
    rows = [{"text": page("x"), "id": "1"}, {"text": page("y"), "id": "1"}, {"text": 5}, {"text": page("\ud800")}]
    lines = [*(json.dumps(row) for row in rows), "{", json.dumps({"body": "x"}), json.dumps({"text": page("a\0")})]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        read_documents(corpus(tmp_path))
    told = str(caught.value).splitlines()
    places = ["old1.txt", "old2.md", *(f"rows.jsonl:{line}" for line in (3, 4, 5, 6, 7))]
    assert [line.partition(": ")[0].rpartition("/")[2] for line in told[:-1]] == places
    assert told[-1].endswith("7 of 11 documents are bad; fix them, or set on_bad_row=skip to leave them out")
    assert "it would read as cp1252 “café1 café1" in told[0] and "set corpus.encoding" in told[0]
    found = read_documents(corpus(tmp_path), "skip")
    assert [one.id for one in found.documents] == ["good.txt", "rows.jsonl:1", "rows.jsonl:2", "wide.txt"]
    assert found.documents[-1].text == page("wide") and found.counts["left out: bad"] == len(found.bad) == 7
    named = read_documents(corpus(tmp_path, encoding="latin-1"), "skip")
    assert {"old1.txt", "old2.md"} <= {one.id for one in named.documents} and named.documents[1].text == page("café1")
    assert named.fingerprint != found.fingerprint
    with pytest.raises(DataError, match=r"rows\.jsonl:2: id '1' is taken by .*rows\.jsonl:1"):
        read_documents(corpus(tmp_path / "rows.jsonl", id_key="id"))


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9.txt")
    try:
        (tmp_path / latin).write_text(page("a"))
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    (tmp_path / os.fsdecode(b"r\xe9.jsonl")).write_text("{")
    with pytest.raises(DataError) as caught:
        read_documents(corpus(tmp_path))
    assert "r\\xe9.jsonl:1: not JSON" in str(caught.value) and str(caught.value).encode()
    assert [one.id for one in read_documents(corpus(tmp_path), "skip").documents] == ["caf\\xe9.txt"]


@pytest.mark.parametrize(
    ("script", "letters"),
    [
        ("Thai", "ท่าเรือเงียบสงบร่มของร้านกาแฟเปิดอยู่"),
        ("Lao", "ທ່າເຮືອງຽບສະຫງົບຄັນຮົ່ມເປີດຢູ່"),
        ("Khmer", "កំពង់ផែស្ងប់ស្ងាត់ឆ័ត្របើក"),
        ("Burmese", "ဆိပ်ကမ်းတိတ်ဆိတ်နေသည်ထီးဖွင့်ထားသည်"),
        ("Tibetan", "གྲུ་ཁ་ཁུ་སིམ་པོ་འདུག"),
        ("Japanese", "みなとはしずかでカフェのかさがひらいている"),
        ("Chinese", "港口很安静咖啡馆的伞开着一个人走过来"),
        ("half-width katakana", "ﾐﾅﾄﾊｼｽﾞｶﾃﾞｶﾌｪﾉｶｻｶﾞﾋﾗｲﾃｲﾙ"),
        ("Yi", "ꆈꌠꁱꂷꀋꉆꌋꆀꉬꄉꀋꈭꇁꄉꑍꆏꀋꊨꃅꄷꇐꀕꌊꄮꑌ"),
        ("Javanese", "ꦥꦼꦭꦧꦸꦲꦤ꧀ꦱꦼꦥꦶꦥꦪꦸꦁꦏꦺꦴꦥꦶꦩꦧꦸꦏꦮꦺꦴꦁꦩꦭꦏꦸꦭꦮꦠ꧀ꦏꦺꦤꦺꦭꦤ꧀ꦱꦧꦼꦤ꧀"),
        ("Balinese", "ᬧᬮᬩᬸᬳᬦ᭄ᬲᬸᬧᬶᬧᬬᬸᬂᬓᭀᬧᬶᬫᬩᬸᬓᬳᬦᬓ᭄ᬫᬮᬓᬸᬮᬯᬢ᭄ᬓᬾᬦᬾᬮᬦ᭄ᬲᬦᬾ"),
        ("Cham", "ꨆꨣꨴꨍꨨꨩꨚꨤꨈꨥꨕꨢꨆꨣꨓꨨꨧꨤꨗꨚꨈꨥꨣꨰꨆꨓꨔꨕ"),
        ("Korean without spaces", "항구는조용하고카페의우산이열려있다한사람이걸어서지나간다"),
        ("Ethiopic", "ወደቡ፡ጸጥ፡ብሏል፡የቡናቤቱ፡ጃንጥላ፡ተከፍቷል"),
        ("parted by zero-width spaces", "the\u200bharbour\u200blies\u200bstill\u200band\u200bquiet"),
    ],
)
def test_a_page_of_a_script_without_spaces_is_no_single_word(tmp_path: Path, script: str, letters: str) -> None:
    (tmp_path / "a.txt").write_text(letters, "utf-8")
    assert read_documents(corpus(tmp_path, min_words=6)).counts["kept"] == 1, script
    with pytest.raises(DataError, match=r"corpus\.min_words = 500"):
        read_documents(corpus(tmp_path, min_words=500))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The harbour lies still.", 4),
        ("See https://example.org/a/very/long/address/of/a/page?that=goes&on=1 there.", 3),
        ("Die Donaudampfschifffahrtsgesellschaftskapitänin grüßt.", 3),
        ("Гипотетическирентгеноэлектрокардиографический случай.", 2),
        ("항구는 조용하고 카페의 우산이 열려 있다.", 6),
        ("परिषद ने मंगलवार को किसानों की बात सुनी।", 8),
        ("ወደቡ ጸጥ ብሏል።", 3),
        ("d41d8cd98f00b204e9800998ecf8427e is a hash", 4),
        ("港口很安静", 5),
    ],
)
def test_a_word_between_spaces_is_one_however_long_it_is(text: str, words: int) -> None:
    assert count_words(text, 100) == words
    assert count_words(text, 2) == 2


@pytest.mark.parametrize(
    "about",
    (
        *("README.md", "readme.txt", "README_zh.md", "LICENSE.txt", "Licence-MIT.md", "COPYING.txt", "CHANGELOG.md"),
        *("requirements.txt", "requirements-dev.txt", "CONTRIBUTING.md"),
    ),
)
def test_what_describes_the_folder_is_no_document(tmp_path: Path, about: str) -> None:
    (tmp_path / about).write_text("---\nlicense: mit\n---\n" + page("about"))
    alone = read_documents(corpus(tmp_path))
    assert [one.id for one in alone.documents] == [about]  # it is all there is
    (tmp_path / "part").mkdir()
    for name in ("a.txt", f"part/{about}", "readmes of others.txt", "requirement.txt"):
        (tmp_path / name).write_text(page(name))
    found = read_documents(corpus(tmp_path))
    expected = {"a.txt", f"part/{about}", "readmes of others.txt", "requirement.txt"}
    assert {one.id for one in found.documents} == expected
    assert found.counts[f"files that describe the corpus, not read as documents: {about}"] == 1
    (tmp_path / about).write_text("changed")
    assert fingerprint(corpus(tmp_path)) == found.fingerprint
    assert [one.id for one in read_documents(corpus(tmp_path / about, min_words=1)).documents] == [about]


@pytest.mark.parametrize("card", [None, "---\nlicense: mit\n---\n# A set\n"])
def test_a_split_of_what_has_none_is_refused(tmp_path: Path, card: str | None) -> None:
    (tmp_path / "data").mkdir()
    for name in ("train", "test"):
        (tmp_path / "data" / f"{name}.jsonl").write_text(json.dumps({"text": page(name)}) + "\n")
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    for source in (str(tmp_path), str(tmp_path / "data" / "test.jsonl"), "embedded"):
        with pytest.raises(DataError, match=r"corpus\.split = test: .* is no dataset with splits, .* leave"):
            read_documents(corpus(source, split="test"))
    assert len(read_documents(corpus(tmp_path, split="train")).documents) == 2  # the default, which says nothing
    assert len(read_documents(corpus(tmp_path / "data" / "test.jsonl")).documents) == 1


def test_damaged_unicode_is_not_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(page("a").encode("utf-16") + b"\n")
    with pytest.raises(
        DataError, match=r"mark of UTF-16, but byte 32 \(0x0a\) is not valid; write the file anew in UTF-8"
    ):
        read_documents(corpus(tmp_path, encoding="cp1252"))


@pytest.fixture
def several(tmp_path: Path) -> Path:
    folder = tmp_path / "several"
    folder.mkdir()
    declared = ["---", "configs:"]
    for name in ("books", "laws"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"text": page(name), "request": f"Ask about {name}?"}) + "\n")
        declared += [f"- config_name: {name}", f"  data_files: {name}.jsonl"]
    (folder / "README.md").write_text("\n".join([*declared, "---", "# Two"]))
    return folder


def test_a_configuration_of_a_dataset_is_named_behind_a_colon(several: Path) -> None:
    expected = rf"corpus\.source = {several}: has the configurations books, laws; name one, {several}:books"
    with pytest.raises(DataError, match=expected):
        read_documents(corpus(several))
    assert read_documents(corpus(f"{several}:laws")).documents[0].text == page("laws")
    assert [row.values["text"] for row in read_rows(f"{several}:books", counts=Counter())] == [page("books")]
    with pytest.raises(DataError, match="has no configuration poems, but the configurations books, laws"):
        read_documents(corpus(f"{several}:poems"))
    with pytest.raises(DataError, match=r"corpus\.split = test: .* has train; choose one of these"):
        read_documents(corpus(f"{several}:laws", split="test"))
    assert len({fingerprint(corpus(f"{several}{end}")) for end in ("", ":books", ":laws")}) == 3
    assert rows_fingerprint(f"{several}:books") != rows_fingerprint(f"{several}:laws")


def test_files_that_describe_the_data_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({"request": "Who?"}) + "\n")
    for name in ("dataset_info.json", "dataset_infos.json", "config.json"):
        (tmp_path / name).write_text(json.dumps({"mine": {"file_name": "train.jsonl"}}))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "x.png"}\n')
    counts: Counter[str] = Counter()
    assert [row.values for row in read_rows(tmp_path, counts=counts)] == [{"request": "Who?"}]
    names = "config.json, dataset_info.json, dataset_infos.json, metadata.jsonl"
    assert counts == {f"files that describe the data, not read as rows: {names}": 4}
    assert len(list(read_rows(tmp_path / "metadata.jsonl", counts=Counter()))) == 1
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"read\.path = .*: no \.jsonl, .* but config\.json, dataset_info\.json"):
        list(read_rows(tmp_path, counts=Counter(), key="read.path"))
