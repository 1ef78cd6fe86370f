"""The plan's estimate of an evaluation: compared with real runs, and by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longsafety.errors import DataError
from longsafety.evaluation.open_replies.labelled import LABELLED, read_labelled
from longsafety.evaluation.open_replies.references import references, sampled
from longsafety.planning.evaluation import evaluation_cost
from longsafety.planning.external import judge_calls, teacher_calls
from longsafety.planning.tables import money
from longsafety.planning.training import plan

if TYPE_CHECKING:
    from tests.conftest import Place

COMMAND = ["data_mix=base", "scenario=longsafety_bench", "scenario.bench_items=13", "length.max_tokens=768"]
SCORERS = [
    ["evaluation.scorers=[likelihood]"],
    ["evaluation.scorers=[letter]", "evaluation.orders=cyclic"],
    ["evaluation.scorers=[open]", "evaluation.max_open_tokens=2"],
]


@pytest.mark.slow
def test_a_run_computes_about_as_many_tokens_as_planned(place: Place) -> None:
    found = {}
    for scorers in SCORERS:
        before = set(place.stages("answers"))
        place.execute(*COMMAND, "stages=[build,evaluate]", *scorers)
        [folder] = {*place.stages("answers")} - before
        facts = json.loads((folder / "evaluation.json").read_text("utf-8"))
        found[" ".join(scorers)] = (
            evaluation_cost(place.settings(*COMMAND, *scorers)).computed / facts["prefilled_tokens"]
        )
    assert all(ratio == pytest.approx(1, abs=0.15) for ratio in found.values()), found


SERVER = [
    "evaluation.backend=openai",
    "evaluation.server.model=m",
    "evaluation.server.base_url=http://127.0.0.1:1/v1",
    "evaluation.server.top_logprobs=null",
]
JUDGE = ["evaluation.judge.model=j", "evaluation.judge.base_url=http://127.0.0.1:1/v1"]


@pytest.mark.slow
def test_orders_twins_and_replies_are_counted(place: Place) -> None:
    def of(*changed: str) -> int:
        return evaluation_cost(place.settings(*COMMAND, *changed)).computed

    letter, cyclic = of("evaluation.scorers=[letter]"), of("evaluation.scorers=[letter]", "evaluation.orders=cyclic")
    assert letter < cyclic < 2 * letter  # another order repeats the options, not the context
    alone = of("evaluation.scorers=[letter]", "evaluation.twins=[]")
    assert alone < letter < 3 * alone  # a needle's twins share only what stands before it
    blind = of("evaluation.scorers=[letter]", "evaluation.controls=[]")
    assert blind < letter < 1.5 * blind  # controls repeat the options behind a context that is computed already
    assert of("evaluation.scorers=[open]", "evaluation.open_prompts=both") > 3 * of("evaluation.scorers=[open]") // 2
    before = of("evaluation.scorers=[letter]", "scenario.goal=before")
    assert before > 3 * letter // 2  # each twin has its question first, so nothing is shared
    replies = evaluation_cost(
        place.settings(*COMMAND, "evaluation.scorers=[open,generate]", "evaluation.twins=[short]")
    ).replies
    assert replies == 13 * 2 * (128 + 32)


def test_a_server_is_sent_every_prompt_whole(place: Place) -> None:
    made = evaluation_cost(place.settings(*COMMAND, "evaluation.scorers=[letter]", "evaluation.twins=[]", *SERVER))
    assert made.computed == 0 and made.replies == 13 * 3 * 32  # an item and its two controls
    assert 39 * 768 < made.sent < 39 * (768 + 256)


def test_a_judge_has_bounds_and_a_budget(place: Place) -> None:
    judged = ["evaluation.scorers=[open]", "evaluation.twins=[short]", "evaluation.open_prompts=both", *JUDGE]
    [calls] = evaluation_cost(place.settings(*COMMAND, *judged, "evaluation.judge.budget_tokens=1000")).external
    labelled, opened = LABELLED.read_bytes().splitlines(), (13 + 13) * 2  # an item and its short form
    built = place.settings(*COMMAND, *judged).scenario
    names = [task for task, counts in built.tasks.items() if counts.bench]
    known = [one for task in names for one in sampled(references(task, "en"))]
    assert 40 * (len(names) - 1) <= len(known) <= 40 * len(names)
    assert (calls.who, calls.calls, calls.budget) == ("judge j", opened + len(labelled) + len(known), 1000)
    bytes_known = sum(600 + len((one.request + one.reply).encode()) for one in known)
    assert calls.tokens == opened * (400 + 200 + 256 + 128) + sum(600 + len(line) for line in labelled) + bytes_known
    assert not evaluation_cost(place.settings(*COMMAND)).external


def test_a_guard_behind_a_server_is_called_as_often_as_a_judge(place: Place) -> None:
    local = "{format:qwen3guard,model:tiny}"
    served = "{format:gpt_oss_safeguard,model:g,backend:server,base_url:'http://127.0.0.1:1/v1'}"
    open_only = ["evaluation.scorers=[open]", *JUDGE]
    settings = place.settings(*COMMAND, *open_only, f"+evaluation.guards=[{local},{served}]")
    judge, guard = evaluation_cost(settings).external
    assert (judge.who, guard.who) == ("judge j", "guard g"), "a local guard calls nobody"
    assert guard.calls == judge.calls > 0 and guard.tokens > judge.tokens, "it may reply at more length"
    assert (guard.budget, guard.money) == (None, 0.0)


def test_a_teacher_has_bounds_or_is_unknown(place: Place, tmp_path: Path) -> None:
    teacher = ["teacher=openai", "teacher.model=t", "teacher.base_url=http://127.0.0.1:1/v1", "data_mix=long_align"]
    made = place.settings(
        "scenario=longsafety", *teacher, "teacher.retries=1", "scenario.train_samples=10", "data_mix.budget=8"
    )
    [calls] = evaluation_cost(made).external
    assert (calls.who, calls.calls) == ("teacher t", 2 * 10 * 2)
    (tmp_path / "own.jsonl").write_text('{"request": "x"}\n' * 3, "utf-8")
    own = made.model_copy(update={"scenario": made.scenario.model_copy(update={"seeds": str(tmp_path / "own.jsonl")})})
    [calls] = evaluation_cost(own).external
    assert calls.calls == (2 * 10 + 3 * 8) * 2
    far = made.model_copy(update={"scenario": made.scenario.model_copy(update={"seeds": "somebody/somewhere"})})
    assert not evaluation_cost(far).external and any(
        "known once they are read" in line for line in evaluation_cost(far).unknowns
    )


def test_what_is_unknown_is_listed(place: Place) -> None:
    made = place.settings(*COMMAND, "evaluation.capability=[icl]", "evaluation.select.min_depth=.5")
    cost = evaluation_cost(made)
    assert cost.suites == 4 * 768 + 2 * 60 * 25
    assert any("select.min_depth is ignored" in line for line in cost.unknowns)
    capability = made.evaluation.model_copy(update={"capability": ["lm_eval:arc_easy"]})
    cost = evaluation_cost(made.model_copy(update={"evaluation": capability}))
    assert cost.suites == 0 and any("capability: the number of questions" in line for line in cost.unknowns)


def test_a_sweep_costs_what_its_prices_say(place: Place) -> None:
    """A training that two lengths share is paid once, every evaluation and the judge's tokens each time."""
    priced = ["trainer.price_per_hour=2", *JUDGE, "evaluation.scorers=[likelihood,open]"]
    charged = ["evaluation.judge.price.prompt=1000.0", "evaluation.judge.price.reply=5000.0"]
    judged = place.settings(*COMMAND, *priced, *charged)
    [judge] = evaluation_cost(judged).external
    replies = judge.calls * 200
    assert judge.money == pytest.approx((judge.tokens - replies) / 1e3 + replies / 200)
    one = replace(plan(place.settings(*COMMAND)), price_per_hour=2.0, hours={"A100-80G": 3.0}, devices=4)
    one = replace(one, evaluation_hours={"A100-80G": 0.5})
    assert money([one, one]) == "Cost, in the currency of the prices: 26.00: training 24.00, evaluation 2.00."
    assert money([replace(one, price_per_hour=0.0)]) is None


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n  \n"])
def test_only_a_line_feed_ends_a_row(ending: str, place: Place, tmp_path: Path) -> None:
    rows = [{"reply": f"a\u2028b\u2029c\x85{number}", "refusal": False} for number in range(3)]
    file = tmp_path / "rows.jsonl"
    text = ending.join(json.dumps(row, ensure_ascii=False) for row in rows) + ending
    file.write_text(text, "utf-8", newline="")
    judged = place.settings(
        *COMMAND, "evaluation.scorers=[open]",
        f"evaluation.judge={{base_url: http://h/v1, model: j, labelled: {file}}}",
    )  # fmt: skip
    [calls] = judge_calls(judged, 0)
    known = [one for name in judged.scenario.tasks for one in sampled(references(name, "en"))]
    assert calls.calls == len(read_labelled(file)) + len(known)
    written = judged.model_copy(
        update={
            "scenario": judged.scenario.model_copy(update={"seeds": str(file)}),
            "teacher": judged.teacher.model_copy(update={"kind": "model", "retries": 0}),
        }
    )
    unknowns: list[str] = []
    [calls] = teacher_calls(written, unknowns)
    assert calls.calls == 8 * len(rows) and not unknowns


def test_a_file_that_has_gone_since_it_was_checked_is_named(place: Place, tmp_path: Path) -> None:
    (file := tmp_path / "rows.jsonl").write_text('{"reply": "a", "refusal": false}\n', "utf-8")
    judge = f"evaluation.judge={{base_url: http://h/v1, model: j, labelled: {file}}}"
    judged = place.settings(*COMMAND, "evaluation.scorers=[open]", judge)
    file.unlink()
    with pytest.raises(DataError, match=r"rows\.jsonl: cannot be read \(No such file or directory\); give a file"):
        evaluation_cost(judged)
