"""The report's sections on what a sweep varies: figures, and the tested effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from longsafety.evaluation.scores.compare import compare
from longsafety.evaluation.scores.comparison import Arm, Comparison
from longsafety.reporting.comparison_view import ComparisonView
from longsafety.reporting.pooled import Row, pooled_tables
from longsafety.reporting.pooled import _figure as pooled_figure
from longsafety.reporting.record import RunRecord
from longsafety.reporting.report import write_report
from longsafety.reporting.sections import by_value, sections
from longsafety.settings import baselines, effects
from tests.records_made import _answers

KEY = "scenario.train_seeds"


def record(make: Callable[..., RunRecord], mix: str, varied: dict[str, str], **settings: Any) -> RunRecord:
    made = make(mix)
    label = " ".join([mix, *(f"{key}={value}" for key, value in varied.items())])
    varied = {"data_mix": mix, **varied}
    return replace(
        made, label=label, varied=varied, settings=made.settings | {"label": label, "varied": varied} | settings
    )


def compared(records: Sequence[RunRecord], of: dict[str, str], **change: Any) -> Comparison:
    """Each run answers like the made-up arm ``of[label]``."""
    runs = [one.resolved() for one in records]
    own = baselines(runs, None)
    arms = [Arm(one.label, _answers(of[one.label], (512,), ("likelihood",), 12).assign(**change)) for one in records]
    return compare(
        arms, baseline=own[records[0].label], baselines=own, effects=effects(runs), scoring="fixed", confidence=0.95,
        equivalence_margin=0.05,
    )  # fmt: skip


@pytest.fixture(scope="module")
def swept(record_of: Callable[..., RunRecord]) -> tuple[list[RunRecord], Comparison]:
    records = [record(record_of, "base", {})]
    records += [record(record_of, "longsafety", {KEY: number}) for number in ("2", "4", "null")]
    weak, middle, strong = "base", "short_safety_long_align", "longsafety_twins"
    of = dict(zip([one.label for one in records], ["base", weak, middle, strong], strict=True))
    return records, compared(records, of)


@pytest.mark.slow
def test_each_value_is_tested_against_the_first(swept: tuple[list[RunRecord], Comparison]) -> None:
    records, comparison = swept
    [section] = sections(ComparisonView(comparison, ["likelihood"]), records)
    assert section.title == "By train_seeds" and section.figure is not None
    assert [(row["value"], row["against_value"]) for row in section.effects] == [("4", "2"), ("null", "2")]
    last = section.effects[-1]["safe_response"]
    assert last["difference"] > 0.5 and last["p_adjusted"] < 0.05


def test_an_untrained_arm_is_a_level_line(swept: tuple[list[RunRecord], Comparison]) -> None:
    records, comparison = swept
    [section] = sections(ComparisonView(comparison, ["likelihood"]), records)
    assert section.figure is not None
    axes = section.figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2", "4", "null"]
    assert axes.get_legend_handles_labels()[1] == ["base", "longsafety"]


@pytest.mark.slow
def test_the_page_has_the_question_and_a_section(swept: tuple[list[RunRecord], Comparison], tmp_path: Path) -> None:
    records, comparison = swept
    asked = [replace(one, settings=one.settings | {"question": "How few seed items are enough?"}) for one in records]
    page = tmp_path / "report.html"
    write_report(page, name="x", comparison=comparison, records=asked, redact=True, command="c")
    text = page.read_text("utf-8")
    assert "How few seed items are enough?" in text and "<h2>By train_seeds</h2>" in text
    assert text.count("<svg") == text.count("</svg>") and 'id="scenario.train_seeds-' in text


@pytest.mark.slow
def test_scenarios_have_baselines_of_their_own(record_of: Callable[..., RunRecord]) -> None:
    records = [
        record(record_of, mix, {"scenario": scenario})
        for scenario in ("query_harmful", "fully_harmful")
        for mix in ("base", "longsafety")
    ]
    of = {one.label: one.label.split(" ")[0] for one in records}
    runs = [one.resolved() for one in records]
    own = baselines(runs, None)
    arms = []
    for one in records:
        answers = _answers(of[one.label], (512,), ("likelihood",), 6)
        arms.append(Arm(one.label, answers.assign(seed_id=answers["seed_id"] + one.varied["scenario"])))
    found = compare(
        arms, baseline=own[records[0].label], baselines=own, effects=effects(runs), scoring="fixed", confidence=0.95,
        equivalence_margin=0.05,
    )  # fmt: skip
    tested = set(zip(found.paired["arm"], found.paired["against"], strict=True))
    assert tested == {
        (f"longsafety scenario={name}", f"base scenario={name}") for name in ("query_harmful", "fully_harmful")
    }
    view = ComparisonView(found, ["likelihood"])
    assert all(view.paired(f"longsafety scenario={name}", "safe_response", 512) for name in
               ("query_harmful", "fully_harmful"))  # fmt: skip
    [section] = sections(view, records)
    assert not section.effects and "no item in common" in section.note
    told = found.headlines().dropna(subset="difference")
    assert set(told["arm"]) == {arm for arm, _ in tested}


def test_tasks_that_were_not_trained_on_stand_apart(record_of: Callable[..., RunRecord]) -> None:
    left = {"leave_out": ["QH"]}
    records = [record(record_of, "base", {}), record(record_of, "longsafety", {})]
    tasks = records[1].settings["scenario"]["tasks"]
    scenario = records[1].settings["scenario"] | left | {"tasks": tasks | {"KeywordRAG": {"train": 0, "bench": 100}}}
    records[1] = replace(records[1], settings=records[1].settings | {"scenario": scenario})
    comparison = compared(records, {"base": "base", "longsafety": "longsafety"})
    [table] = pooled_tables(ComparisonView(comparison, ["likelihood"]), records)
    rows = {(row.arm, row.group): row for row in table.rows}
    assert rows["longsafety", "not trained"].tasks == ["KeywordRAG"]
    assert rows["base", "not trained"].tasks == ["KeywordRAG"] and rows["base", "trained"].tasks
    assert rows["longsafety", "not trained"].shares["safe_response"] == (1.0, 12)


def test_long_names_and_values_stay_within_the_figure(swept: tuple[list[RunRecord], Comparison]) -> None:
    _, comparison = swept
    view = ComparisonView(comparison, ["likelihood"])
    values = {arm: {KEY: f"/data/corpus_{place}/{'x' * 20}"} for place, arm in enumerate(view.arms)}
    mixes = {arm: f"a mix of {'many ' * 7} sources {place}" for place, arm in enumerate(view.arms)}
    figure = by_value(view, KEY, values, mixes)
    assert figure is not None
    figure.savefig(BytesIO())
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1
    assert {tick.get_rotation() for tick in figure.axes[0].get_xticklabels()} == {30}


def test_an_arm_with_a_number_has_it_in_every_figure(swept: tuple[list[RunRecord], Comparison]) -> None:
    _, comparison = swept
    view = ComparisonView(comparison, ["likelihood"])
    long = "long_" * 20
    other = view.renamed({arm: long if arm == view.arms[-1] else arm for arm in view.arms})
    row = Row(long, "trained", ["t"], {"safe_response": (0.5, 2)}, {"safe_response": [0.5]})
    drawn = pooled_figure([row], ["safe_response"], other)
    assert [tick.get_text() for tick in drawn.axes[0].get_yticklabels()] == [f"#{len(view.arms)}  trained"]
