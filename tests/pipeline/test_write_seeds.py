"""``stages=[write_seeds]`` with a scripted server: all tasks, kills, budgets, the review, and what is built of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from longsafety.errors import DataError
from longsafety.pipeline.write_seeds import write_seed_file
from longsafety.samples.recipe import SampleFile
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.seed import Seed
from longsafety.vocabulary import PAPER_TASKS
from tests.conftest import Place
from tests.fake_server import FakeServer, serving
from tests.scripted_teacher import kind_of, made_requests, reply

FEW = ("write_seeds.train_items=6", "write_seeds.bench_items=4")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01, raising=False)  # for speed only
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    fake = FakeServer()
    fake.reply = reply
    with serving(fake):
        yield fake


def asking(place: Place, server: FakeServer, *more: str, number: int = 40) -> list[str]:
    """The command's arguments, for a file of made-up requests."""
    requests = place.outputs.parent / "requests.csv"
    requests.write_text("goal\n" + "".join(f"{text}\n" for text in made_requests(number)), "utf-8")
    return [
        "stages=[write_seeds]",
        "teacher=openai",
        "teacher.model=scripted",
        f"teacher.base_url={server.url}",
        f"write_seeds.requests={requests}",
        f"write_seeds.path={place.outputs.parent / 'made'}",
        *FEW,
        *more,
    ]


def made(place: Place) -> list[dict[str, Any]]:
    text = (place.outputs.parent / "made" / "seeds.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def decide(place: Place, **decisions: str) -> None:
    """Changes cells of the review: id → what stands in ``decision``."""
    path = place.outputs.parent / "made" / "review.csv"
    rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines(keepends=True)))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"decision": decisions.get(row["id"], decisions.get("every", row["decision"]))})


def loaded(place: Place, **more: Any) -> list[Seed]:
    return load_seeds(str(place.outputs.parent / "made"), **more).seeds


def own(place: Place, **more: Any) -> list[Seed]:
    return [seed for seed in loaded(place, **more) if seed.made_of]


def test_requests_alone_make_seed_items_for_every_task(
    place: Place, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_seed_file(place.settings(*asking(place, server)))
    said = capsys.readouterr().out
    rows = made(place)
    families = {(row.get("task", ""), row["split"]) for row in rows}
    assert families == {
        *((task, "train") for task in ("", "LawQA", "SafeMTLong", "MedicalQuiz", "PoliticallyIncorrect", "Crimes")),
        *((task, "bench") for task, fact in PAPER_TASKS.items() if fact.bench_items and "Crim" not in task)
        - {("HarmfulExtraction", "bench"), ("HarmfulTendency", "bench")}
        if False
        else {
            *(
                (task, "bench")
                for task, fact in PAPER_TASKS.items()
                if fact.bench_items and task not in ("CountingCrimes", "HarmfulExtraction", "HarmfulTendency")
            ),
            ("Crimes", "bench"),
        },
    }
