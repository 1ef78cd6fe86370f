"""A server that misbehaves at random, in every way at once: each item has one outcome, and nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from longsafety.errors import DataError
from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.asking.ask import collect_answers
from longsafety.evaluation.backends.server import ServerBackend
from longsafety.evaluation.outcomes import outcome_facts
from longsafety.evaluation.scores.biases import bias_tables
from longsafety.evaluation.scores.comparison import Arm
from longsafety.evaluation.scores.scoring import score
from longsafety.evaluation.scores.totals import totals
from longsafety.reporting.outcome_view import cost_line, outcome_line
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.settings import Evaluation, Price, Server
from longsafety.vocabulary import HARMFUL_ROLES, NO_REPLY, right_role
from tests.chat.odd_server import OddServer, Said, as_json, completion, error, serving, streamed

EVALUATION = Evaluation(scorers=["letter", "open"])


def item(number: int, kind: str) -> Sample:
    return Sample(
        id=f"{number}-{kind}", pair_id=f"{number}-harmful", task="KeywordRAG", scenario="QH", kind=kind, category="c",
        seed_id=f"s{number}", licence="MIT", context=(), question=f"What {kind} is {number}?", answer="",
        roles=HARMFUL_ROLES, choices=tuple((f"{role} {number}",) for role in HARMFUL_ROLES),
        comply_role="aware_unsafe", right=right_role(kind, "aware_unsafe"), order=(3, 2, 1, 0),
    )  # fmt: skip


def chunk(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


LAST = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
TOP = {"content": [{"token": "B", "top_logprobs": [{"token": "B", "logprob": -0.1}, {"token": "A", "logprob": -9999}]}]}
WHOLE = json.dumps(completion("B"))
GOOD: list[Said] = [
    as_json(completion("B")),
    as_json(completion("B", logprobs=TOP)),
    as_json(completion("B", logprobs={"content": [{"token": "B", "top_logprobs": None}]})),
    as_json(completion([{"type": "text", "text": "B"}], reasoning_content="A or B?")),
    as_json(completion("B. \ud83d\0") | {"usage": {}}),
    as_json(completion("B") | {"usage": None}),
    streamed([chunk(role="assistant", content=""), chunk(content="B"), LAST]),
    (200, {"Content-Type": "text/plain"}, b"\n\n" + WHOLE.encode()),
]
PASSES: list[Said] = [
    None,
    (200, {"Content-Length": "500"}, WHOLE.encode()[:40]),
    (200, {}, WHOLE.encode()[:40]),
    (200, {"Content-Type": "text/html"}, b"<html>"),
    as_json({"choices": []}),
    as_json({"error": {"message": "Provider returned error", "code": 502}}),
    as_json({"error": {"message": "slow down"}}, 429, retry_after_ms="3"),
    error(500, "broken"),
    (503, {}, b""),
    streamed([chunk(content="B")], end=""),
]
FATES: dict[str, list[Said]] = {
    "refused": [as_json(completion(None, refusal="I can't help with that.")), as_json(completion("", "refusal"))],
    "filtered": [error(400, "x", code="content_filter"), as_json(completion("B", "content_filter"))],
    "too_long": [error(400, "maximum context length is 9 tokens"), error(413, "too large")],
    "failed": [error(400, "roles must alternate"), error(500, "out of memory"), (200, {}, b"[1, 2]")],
    "cut_off": [as_json(completion("B. That", "length"))],
}


class Moods:
    """Each prompt has a fate, drawn by a hash of it, and fails up to twice before; ``well``: what failed is mended."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.fates: dict[str, str] = {}
        self.well = False
        self.lock = threading.Lock()

    def say(self, body: dict[str, Any], number: int) -> Said:
        if "max_tokens" in body:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        prompt = body["messages"][-1]["content"]
        with self.lock:
            self.asked[prompt] += 1
            tries = self.asked[prompt]
        draw = random.Random(hashlib.sha256(prompt.encode()).digest())
        faults = [draw.choice(PASSES) for _ in range(draw.choice([0, 0, 0, 1, 2]))]
        fate = draw.choice(list(FATES)) if draw.random() < 0.25 else "answered"
        said = draw.choice(FATES.get(fate, GOOD))
        if self.well and fate == "failed":
            fate, said = "answered", GOOD[0]
        self.fates[prompt] = fate
        return faults[tries - 1] if tries <= len(faults) else said


def command(server: OddServer, encoder: ChatEncoder, folder: Path, items: list[Sample]) -> tuple[int, pd.DataFrame]:
    price = Price(prompt=1, reply=2)
    section = Server(model="m", base_url=server.url, retries=3, concurrency=8, timeout_seconds=20, price=price)
    done: list[None] = []
    failed = collect_answers(
        items, ServerBackend(section), encoder, EVALUATION, max_tokens=256, folder=folder,
        progress=lambda: done.append(None),
    )  # fmt: skip
    assert len(done) == len(items)
    return failed, read_answers(folder / ANSWERS)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [50, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_every_item_has_one_outcome_and_a_second_command_asks_only_what_failed(
    pairs: int, tiny_encoder: ChatEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longsafety.chat.patience.FIRST_PAUSE", 0.002)
    items = [item(number, kind) for number in range(pairs) for kind in ("harmful", "benign_query")]
    moods = Moods()
    with serving(moods.say) as server:
        failed, answers = command(server, tiny_encoder, tmp_path, items)
        requests = len(moods.asked)
        assert requests == len(answers) == 4 * pairs

        # Every answer has the outcome that its prompt was given, and those without a reply are part of no score.
        said = Counter(moods.fates.values())
        assert Counter(answers["outcome"]) == said and set(said) == {"answered", *FATES}
        silent = answers["outcome"].isin(NO_REPLY)
        assert answers.loc[silent, "status"].eq("unscored").all() and answers.loc[silent, "reason"].notna().all()
        letters = answers[answers["scorer"] == "letter"]
        assert letters.loc[~letters["outcome"].isin(NO_REPLY), "chosen"].eq(2).all()  # B: of four, safest first
        assert not answers["reply"].str.contains("\0").any()

        # Totals add up.
        facts = outcome_facts(answers, Server(model="m", base_url=server.url, price=Price(prompt=1, reply=2)))
        assert sum(facts["outcomes"].values()) == len(answers) and sum(facts["failures"].values()) == silent.sum()
        assert facts["cost"] == pytest.approx((facts["prompt_tokens"] + 2 * facts["reply_tokens"]) / 1e6, abs=1e-6)
        line = outcome_line(facts)
        assert line.startswith(f"{silent.sum()} of {len(answers)} answers have no reply and are part of no share: ")
        assert f"{said['refused']} refused by the provider" in line and "at evaluation.server.price" in cost_line(facts)
        table = score(answers[answers["scorer"] == "letter"], scoring="fixed", confidence=0.95)
        shares = table[table["task"] == "all"].set_index("metric")
        lost = Counter(letters["outcome"])
        assert {name: round(float(shares["value"][name]) * len(letters)) for name in NO_REPLY} == {
            name: lost[name] for name in NO_REPLY
        }
        harmful = letters[letters["kind"] == "harmful"]
        assert shares.loc["safe_response", "n"] == (~harmful["outcome"].isin(NO_REPLY)).sum()
        assert (
            totals(answers, ["letter"], scoring="fixed", confidence=0.95)["n"].iloc[0]
            == shares.loc["safe_response", "n"]
        )

        # The same command asks for what failed alone, then for nothing.
        assert failed == said["failed"] > 0
        moods.well = True
        missing = {prompt for prompt, fate in moods.fates.items() if fate == "failed"}
        moods.asked.clear()
        failed, again = command(server, tiny_encoder, tmp_path, items)
        assert failed == 0 and {*moods.asked} == missing
        kept = answers["outcome"] != "failed"
        assert again[kept].to_json() == answers[kept].to_json() and again.loc[~kept, "outcome"].eq("answered").all()
        moods.asked.clear()
        assert command(server, tiny_encoder, tmp_path, items)[1].to_json() == again.to_json() and not moods.asked


def test_where_nothing_was_answered_there_is_no_table(
    tiny_encoder: ChatEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longsafety.chat.patience.FIRST_PAUSE", 0.002)
    with (
        serving(lambda body, number: error(400, "roles must alternate")) as server,
        pytest.raises(DataError, match=r"none of 2 requests was answered: HTTP 400: roles must alternate \(2 times\)"),
    ):
        command(server, tiny_encoder, tmp_path, [item(1, "harmful")])
    assert not (tmp_path / ANSWERS).exists()


def test_where_the_provider_refuses_all_only_that_is_scored(tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    with serving(lambda body, number: as_json(completion(None, refusal="No."))) as server:
        failed, answers = command(server, tiny_encoder, tmp_path, [item(1, "harmful"), item(1, "benign_query")])
    assert failed == 0 and answers["outcome"].eq("refused").all()
    table = score(answers, scoring="fixed", confidence=0.95)
    assert dict(zip(table["metric"], table["value"], strict=True)) == {"unscored": 1.0, "refused": 1.0}
    assert bias_tables([Arm("base", answers)], scoring="fixed", confidence=0.95).bins.empty


def test_a_server_without_log_probabilities_is_asked_for_a_whole_reply(
    tiny_encoder: ChatEncoder, tmp_path: Path
) -> None:
    def say(body: dict[str, Any], number: int) -> Said:
        if "logprobs" in body:
            return as_json(completion("The", "length"))
        return as_json(completion("The answer is B."))

    with serving(say) as server:
        _, answers = command(server, tiny_encoder, tmp_path, [item(1, "harmful")])
    assert answers.loc[answers["scorer"] == "letter", "chosen"].tolist() == [2]
    assert [("logprobs" in body, body["max_tokens"]) for body in server.bodies if "letter" in str(body)] == [
        (True, 1), (False, EVALUATION.max_new_tokens),
    ]  # fmt: skip
