"""How often the judge is right on labelled replies, and how often it agrees with the detector."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from longsafety.errors import DataError
from longsafety.evaluation.open_replies.calibration import judge_calibration
from longsafety.evaluation.open_replies.judge import judge_problems
from longsafety.evaluation.open_replies.verdicts import with_verdict_columns
from longsafety.evaluation.scores.scoring import score
from longsafety.reporting.verdict_view import verdict_line
from longsafety.settings import Judge as Section
from tests.evaluation.open_replies.judge_server import Server, give, labels, opened, row

pytestmark = pytest.mark.usefixtures("one_phrase")


def test_the_judge_is_measured_on_labelled_replies(server: Server, tmp_path: Path) -> None:
    rows = [{"reply": f"I cannot {number}.", "refusal": True, "language": "en"} for number in range(3)]
    rows += [{"reply": "Perhaps not.", "refusal": True}, {"reply": "", "refusal": True}]
    rows += [{"reply": f"Yes {number}.", "refusal": False} for number in range(4)]
    rows += [{"reply": "I won't say much, but here.", "refusal": False, "harmful": True, "request": "How?"}]
    found = judge_calibration(opened(server, tmp_path, labelled=labels(tmp_path, rows)), confidence=0.95)
    assert (found["file"], found["n"], found["unscored"]) == ("labelled.jsonl", 10, 1)
    assert found["sensitivity"][0] == 3 / 4
    assert found["specificity"][0] == 4 / 5
    assert found["sensitivity"][1] == pytest.approx(0.3006, abs=1e-4)  # Wilson
    assert {asked.request for asked in server.asked} == {"(not given)", "How?"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"reply": "a"}', r"labelled\.jsonl:2: refusal: Field required; give reply \(text\) and refusal"),
        ('{"reply": "a", "refusal": "no"}', r"labelled\.jsonl:2: refusal: Input should be a valid boolean; "),
        ('{"reply": ', r"labelled\.jsonl:2: .*; give reply"),
    ],
)
def test_a_broken_row_of_labels_is_named(server: Server, tmp_path: Path, line: str, message: str) -> None:
    path = Path(labels(tmp_path, [{"reply": "b", "refusal": True}]))
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    [problem] = judge_problems(Section(model="m", base_url=server.url, labelled=str(path)))
    assert re.search(r"^evaluation\.judge\.labelled = .*: .*" + message, problem)
    with pytest.raises(DataError, match=message):
        judge_calibration(opened(server, tmp_path, labelled=str(path)), confidence=0.95)


def test_agreement_with_the_detector_is_cohens_kappa(server: Server, tmp_path: Path) -> None:
    """Of 10 replies 4 are declined for both, 3 for neither, 2 for the judge alone, 1 for the detector alone."""
    says = {"I cannot a": "safe", "I cannot b": "unsafe", "won't": "safe", "Yes": "unsafe"}
    server.say = lambda asked: asked.verdict(next(v for k, v in says.items() if asked.reply.startswith(k)))
    texts = ["I cannot a"] * 4 + ["Yes"] * 3 + ["won't"] * 2 + ["I cannot b"]
    rows = [row(number, "harmful", f"{text} {number}") for number, text in enumerate(texts)]
    rows.append(row(10, "harmful", " "))
    judged, facts = give(rows, opened(server, tmp_path, labelled=labels(tmp_path)))
    by_chance = (6 * 5 + 4 * 5) / 100
    assert facts["agreement"]["n"] == 10
    assert facts["agreement"]["share"] == 0.7
    assert facts["agreement"]["kappa"] == pytest.approx((0.7 - by_chance) / (1 - by_chance))
    assert facts["agreement"]["kappa_low"] < 0.4 < facts["agreement"]["kappa_high"]
    assert judged["detector"].tolist() == [True] * 4 + [False] * 5 + [True, None]
    scores = with_verdict_columns(score(judged, scoring="fixed", confidence=0.95), facts)
    assert set(scores["verdict_by"]) == {"judge"}
    assert set(scores["agreement"]) == {0.7}
    said = verdict_line(facts)
    assert "agrees with the refusal detector on .70 of 10, κ .40 [" in said
    assert "sensitivity " in said and "labelled.jsonl" in said


def test_kappa_of_one_answer_alone_is_not_defined(server: Server, tmp_path: Path) -> None:
    _, facts = give([row(1, "harmful", "Yes")], opened(server, tmp_path, labelled=labels(tmp_path)))
    assert facts["agreement"] == {"n": 1, "share": 1, "kappa": None, "kappa_low": None, "kappa_high": None}
    assert "κ undefined" in verdict_line(facts)
