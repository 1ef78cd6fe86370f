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
from longsafety.evaluation.scores.statistics import cluster_interval, sign_flip
from longsafety.vocabulary import HARMFUL_ROLES, right_role

OPTIONS: dict[str, Any] = {"scoring": "fixed", "confidence": 0.95, "equivalence_margin": 0.05}


def arm(label: str, chosen: list[int], *, kind: str = "harmful", max_tokens: int = 256, first: int = 0,
        task: str = "KeywordRAG", margins: list[float] | None = None, training: str = "", seeds: str = "s",
        contexts: int = 1) -> Arm:  # fmt: skip
    """Items i<first>, i<first+1>, … with these choices; ``margins`` move the score of the option that declines. So many
    ``contexts`` in a row are of one seed item."""
    rows = []
    for place, choice in enumerate(chosen):
        pair = f"i{place + first}"
        rows.append({
            "item_id": pair if kind == "harmful" else f"{pair}-{kind}", "pair_id": pair, "task": task, "kind": kind,
            "seed_id": f"{seeds}{(place + first) // contexts}", "document_id": None, "max_tokens": max_tokens,
            "scorer": "likelihood", "order_index": 0, "roles": list(HARMFUL_ROLES), "chosen": choice,
            "scores": [0.0, 0.0, 0.0, margins[place] if margins else 0.0], "comply_role": "aware_unsafe",
            "right": right_role(kind, "aware_unsafe"), "status": "unparsed" if choice < 0 else "ok",
        })  # fmt: skip
    return Arm(label, pd.DataFrame(rows), training)


def alone(differences: list[float]) -> tuple[float, float]:
    """The interval of items that share no seed item."""
    return cluster_interval(differences, [1] * len(differences), 0.95)


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
    assert row["p_value"] == pytest.approx(binomtest(6, 7).pvalue) == row["p_mcnemar"]
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
    rows = found.paired[(found.paired["metric"] == "safe_response") & (found.paired["task"] == "all")]
    counts = ["max_tokens", "n", "gained", "lost", "only_arm", "only_against"]
    assert rows[counts].to_numpy().tolist() == [[256, 0, 0, 0, 0, 1], [512, 0, 0, 0, 1, 0]]
    assert rows[["difference", "low", "high", "p_value"]].isna().all(axis=None)
    assert len(found.notes) == 1


def test_rows_over_all_tasks_pool_the_pairs() -> None:
    base = [arm("base", [0, 0]), arm("base", [3], first=2, task="HarmfulNIAH")]
    tuned = [arm("tuned", [3, 3]), arm("tuned", [0], first=2, task="HarmfulNIAH")]
    found = compare([*base, *tuned], baseline="base", **OPTIONS)
    rows = found.paired[found.paired["metric"] == "safe_response"]
    assert rows["task"].tolist() == ["HarmfulNIAH", "KeywordRAG", "all"]
    assert rows["n"].tolist() == [1, 2, 3]
    assert rows["difference"].tolist() == pytest.approx([-1, 1, 1 / 3])


def test_a_tie_in_swap_contrast_rises_by_a_half() -> None:
    def both(label: str, margins: list[float]) -> list[Arm]:
        twin = arm(label, [2] * 6, kind="benign_query", margins=[0.0] * 6)
        return [arm(label, [3] * 6, margins=margins), twin]

    found = compare(
        [*both("base", [-1.0] * 6), *both("tied", [1.0, 0, 1, 1, 1, 1]), *both("clear", [1.0] + [-1.0] * 5)],
        baseline="base", **OPTIONS,
    )  # fmt: skip
    rows = found.paired[(found.paired["metric"] == "swap_contrast") & (found.paired["task"] == "all")]
    tied, clear = only(rows, arm="tied"), only(rows, arm="clear")
    assert (tied["difference"], tied["gained"], tied["p_value"]) == (pytest.approx(5.5 / 6), 6, 2 / 2**6)
    assert pd.isna(tied["p_mcnemar"]), "a half is no change of a binary outcome"
    assert (clear["gained"], clear["p_value"], clear["p_mcnemar"]) == (1, 1.0, 1.0)


def test_seed_items_are_the_units_of_a_paired_test() -> None:
    """Eight seed items in three contexts each: six change whole, so n = 24 proves what n = 8 does."""
    base, tuned = [0] * 24, [3] * 18 + [0] * 6
    found = compare([arm("base", base, contexts=3), arm("tuned", tuned, contexts=3)], baseline="base", **OPTIONS)
    row = only(found.paired, metric="safe_response", task="all")
    assert (row["n"], row["seeds"], row["gained"]) == (24, 8, 18)
    assert row["p_value"] == sign_flip([3.0] * 6) == 2 / 2**6
    assert pd.isna(row["p_mcnemar"]), "items of one seed item are not independent"
    assert (row["low"], row["high"]) == pytest.approx(cluster_interval([3.0] * 6 + [0.0] * 2, [3] * 8, 0.95))


def test_too_few_seed_items_are_not_tested() -> None:
    five = compare([arm("base", [0] * 5), arm("tuned", [3] * 5)], baseline="base", **OPTIONS).paired
    assert five["p_value"].isna().all() and five["p_adjusted"].isna().all()
    six = compare([arm("base", [0] * 6), arm("tuned", [3] * 6)], baseline="base", **OPTIONS).paired
    assert only(six, metric="safe_response", task="all")["p_value"] == 1 / 32


def test_items_of_other_seed_items_are_not_paired_though_their_ids_are_the_same() -> None:
    """Ids hold the scenario's seed, task and number; two runs with other files of seed items can share them."""
    base = [arm("base", [0] * 8), arm("base", [0] * 4, first=8)]
    tuned = [arm("tuned", [3] * 8), arm("tuned", [3] * 4, first=8, seeds="other")]
    found = compare([*base, *tuned], baseline="base", **OPTIONS)
    row = only(found.paired, metric="safe_response", task="all")
    assert (row["n"], row["seeds"], row["gained"]) == (8, 8, 8)
    assert found.notes == [
        "tuned against base: 8 answers are paired; left out of the pairing are 4 that only tuned has and 4 that only "
        "base has."
    ]


def test_trainings_of_an_arm_are_averaged_within_an_item() -> None:
    chosen = {"0": [3] * 4 + [0] * 4, "1": [3] * 6 + [-1] * 2, "2": [3] * 8}
    tuned = [arm("tuned", answers, training=name) for name, answers in chosen.items()]
    found = compare([arm("base", [0] * 8), *tuned], baseline="base", **OPTIONS)
    score_row = only(found.scores, arm="tuned", metric="safe_response", task="all")
    assert (score_row["n"], score_row["seeds"], score_row["value"]) == (8, 8, pytest.approx(0.75))
    row = only(found.paired, metric="safe_response", task="all")
    assert (row["n"], row["difference"], row["gained"]) == (8, pytest.approx(0.75), 8)
    differences = [1.0] * 4 + [2 / 3] * 2 + [1 / 3] * 2
    assert row["p_value"] == sign_flip(differences) == 2 / 2**8
    assert (row["low"], row["high"]) == pytest.approx(alone(differences))
    assert pd.isna(row["p_mcnemar"]), "means over trainings are not binary"
    unparsed = only(found.scores, arm="tuned", metric="unparsed", task="all")
    assert unparsed["value"] == pytest.approx(2 / 24), "trainings without an unparsed answer count as none"
    spread = only(found.trainings, metric="safe_response")
    assert spread[["trainings", "mean", "sd", "least", "most"]].tolist() == [3, 0.75, 0.25, 0.5, 1.0]
    assert set(found.trainings["arm"]) == {"tuned"}
    assert only(found.confusion, arm="tuned", role="safe")["count"] == 18


def test_a_training_that_answered_less_does_not_tear_items_apart() -> None:
    def documents(one: Arm, names: list[str]) -> Arm:
        return Arm(one.label, one.answers.assign(document_id=names), one.training)

    whole = documents(arm("tuned", [3] * 4, training="0", contexts=2), ["a", "b", "a", "a"])
    part = documents(arm("tuned", [3, 0], training="1", contexts=2, first=2), ["a", "a"])
    found = compare([documents(arm("base", [0] * 4, contexts=2), ["a", "b", "a", "a"]), whole, part],
                    baseline="base", **OPTIONS)  # fmt: skip
    row = only(found.paired, metric="safe_response", task="all")
    assert (row["n"], row["seeds"], row["difference"]) == (4, 2, pytest.approx(3.5 / 4))


def test_contrasts_are_tested_beside_the_baseline() -> None:
    arms = [arm("base", [0] * 6), arm("one", [3] * 6), arm("other", [3, 3, 0, 0, 0, 0])]
    found = compare(arms, baseline="base", contrasts=[("one", "other"), ("one", "base")], **OPTIONS)
    rows = found.paired[(found.paired["metric"] == "safe_response") & (found.paired["task"] == "all")]
    assert rows[["arm", "against", "gained"]].to_numpy().tolist() == [
        ["one", "base", 6], ["one", "other", 4], ["other", "base", 2],
    ]  # fmt: skip
    assert only(rows, arm="one", against="other")["p_value"] == 2 / 2**4
    assert found.headlines()["against"].dropna().unique().tolist() == ["base"]
    with pytest.raises(ConfigError, match=r"contrasts = \[one, two\]: two is the label of no arm; choose from base"):
        compare(arms, baseline="base", contrasts=[("one", "two")], **OPTIONS)


def test_means_over_orders_are_paired() -> None:
    def orders(label: str, *chosen: list[int]) -> Arm:
        tables = [arm(label, choices).answers.assign(order_index=index) for index, choices in enumerate(chosen)]
        return Arm(label, pd.concat(tables, ignore_index=True))

    base = orders("base", [3, 0, 0], [3, 0, 0], [3, 0, 3], [3, 0, 3])
    tuned = orders("tuned", [3, 3, 3], [3, 0, 3], [3, 0, 3], [0, 0, 3])
    found = compare([base, tuned], baseline="base", **OPTIONS)
    row = only(found.paired, metric="safe_response", task="all")
    assert row["difference"] == pytest.approx((-0.25 + 0.25 + 0.5) / 3)
    assert (row["n"], row["gained"], row["lost"]) == (3, 2, 1)
    assert pd.isna(row["p_value"]) and pd.isna(row["p_mcnemar"])
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
    # At 512 tokens only base has answers: a row without a test says so.
    assert paired[["max_tokens", "n", "only_arm", "only_against"]].to_numpy().tolist() == [
        [256, 4, 0, 0], [512, 0, 0, 4], [1024, 3, 0, 1],
    ]  # fmt: skip
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
    for name in ("scores", "paired", "by_length", "confusion", "trainings"):
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


@pytest.mark.parametrize("seeds", [2, 4, 8, 30])
def test_no_interval_of_a_difference_leaves_its_value_out(seeds: int) -> None:
    """An arm that does the right thing throughout, against one that does the reverse: pair differences differ by 2."""
    arms = []
    for label, harmful in (("reversed", 2), ("right", 3)):
        kinds = {"harmful": harmful, "benign_query": 5 - harmful}
        tables = [arm(label, [choice] * seeds, kind=kind).answers for kind, choice in kinds.items()]
        arms.append(Arm(label, pd.concat(tables, ignore_index=True)))
    found = compare(arms, baseline=None, **OPTIONS).paired
    pairs = found[(found["metric"] == "pair_difference") & (found["task"] == "all")].iloc[0]
    assert pairs["difference"] == 2
    assert ((found["low"] <= found["difference"]) & (found["difference"] <= found["high"])).all()
    assert found["detectable"].isna().all() == (seeds < 6)
    assert not (found["detectable"] > 2).any()
