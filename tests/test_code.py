"""Which source a version depends on: imports are followed, docstrings and comments are not read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from longsafety import code
from longsafety.code import Code

FILES = {
    "__init__.py": "",
    "train.py": '''
"""Trains."""
from typing import TYPE_CHECKING
from package.parts import loss
if TYPE_CHECKING:
    from package import page
def train():
    """A step."""
    from package.optimizer import step
    return step(loss.loss())
''',
    "optimizer.py": "import numpy as np\ndef step(value): return np.add(value, 1)\n",
    "page.py": "WIDTH = 80\n",
    "parts/__init__.py": '"""Parts."""\n',
    "parts/loss.py": 'def loss():\n    name = "en"\n    return open(f"words_{name}.yaml"), open("shape.json")\n',
    "parts/words_en.yaml": "a: 1\n",
    "parts/words_zh.yaml": "a: 2\n",
    "parts/shape.json": "{}",
    "parts/other.json": "{}",
    "parts/README.md": "words_en.yaml",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


@pytest.fixture
def moves(package: Path) -> Callable[[str, str, str], bool]:
    """Whether the version of ``train`` is another after a replacement in a file."""

    def moved(name: str, before: str, after: str) -> bool:
        old = Code(package, "package").version("train")
        text = (package / name).read_text("utf-8") if (package / name).exists() else ""
        assert before in text
        (package / name).write_text(text.replace(before, after) if before else after, "utf-8")
        return Code(package, "package").version("train") != old

    return moved


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("train.py", "return step", "return -step"),
        ("optimizer.py", "np.add(value, 1)", "np.add(value, 2)"),
        ("parts/loss.py", '"en"', '"zh"'),
        ("parts/words_en.yaml", "1", "3"),
        ("parts/words_zh.yaml", "2", "3"),
        ("parts/shape.json", "{}", "[]"),
        ("parts/__init__.py", '"""Parts."""', "EPSILON = 1"),
    ],
)
def test_what_it_imports_and_reads_counts(
    moves: Callable[[str, str, str], bool], name: str, before: str, after: str
) -> None:
    assert moves(name, before, after)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("train.py", "Trains.", "Trains a network."),
        ("train.py", "A step.", "One step."),
        ("train.py", "    return step", "    # why\n    return step"),
        ("optimizer.py", "return np", "\n    return np"),
        ("page.py", "80", "100"),
        ("parts/other.json", "{}", "[]"),
        ("parts/README.md", "words", "no words"),
        ("new.py", "", "x = 1"),
    ],
)
def test_docstrings_comments_layout_and_other_files_count_for_nothing(
    moves: Callable[[str, str, str], bool], name: str, before: str, after: str
) -> None:
    assert not moves(name, before, after)


def test_what_is_left_out_is_not_followed(package: Path) -> None:
    files, libraries = Code(package, "package").closure("train", without=["optimizer", "parts"])
    assert [file.name for file in files] == ["train.py"]
    assert not libraries
    assert Code(package, "package").closure("train")[1] == ["numpy"]


def test_a_library_of_another_version_is_another_version(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = Code(package, "package")
    before = code.version("train")
    monkeypatch.setattr("longsafety.code._installed", lambda library: "0.0")
    assert code.version("train") != before


def test_a_file_that_moves_into_a_folder_stays_in_the_version(package: Path) -> None:
    (package / "optimizer").mkdir()
    (package / "optimizer.py").rename(package / "optimizer" / "__init__.py")
    files, _ = Code(package, "package").closure("train")
    assert package / "optimizer" / "__init__.py" in files


def test_a_name_that_is_no_module_is_a_mistake(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"package\.nowhere"):
        Code(package, "package").version("nowhere")


def test_the_digest_covers_every_source_file(package: Path) -> None:
    before = Code(package, "package").digest()
    (package / "page.py").write_text("WIDTH = 80  # columns\n", "utf-8")
    assert Code(package, "package").digest() != before


def kept(package: Path) -> Path:
    (found,) = package.glob("__pycache__/syntax.*.json")
    return found


def test_what_was_read_is_kept_beside_the_compiled_files_and_counts_for_nothing(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = Code(package, "package").digest()
    version = Code(package, "package").version("train")
    assert Code(package, "package").digest() == before
    with monkeypatch.context() as patched:
        patched.setattr(code, "_parsed", None)
        assert Code(package, "package").version("train") == version
    kept(package).write_text(kept(package).read_text("utf-8").replace("numpy", "torch"), "utf-8")
    assert Code(package, "package").closure("train")[1] == ["torch"], "what is kept was not read"
    monkeypatch.setattr(code, "_reader", lambda: "another parser")
    assert Code(package, "package").version("train") == version


def test_texts_of_the_past_are_forgotten(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(code, "_MOST_KEPT", 4)
    for number in range(9):
        (package / "train.py").write_text(f"STEPS = {number}\n", "utf-8")
        version = Code(package, "package").version("train")
        assert len(json.loads(kept(package).read_text("utf-8"))["modules"]) <= 4
    monkeypatch.setattr(code, "_parsed", None)
    assert Code(package, "package").version("train") == version, "what was read last is kept"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"by": 1}', '{"by": "BY", "modules": [1]}', "\ud800"])
def test_what_is_kept_and_cannot_be_read_is_read_anew(
    package: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    version = Code(package, "package").version("train")
    kept(package).write_bytes(text.replace("BY", code._reader()).encode("utf-8", "surrogatepass"))
    assert Code(package, "package").version("train") == version


def test_nothing_is_kept_where_python_keeps_nothing(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    version = Code(package, "package").version("train")
    assert not (package / "__pycache__").exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (package / "__pycache__").write_text("a file in the way", "utf-8")
    assert Code(package, "package").version("train") == version
