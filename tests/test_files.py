"""Files and folders appear whole or not at all; their hash follows names and contents, whatever the names are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from longsafety.errors import DataError
from longsafety.files import (
    DATA_SUFFIXES,
    closed_above,
    file_hash,
    files_hash,
    relative_name,
    user_path,
    visible_files,
    whole_file,
    whole_folder,
    write_text,
)
from longsafety.formats.data_files import SUFFIXES


def test_a_file_is_replaced_whole_and_a_failure_leaves_the_former(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 255)  # the longest name that a file system takes
    write_text(file, "first")
    with pytest.raises(RuntimeError), whole_file(file) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert file.read_text() == "first" and list(tmp_path.iterdir()) == [file]
    write_text(file, "sécond")
    assert file.read_text("utf-8") == "sécond" and list(tmp_path.iterdir()) == [file]


def test_a_folder_takes_the_place_of_an_absent_or_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        with whole_folder(tmp_path / name) as partial:
            (partial / "a").write_text("a")
        assert [path.name for path in (tmp_path / name).iterdir()] == ["a"]
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "half") as partial:
        (partial / "a").write_text("a")
        raise RuntimeError
    with pytest.raises(DataError, match="is not empty; give a new"), whole_folder(tmp_path / "empty"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["absent", "empty"]
    assert (tmp_path / "empty" / "a").read_text() == "a"


def test_a_folder_that_cannot_be_replaced_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount refuses to be removed or renamed; so does, for a shell that stands in it, the current folder."""
    place = tmp_path / "volume"
    (place / "lost+found").mkdir(parents=True)
    (place / ".0123456789ab.7.partial").mkdir()  # of a killed process
    monkeypatch.chdir(place)
    inode = place.stat().st_ino
    with whole_folder(place) as partial:
        assert partial.parent == place  # on the same file system
        (partial / "sub").mkdir()
        (partial / "sub" / "a").write_text("a")
        (partial / "README.md").write_text("b")
    assert place.stat().st_ino == inode and Path("sub/a").read_text() == "a" and Path("README.md").is_file()
    with pytest.raises(DataError, match="not empty"), whole_folder(place):
        pass
    broken = tmp_path / "other"
    broken.mkdir()
    with pytest.raises(RuntimeError), whole_folder(broken) as partial:
        (partial / "a").write_text("a")
        raise RuntimeError
    assert list(broken.iterdir()) == []


def test_visible_files_are_sorted_by_name_below_the_folder(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a.txt", ".hidden", ".folder/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [relative_name(file, tmp_path) for file in visible_files(tmp_path)] == ["a.txt", "a/z", "b"]
    assert visible_files(tmp_path / ".hidden") == [tmp_path / ".hidden"]


@pytest.mark.parametrize(
    ("files", "links", "read", "told"),
    [
        # Beside each other, into each other, below itself, one link through another, and out of the folder.
        (["x/a"], {"y": "x"}, ["x/a"], ["y (is x again)"]),
        (["x/a", "y/b"], {"x/u": "../y", "y/v": "../x"}, ["x/a", "y/b"], ["x/u (is y again)", "y/v (is x again)"]),
        (["x/a"], {"x/up": ".."}, ["x/a"], ["x/up (is root again)"]),
        (["a"], {"b": "a", "c": "b"}, ["a"], ["b (is a again)", "c (is a again)"]),
        (["../out/deep/a"], {"b": "../out/deep", "c": "../out"}, ["b/a"], ["c/deep (is b again)"]),
        # A cache names files by their hash, and its links say what they are.
        (["blobs/0f3c"], {"v1/a.jsonl": "../blobs/0f3c"}, ["v1/a.jsonl"], ["blobs/0f3c (is v1/a.jsonl again)"]),
        (
            [".blobs/0f3c"],
            {"v1/a.jsonl": "../.blobs/0f3c", "v2/a.jsonl": "../.blobs/0f3c"},
            ["v1/a.jsonl"],
            ["v2/a.jsonl (is v1/a.jsonl again)"],
        ),
        (["a.jsonl"], {"latest.jsonl": "a.jsonl"}, ["a.jsonl"], ["latest.jsonl (is a.jsonl again)"]),
        (["run.7"], {"latest.jsonl": "run.7"}, ["latest.jsonl"], ["run.7 (is latest.jsonl again)"]),
        # What cannot be followed.
        (["a"], {"gone": "nowhere", "round": "round"}, ["a"], ["gone", "round"]),
    ],
)
def test_each_file_is_met_once_whatever_links_lead_to_it(
    tmp_path: Path, files: list[str], links: dict[str, str], read: list[str], told: list[str]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name, target in links.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(target)
    left_out: list[str] = []
    assert [relative_name(file, root) for file in visible_files(root, left_out)] == read and left_out == told


def test_what_is_no_ordinary_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "null").symlink_to("/dev/null")
    left_out: list[str] = []
    assert visible_files(tmp_path, left_out) == []
    assert left_out == ["null (no ordinary file)", "pipe.jsonl (no ordinary file)"]


def test_what_is_read_as_data_is_known_by_its_ending() -> None:
    assert {*SUFFIXES, ".txt", ".md"} == DATA_SUFFIXES


@pytest.mark.parametrize(
    ("below", "rule"),
    [
        ("new", ""),
        ("a/b/new", ""),
        ("file", "is a file"),
        ("file/new", "{root}/file is a file, in which no folder can be made"),
        ("file/a/new", "{root}/file is a file, in which no folder can be made"),
        ("link/new", "{root}/link is a file, in which no folder can be made"),
    ],
)
def test_a_folder_needs_folders_above_it(tmp_path: Path, below: str, rule: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert closed_above(tmp_path / below) == rule.format(root=tmp_path)
    if rule:
        told = r"cannot be written \(.+\); give a folder that you can write to"
        with pytest.raises(DataError, match=told), whole_folder(tmp_path / below):
            pass
    else:
        with whole_folder(tmp_path / below):
            pass
        assert (tmp_path / below).is_dir()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"out: cannot be written .*No space left"), whole_folder(tmp_path / "out"):
        Path("/dev/full").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_what_the_filler_cannot_read_is_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out"):
        (tmp_path / "gone").read_text()
    with pytest.raises(DataError, match="out: cannot be written"), whole_folder(tmp_path / "out") as partial:
        (partial / "no folder" / "a").write_text("a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    assert closed_above(tmp_path / "closed" / "new") == f"{tmp_path}/closed cannot be written to"
    assert closed_above(tmp_path / "closed") == "cannot be written to"
    assert closed_above(tmp_path / "closed" / "new", to_write=False) == ""


def test_the_hash_follows_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    first = files_hash([one, two], tmp_path)
    assert first == files_hash([one, two], tmp_path) != files_hash([two, one], tmp_path)
    assert file_hash(one) != file_hash(two)
    two.write_text("3")
    changed = files_hash([one, two], tmp_path)
    assert len({first, changed, files_hash([one, two.rename(tmp_path / "three")], tmp_path)}) == 3


def test_a_name_that_is_not_utf8_has_a_printable_form(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    try:
        file.write_text("x")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    assert relative_name(file, tmp_path) == "caf\\xe9.txt"
    assert files_hash([file], tmp_path) == files_hash([file], tmp_path)


def test_a_home_folder_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_path("~/a") == Path("/somewhere/a")
    assert user_path("~no-such-user-here/a") == Path("~no-such-user-here/a")
    assert user_path("a/~") == Path("a/~")
