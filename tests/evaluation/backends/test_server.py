"""The same model, asked here and behind an OpenAI-compatible server: the same answers, whatever the server does."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longsafety.errors import DataError
from longsafety.evaluation.answers import ANSWERS, read_answers
from longsafety.evaluation.asking.ask import collect_answers
from longsafety.evaluation.asking.backend import Question
from longsafety.evaluation.asking.journal import JOURNAL
from longsafety.evaluation.backends.server import ServerBackend
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.model.load import load_model
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span
from longsafety.settings import Evaluation, Model, Server
from longsafety.vocabulary import HARMFUL_ROLES, right_role

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_one_thread")]
EVALUATION = Evaluation(scorers=["letter", "generate", "open"], max_new_tokens=4, max_open_tokens=4, orders="cyclic")


def item(number: int, kind: str) -> Sample:
    return Sample(
        id=f"{number}-{kind}", pair_id=f"{number}-harmful", task="KeywordRAG", scenario="QH", kind=kind, category="c",
        seed_id=f"s{number}", licence="MIT", context=(Span(number, 0, 40), " The end."),
        question=f"What {kind} is {number}?", answer="", history=(("Hello.", "Hi."),) if number == 1 else (),
        goal="before" if number == 2 else "after",
        roles=HARMFUL_ROLES, choices=tuple((f"{role} {number}",) for role in HARMFUL_ROLES),
        comply_role="aware_unsafe", right=right_role(kind, "aware_unsafe"), order=(3, 2, 1, 0),
    )  # fmt: skip


ITEMS = [item(number, kind) for number in range(4) for kind in ("harmful", "benign_query")]
LETTERS = 4 * (4 + 4)
LETTERS_SHOWN = "ABCD"


class Tiny:
    """A server around a model; ``mend`` may change what it says, or fail by an HTTP status."""

    def __init__(self, backend: TransformersBackend, encoder: ChatEncoder) -> None:
        self.backend, self.tokenizer = backend, encoder.tokenizer
        self.mend: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | int] = lambda body, said: said
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.under_way = self.most = 0
        self.lock, self.model_lock, self.pause = threading.Lock(), threading.Lock(), 0.0
        self.url = ""

    def say(self, body: dict[str, Any]) -> dict[str, Any] | int:
        text = self.tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        prompt = np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        with self.model_lock:
            ends = {"end_ids": [self.tokenizer.eos_token_id], "pad_id": self.tokenizer.pad_token_id}
            (ids,) = self.backend.replies([prompt], max_new_tokens=body["max_tokens"], **ends)
            said: dict[str, Any] = {"message": {"role": "assistant", "content": self.tokenizer.decode(ids)}}
            if body.get("logprobs"):
                everything = [np.array([token]) for token in range(len(self.tokenizer))]
                values = self.backend.loglikelihoods([Question(prompt, everything)])[0]
                named = [(self.tokenizer.decode([token]), float(values[token])) for token in np.argsort(-values)]
                top = [
                    {"token": token, "logprob": value, "bytes": None}
                    for token, value in named[: body["top_logprobs"]]
                    if token in LETTERS_SHOWN or len(re.sub(r"[^A-Za-z]", "", token)) != 1  # " A" is A's token too
                ]
                said["logprobs"] = {"content": [{"token": "", "logprob": 0, "bytes": None, "top_logprobs": top}]}
        return self.mend(body, said)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.bodies.append(body)
            self.times.append(time.monotonic())
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        said = self.say(body)
        time.sleep(self.pause)
        with self.lock:
            self.under_way -= 1
        usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
        content: dict[str, Any] = {"error": {"message": "out of order"}}
        if not isinstance(said, int):
            content = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "usage": usage}
            content |= {"choices": [{"index": 0, "finish_reason": "stop", **said}]}
        data = json.dumps(content).encode()
        handler.send_response(said if isinstance(said, int) else 200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


@pytest.fixture(scope="module")
def local(tiny_cache: Path, tiny_model: Model) -> TransformersBackend:
    return TransformersBackend(load_model(tiny_model, tiny_cache, seed=5), precision="32-true", accelerator="cpu")


@pytest.fixture
def server(local: TransformersBackend, tiny_encoder: ChatEncoder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tiny]:
    monkeypatch.setattr("longsafety.chat.patience.FIRST_PAUSE", 0.01)  # for speed only
    monkeypatch.setattr(
        "longsafety.evaluation.asking.letters.LEAST_MASS", 0.0
    )  # of a random model all tokens are alike
    tiny = Tiny(local, tiny_encoder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            tiny.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tiny.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield tiny
    listener.shutdown()
    listener.server_close()


def put(backend: Any, encoder: ChatEncoder, folder: Path, evaluation: Evaluation = EVALUATION) -> Any:
    folder.mkdir(exist_ok=True)
    done: list[None] = []
    collect_answers(
        ITEMS, backend, encoder, evaluation, max_tokens=256, folder=folder, progress=lambda: done.append(None)
    )
    assert len(done) == len(ITEMS)
    return read_answers(folder / ANSWERS)


def opened(server: Tiny, **changes: Any) -> ServerBackend:
    values: dict[str, Any] = {"model": "tiny", "base_url": server.url, "retries": 0, "concurrency": 3}
    return ServerBackend(Server(**values | {"top_logprobs": 2000} | changes))


def test_the_answers_are_those_of_the_model_itself(
    server: Tiny,
    local: TransformersBackend,
    tiny_encoder: ChatEncoder,
    tmp_path: Path,
) -> None:
    expected, found = put(local, tiny_encoder, tmp_path / "here"), put(opened(server), tiny_encoder, tmp_path / "there")
    same = ["item_id", "scorer", "order_index", "chosen", "status"]
    assert found[same].equals(expected[same])
    letters = found["scorer"] == "letter"
    assert letters.sum() == LETTERS and found.loc[letters, "status"].eq("ok").all()
    assert found["margin"].to_numpy(dtype=float) == pytest.approx(
        expected["margin"].to_numpy(dtype=float), abs=1e-4, nan_ok=True
    )
    assert found.loc[~letters, "reply"].tolist() == expected.loc[~letters, "reply"].tolist()
    assert {body["temperature"] for body in server.bodies} == {0.0}
    assert 1 < server.most <= 3


def test_tokens_of_a_letter_are_added_and_one_without_has_at_most_the_last_ones_chance(
    server: Tiny, tiny_encoder: ChatEncoder, tmp_path: Path
) -> None:
    top = [("Sure", 0.5), (" B", 0.2), ("B", 0.1), (" D", 0.05), ("x", 0.01)]
    tokens = [{"token": token, "logprob": math.log(value), "bytes": None} for token, value in top]
    content = [{"token": "Sure", "logprob": -0.5, "bytes": None, "top_logprobs": tokens}]
    server.mend = lambda body, said: said | {"logprobs": {"content": content}}
    found = put(opened(server), tiny_encoder, tmp_path, Evaluation(scorers=["letter"]))
    harmful = found[found["kind"] == "harmful"].iloc[0]  # its options stand safest first
    assert np.exp(list(harmful["scores"])) == pytest.approx([0.05, 0.01, 0.3, 0.01])
    assert harmful["margin"] == pytest.approx(math.log(6))
    assert harmful["chosen"] == 2
    alone = {"content": [content[0] | {"top_logprobs": [{"token": "Sure", "logprob": None}]}]}
    server.mend = lambda body, said: {"message": {"role": "assistant", "content": "Sure"}, "logprobs": alone}
    found = put(opened(server), tiny_encoder, tmp_path / "none", Evaluation(scorers=["letter"]))
    assert found["status"].eq("unparsed").all() and found["margin"].isna().all()


@pytest.mark.parametrize("asked", [20, None])
def test_without_log_probabilities_the_letter_is_read_off_the_reply(
    server: Tiny, tiny_encoder: ChatEncoder, tmp_path: Path, asked: int | None
) -> None:
    server.mend = lambda body, said: {"message": {"role": "assistant", "content": "B"}}
    evaluation = Evaluation(scorers=["letter"])
    found = put(opened(server, top_logprobs=asked), tiny_encoder, tmp_path, evaluation)
    assert found["status"].eq("ok").all() and found["margin"].isna().all()
    assert found.loc[found["kind"] == "harmful", "chosen"].eq(2).all()
    assert all(("logprobs" in body) == (asked is not None) for body in server.bodies)


def test_the_first_token_of_a_thought_is_no_letter(server: Tiny, tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    def mend(body: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
        if "logprobs" not in body:
            return {"message": {"role": "assistant", "content": "B", "reasoning_content": "A is asked."}}
        top = [{"token": letter, "logprob": value} for letter, value in (("A", -0.1), ("B", -3.0))]
        first = {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": top}]}
        thought = {"role": "assistant", "content": None, "reasoning_content": "A"}
        return {"message": thought, "finish_reason": "length", "logprobs": first}

    server.mend = mend
    found = put(opened(server), tiny_encoder, tmp_path, Evaluation(scorers=["letter"]))
    assert found["reply"].eq("B").all() and found["margin"].isna().all()


def test_a_server_that_fails_midway_ends_the_run_and_nothing_is_asked_twice(
    server: Tiny, local: TransformersBackend, tiny_encoder: ChatEncoder, tmp_path: Path
) -> None:
    server.mend = lambda body, said: said if len(server.bodies) <= 10 else 500
    with pytest.raises(
        DataError, match=r"evaluation\.server.*refuses.*\d+ answers are missing.*the same command continues"
    ):
        put(opened(server), tiny_encoder, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    kept = [row for row in rows if row.get("outcome") != "failed"]
    assert len(kept) >= 8
    server.mend, server.bodies = (lambda body, said: said), []
    found = put(opened(server), tiny_encoder, tmp_path)
    assert len(server.bodies) == len(found) - len(kept)
    expected = put(local, tiny_encoder, tmp_path / "here")
    assert found["chosen"].tolist() == expected["chosen"].tolist()


def test_a_failure_is_asked_again(server: Tiny, tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    failed: set[str] = set()

    def once(body: dict[str, Any], said: dict[str, Any]) -> dict[str, Any] | int:
        text = json.dumps(body)
        if text in failed:
            return said
        failed.add(text)
        return 503

    server.mend = once
    found = put(opened(server, retries=1), tiny_encoder, tmp_path, Evaluation(scorers=["letter"]))
    assert len(found) == len(ITEMS) and len(server.bodies) == 2 * len(ITEMS)


def test_the_budget_ends_a_run_and_the_next_goes_on(server: Tiny, tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    evaluation = Evaluation(scorers=["letter"])
    with pytest.raises(DataError, match=r"evaluation\.server\.budget_tokens = 300: 300 tokens are spent.*5 answers"):
        put(opened(server, budget_tokens=300, concurrency=1), tiny_encoder, tmp_path, evaluation)
    found = put(opened(server, budget_tokens=600, concurrency=1), tiny_encoder, tmp_path, evaluation)
    assert len(found) == len(server.bodies) == len(ITEMS)


def test_requests_keep_their_distance(server: Tiny, tiny_encoder: ChatEncoder, tmp_path: Path) -> None:
    put(opened(server, requests_per_minute=1200), tiny_encoder, tmp_path, Evaluation(scorers=["letter"]))
    assert server.times[-1] - server.times[0] > 0.8 * 7 * 0.05
