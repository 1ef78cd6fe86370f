"""The report's figures as files, and their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from longsafety.evaluation.scores.comparison import Comparison
from longsafety.reporting.report import write_report


@pytest.fixture(scope="module")
def written(seven: Comparison, record_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    records = [record_of(arm) for arm in dict.fromkeys(seven.scores["arm"])]
    write_report(
        folder / "report.html",
        name="mix_ablation",
        comparison=seven,
        records=records,
        redact=True,
        command="python -m longsafety",
        figures=folder / "figures",
    )
    return folder / "figures"


@pytest.mark.slow
def test_every_figure_is_a_picture_with_its_numbers(written: Path) -> None:
    pictures = {path.stem for path in written.glob("*.svg")}
    assert {"pairs", "safety_vs_compliance", "options"} <= pictures
    assert pictures == {path.stem for path in written.glob("*.csv")}
    for name in pictures:
        text = (written / f"{name}.svg").read_text("utf-8")
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--" not in text, "a file has no page whose colours it could take"
        assert len(pd.read_csv(written / f"{name}.csv"))


def test_the_numbers_are_those_of_the_comparison(written: Path, seven: Comparison) -> None:
    drawn = pd.read_csv(written / "pairs.csv")
    scores = seven.scores[(seven.scores["task"] == "all") & (seven.scores["scorer"] == seven.scores["scorer"].iloc[0])]
    both = drawn.merge(scores, on=["arm", "metric", "max_tokens"], suffixes=("", "_of"))
    assert len(both) == len(drawn) > 0
    assert both["value"].sub(both["value_of"]).abs().max() < 1e-5
    counted = pd.read_csv(written / "options.csv").groupby(["items", "arm"])["count"].sum()
    assert counted.loc["harmful items"].nunique() == 1, "all arms were asked the same items"
