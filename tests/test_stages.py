"""Content-addressed folders: made once, complete or absent, and never by two processes at a time."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from longsafety.errors import DataError
from longsafety.stages import MANIFEST, Store, address, damage, folder_name, writable


class Stop(Exception):
    """Stands for a killed process: nothing after it is executed."""


def write(text: str, name: str = "result.txt") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_text(text, "utf-8")

    return make


def fail_after(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_text("half", "utf-8")
        raise Stop

    return make


def test_a_stage_is_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.folder("samples", "k").is_dir()
    folder, made = store.ensure("samples", "k", write("first"))
    assert made
    assert folder == store.folder("samples", "k") == tmp_path / "stages" / "samples" / "k"
    again, made_again = store.ensure("samples", "k", write("second"))
    assert (again, made_again) == (folder, False)
    assert (folder / "result.txt").read_text("utf-8") == "first"
    assert store.folder("samples", "k").is_dir()


def test_stages_and_keys_do_not_meet(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folders = {store.ensure(stage, key, write(stage + key))[0] for stage in ("a", "b") for key in ("1", "2")}
    assert sorted((folder / "result.txt").read_text("utf-8") for folder in folders) == ["a1", "a2", "b1", "b2"]


def test_a_failed_make_leaves_no_complete_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(Stop):
        store.ensure("weights", "k", fail_after("half.txt"))
    assert not store.folder("weights", "k").is_dir()
    assert not store.folder("weights", "k").exists()


def test_what_is_not_resumable_begins_afresh(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(Stop):
        store.ensure("samples", "k", fail_after("half.txt"))
    folder, made = store.ensure("samples", "k", write("whole"))
    assert made
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "result.txt"]


def test_what_is_resumable_finds_what_it_had_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(Stop):
        store.ensure("weights", "k", fail_after("half.txt"), resumable=True)
    seen: list[str] = []

    def go_on(folder: Path) -> None:
        seen.extend(path.name for path in folder.iterdir())
        write("whole")(folder)

    folder, made = store.ensure("weights", "k", go_on, resumable=True)
    assert (seen, made) == (["half.txt"], True)
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "half.txt", "result.txt"]
    assert not folder.with_name("k.partial").exists()


def test_a_failure_gives_the_lock_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        with pytest.raises(Stop):
            store.ensure("samples", "k", fail_after("half.txt"))


def _ensure_slowly(outputs: Path, number: int) -> None:
    def make(folder: Path) -> None:
        with (outputs / "makers.txt").open("a", encoding="utf-8") as file:
            file.write(f"{number}\n")
        time.sleep(0.3)
        (folder / "maker.txt").write_text(str(number), "utf-8")

    folder, made = Store(outputs).ensure("corpus", "k", make)
    (outputs / f"saw-{number}.txt").write_text(f"{(folder / 'maker.txt').read_text('utf-8')} {made}", "utf-8")


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_ensure_slowly, args=(tmp_path, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    [maker] = (tmp_path / "makers.txt").read_text("utf-8").split()
    other = "1" if maker == "0" else "0"
    assert (tmp_path / f"saw-{maker}.txt").read_text("utf-8") == f"{maker} True"
    assert (tmp_path / f"saw-{other}.txt").read_text("utf-8") == f"{maker} False"


def _die_while_making(outputs: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half.txt").write_text("half", "utf-8")
        (outputs / "making").touch()
        time.sleep(60)

    Store(outputs).ensure("weights", "k", make, resumable=True)


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_while_making, args=(tmp_path,))
    process.start()
    while not (tmp_path / "making").exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join(10)
    store = Store(tmp_path)
    assert not store.folder("weights", "k").is_dir()
    folder, made = store.ensure("weights", "k", write("whole"), resumable=True)
    assert made
    assert (folder / "half.txt").exists()


# --- addresses ------------------------------------------------------------------------------------------------------


def test_an_address_is_short_and_fixed_by_its_parts() -> None:
    parts = ["train", {"b": 1, "a": [0.1, None]}, "größe"]
    assert re.fullmatch(r"[0-9a-f]{12}", address(*parts))
    assert address(*parts) == address("train", {"a": [0.1, None], "b": 1}, "größe")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        (("1",), (1,)),
        ((1,), (1.5,)),
        ((None,), ("None",)),
        ((), ("",)),
    ],
)
def test_different_parts_have_different_addresses(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert address(*one) != address(*other)


# --- a place to write -----------------------------------------------------------------------------------------------


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    writable(folder)
    assert folder.is_dir()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("below", ["", "runs/x"])
def test_a_file_in_the_way_is_told(tmp_path: Path, below: str) -> None:
    (tmp_path / "outputs").write_text("in the way", "utf-8")
    folder = tmp_path / "outputs" / below
    expected = (
        rf"^paths\.outputs = {re.escape(str(folder))}: cannot be written \(.+\); make it writable.*paths\.outputs$"
    )
    with pytest.raises(DataError, match=expected) as caught:
        writable(folder)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "outputs").read_text("utf-8") == "in the way"


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\).*free space"):
        writable(tmp_path / "outputs")
    assert not list((tmp_path / "outputs").iterdir())


def test_a_label_as_a_folder_name() -> None:
    assert folder_name("longsafety seed=0") == "longsafety-seed=0"
    long = [folder_name(f"base corpus.source=/{'data/' * 60}{end}") for end in "ab"] + [folder_name("海" * 200)]
    assert len(set(long)) == 3 and all(len(name.encode()) <= 80 for name in long)
    assert folder_name("a/b") != folder_name("a-b") and folder_name("..") not in ("..", "")


# --- damaged since ---------------------------------------------------------------------------------------------------


def grown(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "tokens.bin").write_bytes(b"x" * 100)
    (folder / "facts.json").write_text("{}")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (
        lambda folder: (folder / "sub" / "tokens.bin").write_bytes(b"x"),
        r"sub/tokens\.bin has 1 bytes of 100",
    ),
    "deleted": (lambda folder: (folder / "facts.json").unlink(), r"facts\.json is missing"),
    "a folder deleted": (lambda folder: shutil.rmtree(folder / "sub"), r"sub/tokens\.bin is missing"),
    "the note cut off": (lambda folder: (folder / MANIFEST).write_text("{"), r"\.files\.json cannot be read"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_was_damaged_is_named_and_made_again(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, (harm, problem) = Store(tmp_path), DAMAGE[how]
    folder, _ = store.ensure("corpus", "k", grown)
    assert damage(folder) == ""
    harm(folder)
    assert store.ensure("corpus", "k", grown) == (folder, True)
    assert re.search(rf"^longsafety: {folder}: {problem}; it is made again$", capsys.readouterr().err)
    assert (folder / "sub" / "tokens.bin").stat().st_size == 100
    assert store.ensure("corpus", "k", grown) == (folder, False)


def test_a_file_that_grew_or_came_is_no_damage(tmp_path: Path) -> None:
    folder, _ = Store(tmp_path).ensure("answers", "k", grown)
    (folder / "facts.json").write_text("{ }")
    (folder / "notes.txt").write_text("mine")
    assert damage(folder) == ""
    (folder / MANIFEST).unlink()
    assert damage(folder) == "", "made by an earlier version"


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o027, 0o640)])
def test_files_that_a_library_wrote_for_their_owner_follow_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    def private(folder: Path) -> None:
        write("x")(folder)
        (folder / "result.txt").chmod(0o600)

    before = os.umask(umask)
    try:
        folder, _ = Store(tmp_path).ensure("weights", "k", private)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {mode}
