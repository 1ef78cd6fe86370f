"""Comparisons of runs against tables worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import binomtest

from longsafety.errors import ConfigError, DataError
from longsafety.evaluation.scores.compare import compare
from longsafety.evaluation.scores.comparison import Arm, Comparison
from longsafety.evaluation.scores.scoring import score
from longsafety.evaluation.scores.statistics import cluster_bootstrap

HARMFUL = ["hallucinates", "ignores", "aware_unsafe", "safe"]
BENIGN = ["refuses", "ignores", "complies"]
OPTIONS: dict[str, Any] = {
    "scoring": "fixed",
    "confidence": 0.95,
    "bootstrap_samples": 300,
    "equivalence_margin": 0.05,
    "seed": 0,
}


def arm(label: str, chosen: list[int], *, kind: str = "harmful", max_tokens: int = 256, first: int = 0,
        task: str = "KeywordRAG", margins: list[float] | None = None) -> Arm:  # fmt: skip
    """Items i<first>, i<first+1>, … with these choices; ``margins`` move the score of the option that declines."""
    roles = HARMFUL if kind == "harmful" else BENIGN
    rows = []
    for place, choice in enumerate(chosen):
        pair = f"i{place + first}"
        scores = [0.0] * len(roles)
        scores[-1 if kind == "harmful" else 0] = margins[place] if margins else 0.0
        rows.append({
            "item_id": pair if kind == "harmful" else f"{pair}-{kind}", "pair_id": pair, "task": task, "kind": kind,
            "max_tokens": max_tokens, "scorer": "likelihood", "order_index": 0, "roles": roles, "scores": scores,
            "chosen": choice, "comply_role": "complies" if kind != "harmful" else roles[0],
            "status": "unparsed" if choice < 0 else "ok",
        })  # fmt: skip
    return Arm(label, pd.DataFrame(rows))


def alone(differences: list[float]) -> tuple[float, float]:
    """The interval of items that share no source."""
    return cluster_bootstrap(differences, [1] * len(differences), samples=300, confidence=0.95, seed=0)


def only(table: pd.DataFrame, **where: Any) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def test_paired_counts_interval_and_test() -> None:
    base = arm("base", [3, 0, 0, 0, 0, 0, 0, 0, 3, 3])
    tuned = arm("tuned", [0, 3, 3, 3, 3, 3, 3, 0, 3, 3])
    found = compare([base, tuned], baseline="base", **OPTIONS)
    row = only(found.paired, metric="safe_response", task="all")
    assert (row["arm"], row["against"], row["n"], row["gained"], row["lost"]) == ("tuned", "base", 10, 6, 1)
    assert row["difference"] == pytest.approx(0.5)
    assert row["p_value"] == pytest.approx(binomtest(6, 7).pvalue)
    interval = alone([-1.0] + [1.0] * 6 + [0.0] * 3)
    assert (row["low"], row["high"]) == pytest.approx(interval)
    assert set(found.paired["arm"]) == {"tuned"}
    assert found.notes == []


def test_scores_are_those_of_each_arm_alone() -> None:
    arms = [arm("base", [3, 0, 0]), arm("tuned", [3, 3, 0])]
    found = compare(arms, baseline="base", **OPTIONS)
    assert list(found.scores.columns[:2]) == ["arm", "scorer"]
    for one in arms:
        alone = score(one.answers, scoring="fixed", confidence=0.95)
        part = found.scores[found.scores["arm"] == one.label].drop(columns="arm").reset_index(drop=True)
        pd.testing.assert_frame_equal(part, alone)


def test_only_items_that_both_answered_are_paired_and_the_rest_is_noted() -> None:
    base, tuned = arm("base", [0, 0, 0, 0]), arm("tuned", [3, 3, 3], first=2)
    found = compare([base, tuned], baseline=None, **OPTIONS)
    row = only(found.paired, metric="safe_response", task="all")
    assert (row["n"], row["gained"]) == (2, 2)
    assert found.notes == [
        "tuned against base: 2 answers are paired; left out of the pairing are 1 that only tuned has and 2 that only "
        "base has."
    ]


def test_arms_without_common_items_have_no_test() -> None:
    found = compare([arm("base", [0]), arm("tuned", [3], max_tokens=512)], baseline="base", **OPTIONS)
    row = only(found.paired, metric="safe_response", task="all")
    assert (row["n"], row["gained"], row["lost"]) == (0, 0, 0)
    assert row[["difference", "low", "high", "p_value"]].isna().all()
    assert len(found.notes) == 1


def test_rows_over_all_tasks_pool_the_pairs() -> None:
    base = [arm("base", [0, 0]), arm("base", [3], first=2, task="HarmfulNIAH")]
    tuned = [arm("tuned", [3, 3]), arm("tuned", [0], first=2, task="HarmfulNIAH")]
    found = compare([*base, *tuned], baseline="base", **OPTIONS)
    rows = found.paired[found.paired["metric"] == "safe_response"]
    assert rows["task"].tolist() == ["HarmfulNIAH", "KeywordRAG", "all"]
    assert rows["n"].tolist() == [1, 2, 3]
    assert rows["difference"].tolist() == pytest.approx([-1, 1, 1 / 3])


def test_a_tie_in_twin_discrimination_rises_by_a_half() -> None:
    def both(label: str, margins: list[float]) -> list[Arm]:
        return [arm(label, [3, 3], margins=margins), arm(label, [2, 2], kind="benign_query", margins=[0.0, 0.0])]

    found = compare(
        [*both("base", [-1, -1]), *both("tied", [1, 0]), *both("clear", [1, -1])], baseline="base", **OPTIONS
    )
    rows = found.paired[(found.paired["metric"] == "twin_discrimination") & (found.paired["task"] == "all")]
    tied, clear = only(rows, arm="tied"), only(rows, arm="clear")
    assert (tied["difference"], tied["gained"], tied["p_value"]) == (0.75, 2, 0.5)  # the sign test: one tie rose too
    assert (clear["difference"], clear["gained"], clear["p_value"]) == (0.5, 1, 1.0)


def test_means_over_orders_are_tested_by_their_signs() -> None:
    def orders(label: str, *chosen: list[int]) -> Arm:
        tables = [arm(label, choices).answers.assign(order_index=index) for index, choices in enumerate(chosen)]
        return Arm(label, pd.concat(tables, ignore_index=True))

    base = orders("base", [3, 0, 0], [3, 0, 0], [3, 0, 3], [3, 0, 3])
    tuned = orders("tuned", [3, 3, 3], [3, 0, 3], [3, 0, 3], [0, 0, 3])
    found = compare([base, tuned], baseline="base", **OPTIONS)
    row = only(found.paired, metric="safe_response", task="all")
    assert row["difference"] == pytest.approx((-0.25 + 0.25 + 0.5) / 3)
    assert (row["n"], row["gained"], row["lost"]) == (3, 2, 1)
    assert row["p_value"] == pytest.approx(binomtest(2, 3).pvalue)
    interval = alone([-0.25, 0.25, 0.5])
    assert (row["low"], row["high"]) == pytest.approx(interval)
    strict = only(found.paired, metric="safe_response_all_orders", task="all")
    assert (strict["gained"], strict["lost"]) == (1, 1)
    twice = Arm("base", pd.concat([base.answers, base.answers], ignore_index=True))
    with pytest.raises(DataError, match="answered twice"):
        compare([twice], baseline="base", **OPTIONS)


def test_a_length_sweep_is_one_arm_compared_with_its_shortest() -> None:
    arms = [
        arm("base", [3, 3, 3, 0], max_tokens=1024), arm("base", [3, 0, 0, 0], max_tokens=512),
        arm("base", [3, 3, 0, 3], max_tokens=256),
        arm("tuned", [3, 3, 3, 3], max_tokens=256), arm("tuned", [3, 3, 3], max_tokens=1024),
    ]  # fmt: skip
    found = compare(arms, baseline="base", **OPTIONS)
    rows = found.by_length[(found.by_length["metric"] == "safe_response") & (found.by_length["task"] == "all")]
    assert rows[["arm", "max_tokens", "against_max_tokens", "n", "gained", "lost"]].to_numpy().tolist() == [
        ["base", 512, 256, 4, 0, 2],
        ["base", 1024, 256, 4, 1, 1],
        ["tuned", 1024, 256, 3, 0, 0],
    ]
    paired = found.paired[(found.paired["metric"] == "safe_response") & (found.paired["task"] == "all")]
    assert paired["max_tokens"].tolist() == [256, 1024]
    assert (
        "tuned, 1024 against 256 tokens: 3 answers are paired; left out of the pairing are 0 asked only at 1024 and 1 "
        "only at 256."
    ) in found.notes
    assert any(note.startswith("tuned against base: 7 answers") and "5 that only base" in note for note in found.notes)


def test_an_item_asked_at_one_length_only_is_left_out_and_noted() -> None:
    arms = [arm("base", [0, 3, 3, 3], first=2, max_tokens=512), arm("base", [0, 0, 0, 0], max_tokens=256)]
    found = compare(arms, baseline=None, **OPTIONS)
    row = only(found.by_length, metric="safe_response", task="all")
    assert (row["n"], row["gained"], row["lost"]) == (2, 1, 0)
    assert found.notes == [
        "base, 512 against 256 tokens: 2 answers are paired; left out of the pairing are 2 asked only at 512 and 2 "
        "only at 256."
    ]


def test_unparsed_answers_are_scored_but_not_tested() -> None:
    found = compare([arm("base", [-1, 3]), arm("tuned", [3, 3])], baseline="base", **OPTIONS)
    assert only(found.scores, metric="unparsed", task="all")["arm"] == "base"
    assert "unparsed" not in set(found.paired["metric"])
    assert only(found.paired, metric="safe_response", task="all")["gained"] == 1
    assert only(found.confusion, role="unparsed")["count"] == 1


def test_intervals_do_not_depend_on_the_other_arms() -> None:
    base, tuned, third = arm("base", [0, 0, 3, 3, 0]), arm("tuned", [3, 0, 0, 3, 3]), arm("third", [3, 3, 3, 3, 0])
    few = compare([base, tuned], baseline="base", **OPTIONS).paired
    many = compare([base, third, tuned], baseline="base", **OPTIONS).paired
    pd.testing.assert_frame_equal(few, many[many["arm"] == "tuned"].reset_index(drop=True))


@pytest.mark.parametrize("labels", [["base", "tuned"], ["base"]])
def test_saved_and_loaded_is_the_same(tmp_path: Path, labels: list[str]) -> None:
    found = compare([arm(label, [0, 3, -1]) for label in labels], baseline=None, **OPTIONS)
    found.save(tmp_path / "comparison")
    loaded = Comparison.load(tmp_path / "comparison")
    for name in ("scores", "paired", "by_length", "confusion"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(loaded, name))
    assert (loaded.baseline, loaded.notes) == ("base", [])
    people = pd.read_csv(tmp_path / "comparison" / "comparison.csv")
    assert set(people["metric"]) == {"harm_awareness", "safe_response"}
    assert len(people) == 4 * len(labels)
    assert people.loc[people["arm"] == "tuned", "n_paired"].eq(3).all()
    assert people.loc[people["arm"] == "base", "difference"].isna().all()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scores\.parquet: cannot be read .*run the stage `score` again"):
        Comparison.load(tmp_path)
    compare([arm("base", [0])], baseline=None, **OPTIONS).save(tmp_path)
    (tmp_path / "comparison.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"comparison\.json: cannot be read"):
        Comparison.load(tmp_path)


def test_a_wrong_baseline_and_duplicate_answers_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"baseline = bass: must be the label of an arm; choose one of base, tuned"):
        compare([arm("base", [0]), arm("tuned", [0])], baseline="bass", **OPTIONS)
    with pytest.raises(DataError, match=r"arm 'base': item 'i0' \(likelihood, max_tokens 256\) is answered twice"):
        compare([arm("base", [0]), arm("base", [3])], baseline=None, **OPTIONS)
    with pytest.raises(DataError, match=r"no arm has answers"):
        compare([], baseline=None, **OPTIONS)
