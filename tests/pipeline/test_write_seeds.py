"""``stages=[write_seeds]`` with a scripted server: all tasks, kills, budgets, the review, and what is built of it."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from longsafety.errors import DataError
from longsafety.pipeline.addresses import seeds as seeds_address
from longsafety.pipeline.write_seeds import write_seed_file
from longsafety.samples.recipe import SampleFile
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.review import USED_UNREVIEWED
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.registry import TASKS, option_roles
from longsafety.scenarios.write_seeds.families import FAMILIES
from longsafety.vocabulary import PAPER_TASKS
from tests.conftest import Place
from tests.fake_server import FakeServer, serving
from tests.scripted_teacher import kind_of, made_requests, mix, reply

pytestmark = pytest.mark.slow

FEW = ("write_seeds.train_items=3", "write_seeds.bench_items=2")


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
    return load_seeds(str(place.outputs.parent / "made"), roles=option_roles(), **more).seeds


def own(place: Place, **more: Any) -> list[Seed]:
    return [seed for seed in loaded(place, **more) if seed.made_of]


def test_requests_alone_make_seed_items_for_every_task_and_a_second_command_asks_nothing(
    place: Place, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = place.settings(*asking(place, server))
    write_seed_file(settings)
    said = capsys.readouterr().out
    seeds = own(place)
    for name, fact in PAPER_TASKS.items():
        for split in [*(["train"] if fact.trained else []), *(["bench"] if fact.bench_items else [])]:
            number = sum(seed.split == split and TASKS[name].accepts(seed) for seed in seeds)
            assert number == (3 if split == "train" else 2), (name, split)
    bench = [seed for seed in seeds if seed.split == "bench"]
    assert all(seed.options for seed in bench)
    assert all(seed.passage for seed in bench if seed.benign_request)
    assert all(len(seed.safe_answers) == 1 for seed in seeds if seed.split == "train" and seed.safe_answer)
    assert {seed.review_state for seed in seeds} == {"unreviewed"}
    assert all(seed.made_of.startswith("requests/") and "openai:scripted" in seed.writers[0] for seed in seeds)
    halves = {split: {seed.made_of for seed in seeds if seed.split == split} for split in ("train", "bench")}
    assert not halves["train"] & halves["bench"]
    card = yaml.safe_load((place.outputs.parent / "made" / "card.yaml").read_text("utf-8"))
    rejected = sum(count for name, count in card["counts"].items() if "rejected by the validator" in name)
    assert rejected >= sum("An earlier reply was rejected" in prompt for prompt in server.asked) > 30
    assert sum("rejected by the validator" in line for line in said.splitlines()) > 20
    assert {kind_of(prompt) for prompt in server.asked} == {
        *(step.kind for family in FAMILIES for step in (family.first, *family.steps)),
    } - {"request"}  # the requests are the user's
    first, asked = made(place), server.asked.total()
    assert set(server.asked.values()) == {1}
    write_seed_file(settings)
    assert made(place) == first and server.asked.total() == asked


def test_a_kill_half_way_loses_nothing(place: Place, server: FakeServer) -> None:
    """The process is killed while the server withholds a reply: every reply before it is in the cache."""
    arguments = asking(place, server, "teacher.concurrency=1")
    held = threading.Event()

    def answer(prompt: str) -> str:
        if len(server.asked) == 80 and not held.is_set():
            held.set()
            time.sleep(3600)
        return reply(prompt)

    server.reply = answer
    place.kill_when(held.is_set, *arguments)
    server.reply = reply
    write_seed_file(place.settings(*arguments))
    twice = [prompt for prompt, count in server.asked.items() if count > 1]
    assert len(twice) == 1  # the one that had no reply
    assert len(own(place)) == 3 * 7 + 2 * 8


def test_the_budget_in_money_is_kept(place: Place, server: FakeServer) -> None:
    server.usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    arguments = asking(place, server, "teacher.concurrency=1", "teacher.price.prompt=2", "teacher.price.reply=6")
    with pytest.raises(
        DataError, match=r"^teacher\.budget_money = 0\.05: 0\.05 is spent; raise it, .* the 10 replies in .* are kept"
    ):
        write_seed_file(place.settings(*arguments, "teacher.budget_money=0.05"))
    assert server.asked.total() == 10
    assert not (place.outputs.parent / "made").exists()


def test_documents_give_questions_and_harmful_ones_statements_too(place: Place, server: FakeServer) -> None:
    for name in ("plain", "harmful"):
        folder = place.outputs.parent / name
        folder.mkdir(parents=True)
        for number in range(12):
            lines = " ".join(f"The {mix(f'{name} {number} {at}', 8)} came." for at in range(60))
            (folder / f"{number}.txt").write_text(lines, "utf-8")
    arguments = [part for part in asking(place, server) if not part.startswith("write_seeds.requests")]
    plain = f"write_seeds.documents={place.outputs.parent / 'plain'}"
    write_seed_file(place.settings(*arguments, plain))
    kinds = {TASKS[name].scenario for name in PAPER_TASKS for seed in own(place) if TASKS[name].accepts(seed)}
    assert kinds == {"QH", "FH"}  # many-shot histories are made of questions
    assert {seed.made_of.partition("/")[0] for seed in own(place)} == {"documents"}
    harmful = f"write_seeds.harmful_documents={place.outputs.parent / 'harmful'}"
    write_seed_file(place.settings(*arguments, harmful))
    statements = [seed for seed in own(place) if seed.statement]
    assert {seed.task for seed in statements} == {"", "HarmfulNIAH", "HarmfulAdvice", "DocAttack"}
    assert all(seed.question and seed.benign_statement for seed in statements)
    assert any(seed.crimes for seed in own(place))


# --- the review


def test_the_build_takes_what_was_accepted(place: Place, server: FakeServer) -> None:
    write_seed_file(place.settings(*asking(place, server, "write_seeds.tasks=[LawQA]", "write_seeds.train_items=6")))
    ids = [row["id"] for row in made(place)]
    assert len(ids) == 6
    with pytest.raises(DataError, match=r"none of its 6 seed items is accepted; accept some in .*review\.csv"):
        loaded(place, only_accepted=True)
    assert len(own(place)) == 6
    decide(place, **{ids[0]: "accept", ids[1]: "reject", ids[2]: "accepted"})
    assert [seed.id for seed in own(place, only_accepted=True)] == [ids[0], ids[2]]
    found = load_seeds(str(place.outputs.parent / "made" / "seeds.jsonl"))
    assert [seed.id for seed in found.seeds if seed.made_of] == [ids[0], *ids[2:]]
    assert found.counts["seed items of a teacher left out: rejected in the review"] == 1
    assert found.counts["seed items of a teacher that somebody has accepted"] == 2
    assert found.counts[USED_UNREVIEWED] == 3


def test_a_decision_moves_the_address_of_the_seed_items(place: Place, server: FakeServer) -> None:
    write_seed_file(place.settings(*asking(place, server, "write_seeds.tasks=[LawQA]", "write_seeds.train_items=6")))
    build = place.settings("stages=[build]", f"scenario.seeds={place.outputs.parent / 'made'}")
    before = seeds_address(build)
    decide(place, every="accept")
    accepted = seeds_address(build)
    only = place.settings("stages=[build]", f"scenario.seeds={build.scenario.seeds}", "scenario.only_accepted=true")
    assert len({before, accepted, seeds_address(only)}) == 3


def test_a_later_command_keeps_the_decisions(place: Place, server: FakeServer) -> None:
    few = asking(place, server, "write_seeds.tasks=[LawQA]")
    write_seed_file(place.settings(*few, "write_seeds.train_items=3"))
    decide(place, every="accept")
    write_seed_file(place.settings(*few, "write_seeds.train_items=5"))
    assert len(own(place)) == 5 and len(own(place, only_accepted=True)) == 3
    assert not (place.outputs.parent / "made" / "review.before.csv").exists()
    write_seed_file(place.settings(*few, "write_seeds.train_items=2"))
    assert len(own(place, only_accepted=True)) == 2
    assert (place.outputs.parent / "made" / "review.before.csv").exists()  # one decision has no item


# --- the build


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(280)
def test_the_seed_file_builds_all_of_the_papers_samples_without_a_call(place: Place, server: FakeServer) -> None:
    write_seed_file(place.settings(*asking(place, server)))
    decide(place, every="accept")
    asked = server.asked.total()
    place.execute(
        "stages=[build]",
        "scenario=longsafety",
        "length=512",
        "limits.builds=false",
        f"scenario.seeds={place.outputs.parent / 'made'}",
        "scenario.only_accepted=true",
        *(part for part in asking(place, server) if part.startswith("teacher")),
    )
    assert server.asked.total() == asked
    ids = {row["id"] for row in made(place)}
    samples = SampleFile(place.stage("samples") / "samples.parquet")
    harmful = [at for at, kind in enumerate(samples.column("kind")) if kind == "harmful"]
    assert len(harmful) == 17468
    drawn = samples.column("seed_id")
    assert {drawn[at].removesuffix("/statement") for at in harmful} <= ids
    items = SampleFile(place.stage("benchmark") / "samples.parquet")
    assert {*items.column("task")} == {name for name, fact in PAPER_TASKS.items() if fact.bench_items}
    assert {*items.column("seed_id")} <= ids


def test_the_command_refuses_what_cannot_be_written(place: Place, server: FakeServer) -> None:
    full = place.outputs.parent / "full"
    full.mkdir(parents=True)
    (full / "thesis.txt").write_text("mine", "utf-8")
    done = place.run("stages=[write_seeds,build]", f"write_seeds.path={full}", "write_seeds.tasks=[Poetry]")
    assert done.returncode == 2
    for line in (
        "write_seeds must be the only stage",
        "teacher.kind = template: writes no seed items",
        "holds other files (thesis.txt)",
        "write_seeds.harmful_documents = None: seed items are made of something",
        "write_seeds.tasks = [Poetry]: no task of the paper",
    ):
        assert line in done.stderr
    forgotten = place.run("stages=[build]", f"write_seeds.path={full}")
    assert "stages has no write_seeds; set stages=[write_seeds]" in forgotten.stderr
    no_price = place.run(*asking(place, server, "teacher.budget_money=1"))
    assert "teacher.budget_money = 1: no cost is known without a price" in no_price.stderr
