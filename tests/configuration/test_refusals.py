"""What a command cannot do is one line that names the place, the rule and the fix; nothing is trained."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from longsafety.errors import ConfigError
from longsafety.pipeline.launch import launch

if TYPE_CHECKING:
    from tests.conftest import Place


def refused(place: Place, *arguments: str) -> str:
    """The one line that the command writes; nothing was trained."""
    done = place.run(*arguments)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("longsafety: ")]
    # Before it, what the smallest scale leaves out is told.
    message, *behind = [line for line in ours if not line.startswith("longsafety: SafeMTLong is left out (")]
    # Behind it, a run that had begun says which one of the sweep it was and what is kept.
    assert all(
        re.match(r"longsafety: run 1 of \d+ \(.*\) failed; what is complete is kept, and the same command .*", line)
        for line in behind
    )
    assert len(behind) <= 1
    others = [line for line in done.stderr.splitlines() if line not in ours and "Loading" not in line]
    # A folder's bad documents are told one a line, and then counted.
    assert all(re.search(r"\d+ of \d+ documents are bad; fix them, or set on_bad_row=skip ", line) for line in others)
    assert len(others) <= 1
    assert not place.outputs.is_dir() or not place.stages("weights")
    return message.removeprefix("longsafety: ")


# Each starts the command.
pytestmark = pytest.mark.slow


def test_an_empty_corpus(place: Place, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    line = refused(place, f"corpus={empty}")
    assert re.match(rf"corpus\.source = {re.escape(str(empty))}: no \.txt.* file among its 0 file\(s\); give ", line)


def test_a_corpus_that_is_not_there(place: Place, tmp_path: Path) -> None:
    line = refused(place, f"corpus={tmp_path}/nothing.txt")
    assert re.match(rf"corpus\.source = {re.escape(str(tmp_path))}/nothing\.txt: no such file or folder; give ", line)


def test_a_corpus_shorter_than_the_context(place: Place, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.mkdir()
    for number in range(3):
        (short / f"{number}.txt").write_text(place.prose(number, paragraphs=1), "utf-8")
    line = refused(place, f"corpus={short}", "length=1k")
    assert re.search(r"documents left for this split have \d+ tokens, \d+ are needed; give a larger corpus or a ", line)


def test_text_that_is_not_utf8(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "latin1"
    folder.mkdir()
    (folder / "a.txt").write_text(place.prose(1), "utf-8")
    (folder / "b.txt").write_bytes(b"Stra\xdfe " + place.prose(2).encode())
    line = refused(place, f"corpus={folder}")
    assert re.match(
        rf"{re.escape(str(folder))}/b\.txt: is not UTF-8: byte 4 \(0xdf\) is not valid; .*set corpus\.encoding", line
    )


def rows(folder: Path, *documents: dict[str, str]) -> Path:
    folder.mkdir()
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents), "utf-8")
    return folder / "docs.jsonl"


def test_a_row_without_its_key(place: Place, tmp_path: Path) -> None:
    path = rows(tmp_path / "rows", {"text": place.prose(1)}, {"body": place.prose(2)})
    line = refused(place, f"corpus={path}")
    assert re.match(rf"{re.escape(str(path))}:2: no 'text'; there are: body; set corpus\.text_key ", line)


def test_two_documents_of_one_id(place: Place, tmp_path: Path) -> None:
    path = rows(
        tmp_path / "rows",
        {"id": "a", "text": place.prose(1)},
        {"id": "b", "text": place.prose(2)},
        {"id": "a", "text": "x"},
    )
    line = refused(place, f"corpus.source={path}", "corpus.id_key=id")
    assert re.match(rf"{re.escape(str(path))}:3: id 'a' is taken by {re.escape(str(path))}:1; make ids unique", line)


def test_a_length_smaller_than_the_question(place: Place) -> None:
    line = refused(place, "length.max_tokens=40")
    assert re.search(r"take \d+ tokens, more than the length 40; give a larger length\.max_tokens", line)


def test_outputs_that_cannot_be_written(place: Place) -> None:
    line = refused(place, "paths.outputs=/proc/longsafety")
    assert re.match(r"paths\.outputs = /proc/longsafety: cannot be written \(.+\); make it ", line)


def test_a_file_that_is_no_mlflow_store(place: Place) -> None:
    place.outputs.mkdir()
    (place.outputs / "mlflow.db").write_text("something else entirely", "utf-8")
    line = refused(place, "tracking=mlflow")
    assert re.match(r"tracking\.uri = sqlite:///.*mlflow\.db: this file is no SQLite database; ", line)
    assert "tracking=none" in line
    assert not (place.outputs / "stages").exists()


def test_a_model_without_a_chat_template(place: Place, tmp_path: Path) -> None:
    [source] = place.cache.glob("tiny-*-window2048-seed0")
    model = tmp_path / "model"
    shutil.copytree(source, model)
    (model / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    config.pop("chat_template", None)
    (model / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    line = refused(place, f"model.source={model}")
    assert re.match(rf"{re.escape(str(model))}: model path without a chat template; .*add a chat_template\.jinja", line)


def test_scoring_without_kept_answers(place: Place) -> None:
    line = refused(place, "stages=[score]")
    assert re.match(r"stages = \[score\]: no answers are kept for longsafety \(.+\); add evaluate to stages", line)


def test_a_later_command_mends_it(place: Place) -> None:
    """What the refused command had made whole is kept."""
    refused(place, "length.max_tokens=40")
    corpus = place.stage("corpus")
    before = place.made()
    place.succeed("stages=[build]", "scenario.train_samples=6")
    assert place.stage("corpus") == corpus
    assert {name: place.made()[name] for name in before} == before


def test_packages_that_are_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, before anything is built."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    asked = ["trainer=deepspeed_zero3", "model.attention=flash_attention_2", "training.share_prefixes=false"]
    jobs = [place.settings(*asked, *more) for more in ((), ("data_mix=base",))]
    with pytest.raises(ConfigError) as caught:
        launch(jobs, ["longsafety"])
    keys = [line.split(":")[0] for line in caught.value.problems]
    assert keys == ["model.attention = flash_attention_2", "trainer.strategy = deepspeed"]
    assert not place.outputs.joinpath("stages").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu(place: Place) -> None:
    done = place.run("trainer=gpu")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "trainer.accelerator = gpu: torch finds no CUDA GPU here; set trainer=cpu or trainer=auto" in done.stderr
    assert not place.outputs.joinpath("stages").exists()
