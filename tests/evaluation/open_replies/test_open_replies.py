"""Open replies, from the prompt to the report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.asking.ask import collect_answers
from longsafety.evaluation.asking.backend import TokenBackend
from longsafety.evaluation.asking.trials import question_sides, trials_of
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.evaluation.open_replies.sheet import KEY, SHEET
from longsafety.evaluation.open_replies.verdicts import VERDICTS, Request, give_verdicts, judge_request
from longsafety.model.tokenizer import load_tokenizer
from longsafety.pipeline.addresses import addresses
from longsafety.pipeline.compare import compare
from longsafety.pipeline.run import SWEEP, TABLE
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Goal, Sample, Span
from longsafety.settings import Evaluation
from longsafety.vocabulary import BENIGN_KINDS, HARMFUL_ROLES
from tests.evaluation.open_replies.judge_server import RULES, Server, fair, labels, rates

OPEN = Evaluation(scorers=["open"])
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_phrase")]

# Asking the model


def item(number: int, kind: str, **changes: Any) -> Sample:
    name = f"T-{number}"
    benign, roles = kind in BENIGN_KINDS, HARMFUL_ROLES
    values: dict[str, Any] = {
        "id": name if kind == "harmful" else f"{name}-{kind}", "pair_id": name, "task": "T", "scenario": "QH",
        "kind": kind, "category": "c", "seed_id": "s", "licence": "MIT", "answer": "unused", "num_tokens": 40,
        "context": () if kind == "short" else (Span(number, 0, 30),), "question": f"What about {kind} {number}?",
        "roles": roles, "choices": tuple((role,) for role in roles), "order": tuple(range(len(roles))),
        "comply_role": "hallucinates", "right": "hallucinates" if benign else "safe",
    }  # fmt: skip
    return Sample(**values | changes)


class Backend(TokenBackend):
    """Refuses where the question stands after the context."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.prompts: list[str] = []
        self.limits: set[int] = set()

    def loglikelihoods(self, questions: Sequence[Any]) -> list[np.ndarray]:
        raise AssertionError("nothing is read off log-likelihoods")

    def replies(self, prompts: Sequence[np.ndarray], **options: Any) -> list[np.ndarray]:
        return [self.reply(prompt, **options) for prompt in prompts]

    def facts(self) -> dict[str, int | str]:
        return {}

    def reply(self, prompt: np.ndarray, *, max_new_tokens: int, end_ids: Sequence[int], pad_id: int) -> np.ndarray:
        self.prompts.append(str(self.tokenizer.decode(prompt)))
        self.limits.add(max_new_tokens)
        after = self.prompts[-1].partition("What about")[0].count(" ") > 10
        return np.asarray(self.tokenizer("I cannot." if after else "Sure.")["input_ids"])


def test_the_bare_question_is_shown_on_both_sides_of_a_context(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    items = [item(0, "harmful"), item(0, "benign_query"), item(0, "short")]
    backend = Backend(tiny_encoder.tokenizer)
    evaluation = OPEN.model_copy(update={"open_prompts": "both", "max_open_tokens": 7})
    collect_answers(items, backend, tiny_encoder, evaluation, max_tokens=256, folder=tmp_path, progress=lambda: None)
    goals: tuple[Goal, ...] = ("after", "before")
    expected = [
        tiny_encoder.prompt_text(one.context, one.question, (), goal)
        for one in items
        for goal in (goals if one.context else goals[:1])
    ]
    assert backend.prompts == expected
    assert backend.limits == {7}
    answers = read_answers(tmp_path / ANSWERS)
    assert answers["order_index"].tolist() == [0, 1, 0, 1, 0]
    assert answers["status"].tolist() == ["unparsed"] * 5
    assert [list(roles) for roles in answers["roles"]] == [["unsafe", "safe"]] * 5
    assert answers["right"].tolist() == ["safe", "safe", "unsafe", "unsafe", "safe"]
    judged = give_verdicts(answers, {}, rules=RULES, judge=None, scoring="fixed")
    assert judged["verdict"].tolist() == ["safe", "unsafe", "over_refusal", "compliance", "unsafe"]
    assert rates(judged)["safe_response_all_orders"] == 0


def test_items_without_options_can_be_evaluated(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    bare = {"roles": (), "choices": (), "order": (), "comply_role": "", "right": ""}
    items = [item(0, "harmful", **bare), item(0, "benign_query", **bare)]
    backend = Backend(tiny_encoder.tokenizer)
    collect_answers(items, backend, tiny_encoder, OPEN, max_tokens=256, folder=tmp_path, progress=lambda: None)
    judged = give_verdicts(read_answers(tmp_path / ANSWERS), {}, rules=RULES, judge=None, scoring="fixed")
    assert judged["verdict"].tolist() == ["safe", "over_refusal"]
    assert judged["chosen"].tolist() == [1, 1]


def test_an_item_without_its_needle_is_not_asked_openly() -> None:
    assert trials_of(item(0, "absent"), OPEN) == []
    assert len(trials_of(item(0, "benign_needle"), OPEN)) == 1


def test_an_item_with_earlier_turns_has_one_side(tiny_encoder: ChatEncoder) -> None:
    one = item(0, "harmful", history=(("First?", "Yes."),))
    assert question_sides(one, "both") == [one]
    other = question_sides(item(0, "harmful", goal="before"), "both")
    assert [sample.goal for sample in other] == ["before", "after"]


def test_a_judge_is_shown_the_needle_and_the_question() -> None:
    one = item(0, "harmful", context=(Span(0, 0, 9), " The needle. ", Span(0, 9, 20)), needles=(1,))
    assert judge_request(one) == Request("The needle.\nWhat about harmful 0?", "en")


# The whole way


@pytest.mark.usefixtures("tiny_one_thread")
def test_open_replies_from_model_to_report(
    server: Server, place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.say = lambda asked: "prose" if "?" in asked.request and len(server.asked) % 3 == 0 else fair(asked)
    arguments = [
        "data_mix=base", "model=tiny", "length=256", "scenario.bench_items=6", "evaluation.scorers=[likelihood,open]",
        "evaluation.max_open_tokens=12", "evaluation.open_prompts=both",
        f"evaluation.judge={{model: judge, base_url: '{server.url}', retries: 0, labelled: '{labels(tmp_path)}'}}",
    ]  # fmt: skip
    generate = TransformersBackend.replies

    def talkative(self: Any, prompts: Sequence[np.ndarray], **options: Any) -> Iterator[np.ndarray]:
        """The model is asked, and one without weights to speak of says something all the same."""
        for prompt, ids in zip(prompts, generate(self, prompts, **options), strict=True):
            text = f"{'I cannot' if len(prompt) % 2 else 'Sure, I'} tell you all about the number {len(prompt)}."
            yield np.append(ids, np.asarray(tokenizer(text)["input_ids"]))

    settings = place.settings(*arguments)
    tokenizer = load_tokenizer(settings.model, Path(settings.paths.cache))
    monkeypatch.setattr(TransformersBackend, "replies", talkative)
    place.execute(*arguments)
    [run] = (path.parent for path in place.outputs.glob("runs/**/record.json"))
    answers = read_answers(run / VERDICTS)
    mine = answers[answers["scorer"] == "open"]
    record = json.loads((run / "record.json").read_text("utf-8"))
    facts = record["evaluation"]["open"]
    assert facts["replies"] == len(mine) == sum(facts["verdicts"].values()) > 10
    assert facts["verdicts"]["unscored"] == (mine["verdict"] == "unscored").sum() > 0
    assert not ((mine["verdict"] == "unscored") & (mine["chosen"] >= 0)).any()
    scores = pd.read_csv(run / "scores.csv")
    assert {one["task"] for one in facts["calibration"]} == set(facts["languages"]) == set(mine["task"])
    by_metric = pd.read_parquet(run / "scores.parquet")
    rows = by_metric.query("scorer == 'open' and metric == 'safe_response' and task != 'all'")
    assert rows["sensitivity"].notna().all() and rows["specificity"].notna().all()
    assert rows["corrected"].isna().all()  # this judge knows two phrases only: no better than chance
    assert scores.loc[scores["scorer"] != "open", "verdict_by"].isna().all()

    folder = tmp_path / "sweep"
    folder.mkdir()
    sweep = {"name": "open", "key": "k", "command": "longsafety", "runs": [str(run)], "tracking": {"enabled": False}}
    (folder / SWEEP).write_text(yaml.safe_dump(sweep | {"sheet": 4}), "utf-8")
    compare(folder)
    page, table = (folder / "report.html").read_text("utf-8"), (folder / TABLE).read_text("utf-8")
    for text in (" ".join(page.split()), " ".join(table.split())):
        assert re.search(r"open replies were judged by the judge judge: .*agrees with the refusal detector on", text)
        assert "judge answered in prose" in text
    replies = [reply for reply in mine["reply"] if len(reply.split()) > 4]
    assert replies
    assert not any(reply in text for reply in replies for text in (page, table, json.dumps(record)))

    shown = pd.read_parquet(folder / "scores.parquet").drop(columns="arm")
    kept = pd.read_parquet(run / "scores.parquet")[shown.columns]
    pd.testing.assert_frame_equal(shown, kept, check_dtype=False)

    asked = len(server.asked)
    place.execute(*arguments, "stages=[score]")
    assert len(server.asked) == asked

    sheet = pd.read_csv(folder / SHEET, encoding="utf-8-sig")
    key = pd.read_csv(folder / KEY, encoding="utf-8-sig")
    assert "4 open replies to label (safe or unsafe)" in " ".join(table.split())
    assert len(sheet) == 4 and set(key["arm"]) == {record["label"]} and key["kind"].isin(["harmful", "short"]).all()
    judged = {(one.request, one.reply) for one in server.asked}
    assert judged >= {*zip(sheet["question"], sheet["reply"], strict=True)}
    sheet["label"] = ["safe" if "I cannot" in reply else "unsafe" for reply in sheet["reply"]]
    sheet.loc[0, "label"] = ""
    sheet.to_csv(folder / SHEET, index=False)
    compare(folder)
    assert pd.read_csv(folder / SHEET, keep_default_na=False)["label"].tolist() == sheet["label"].tolist()
    labelled = place.execute(*arguments, "stages=[score]", f"evaluation.labels={folder / SHEET}").folder
    assert len(server.asked) == asked  # the judge has seen these replies
    people = json.loads((labelled / "record.json").read_text("utf-8"))["evaluation"]["open"]["people"]
    assert (people["n"], people["blank"], set(people["judges"])) == (3, 1, {"detector", "judge"})
    assert people["judges"]["judge"]["unscored"] == key["verdict"][1:].eq("unscored").sum()


def test_another_judge_needs_no_new_replies(place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels(tmp_path)
    judge = "evaluation.judge={model: one, base_url: 'http://127.0.0.1:9/v1', labelled: labelled.jsonl}"

    def made(*arguments: str) -> tuple[str, str]:
        settings = place.settings("data_mix=base", "model=tiny", "length=256", "evaluation.scorers=[open]", *arguments)
        found = addresses(settings)
        return found.answers, found.run

    answers, run = made(judge)
    assert place.settings("evaluation.scorers=[open]", judge).evaluation.judge.labelled == str(
        tmp_path / "labelled.jsonl"
    )
    for other in ([], [judge, "evaluation.judge.model=two"], [judge, "evaluation.judge.retries=9"]):
        assert made(*other)[0] == answers
        assert made(*other)[1] != run
    for changed in ("evaluation.max_open_tokens=7", "evaluation.open_prompts=both"):
        assert made(judge, changed)[0] != answers
    labels(tmp_path, [{"reply": "No.", "refusal": True}])
    assert made(judge)[0] == answers
    assert made(judge)[1] != run
