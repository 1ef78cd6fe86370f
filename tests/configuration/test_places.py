"""Places to write to: local, below folders, and not where the same command reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError

CONVERT = ("scale=smoke", "stages=[build,export]", "export.format=messages")


def problems(*arguments: str) -> list[str]:
    try:
        settle(compose_jobs(arguments))
    except ConfigError as error:
        return error.problems
    return []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "chats" / "below").mkdir(parents=True)
    (tmp_path / "chats" / "a.jsonl").touch()
    (tmp_path / "again").symlink_to("chats")
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("address", ["s3://bucket/x", "hf://datasets/owner/name", "file:///tmp/x", "GS+x://y"])
@pytest.mark.parametrize("key", ["export.path", "paths.outputs", "paths.cache", "evaluation.answers", "reuse.weights"])
def test_an_address_is_no_local_path(here: Path, key: str, address: str) -> None:
    start = address.split("//")[0]
    rule = f"{key} = {address}: {start}// begins an address, and this setting takes a local path; give one, and copy"
    assert any(line.startswith(rule) for line in problems("scale=smoke", f"{key}={address}"))


def test_a_folder_that_is_called_like_an_address_can_be_given(here: Path) -> None:
    assert not problems("scale=smoke", "paths.outputs=./s3://bucket/x", "paths.cache=a:b")


@pytest.mark.parametrize("key", ["export.path", "paths.outputs", "paths.cache", "write_seeds.path"])
@pytest.mark.parametrize("path", ["file/x", "file/x/y", "/dev/null/x"])
def test_no_folder_can_be_made_in_a_file(here: Path, key: str, path: str) -> None:
    given = CONVERT if key == "export.path" else ("scale=smoke",)
    file = "/dev/null" if path.startswith("/") else here / "file"
    found = [line for line in problems(*given, f"{key}={path}") if f": {file} is a file, in which no folder" in line]
    assert len(found) == 1 and found[0].startswith(f"{key} = ") and "; give a " in found[0]


@pytest.mark.parametrize(
    ("source", "more"),
    [
        ("read.path", ()),
        ("corpus.source", ()),
        ("scenario.seeds", ()),
        ("evaluation.items.path", ()),
        ("write_seeds.documents", ()),
        ("data_mix.sources.mine.path", ("data_mix.sources.mine.kind=chats", "data_mix.sources.mine.share=1")),
    ],
)
@pytest.mark.parametrize("target", ["export.path", "paths.outputs", "paths.cache", "write_seeds.path"])
def test_nothing_is_written_where_it_would_be_read(here: Path, source: str, more: tuple[str, ...], target: str) -> None:
    rule = f"lies in {source} = {here}/chats, which would be read with what is written there; give a folder outside it"
    for folder in ("chats", "again"):
        for path in ("chats/out", "chats/below/x", "again/out"):
            given = (*CONVERT, f"{source}={folder}", *more, f"{target}={path}")
            assert any(line.endswith(rule) and line.startswith(f"{target} = ") for line in problems(*given)), path
    for path in ("chats/.hidden/x", "chats2", "out"):  # hidden folders are not read
        given = (*CONVERT, f"{source}=chats", *more, f"{target}={path}")
        assert not any("lies in" in line for line in problems(*given)), path


def test_an_export_beside_what_is_read_is_right(here: Path) -> None:
    assert not problems(*CONVERT, "read.path=chats", "export.path=chats-written")
    assert not problems(*CONVERT, "read.path=chats/a.jsonl", "export.path=chats/out")


@pytest.mark.parametrize("source", ["embedded", "plain"])
def test_a_split_that_chooses_nothing_is_told_before_anything_is_made(here: Path, source: str) -> None:
    source = "embedded" if source == "embedded" else "chats"
    [line] = problems("scale=smoke", f"corpus={source}", "corpus.split=test")
    assert line.startswith(f"corpus.split = test: {source} is no dataset with splits")
    assert not problems("scale=smoke", "corpus=owner/name", "corpus.split=test")


@pytest.mark.parametrize("path", ["x" * 300, "~nobody-here/x", "x/" * 3000])
def test_what_can_be_no_path_is_told_once_for_each_setting(here: Path, path: str) -> None:
    keys = ("corpus.source", "paths.outputs", "paths.cache")
    found = problems("scale=smoke", *(f"{key}={path}" for key in keys), "corpus.split=test")
    assert [line.split(" ")[0] for line in found] == list(keys)
