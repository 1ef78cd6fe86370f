"""Files and folders appear whole or not at all; their hash follows names and contents, whatever the names are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from longsafety.files import (
    file_hash,
    files_hash,
    relative_name,
    user_path,
    visible_files,
    whole_file,
    whole_folder,
    write_text,
)


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
    with pytest.raises(OSError), whole_folder(tmp_path / "empty"):  # it is no longer empty, and stays as it is
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
    with pytest.raises(OSError, match="not empty"), whole_folder(place):
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
