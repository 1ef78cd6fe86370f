from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from longsafety.reporting import report
from longsafety.reporting.facts import lengths_fact
from longsafety.reporting.names import run_name
from longsafety.reporting.report import write_report


class _Balanced(HTMLParser):
    """Fails where an element is closed that is not the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag


def _page(tmp_path: Path, comparison: Any, records: Any, *, redact: bool = True, name: str = "mix_ablation") -> str:
    path = tmp_path / "report.html"
    write_report(path, name=name, comparison=comparison, records=records, redact=redact, command="python -m longsafety")
    assert [child.name for child in tmp_path.iterdir()] == ["report.html"]
    page = path.read_text("utf-8")
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    return page


@pytest.fixture(scope="module")
def page(seven: Any, record_of: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    records = [record_of(arm) for arm in dict.fromkeys(seven.scores["arm"])]
    return _page(tmp_path_factory.mktemp("report"), seven, records)


def _plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.mark.slow
def test_the_page_loads_nothing(page: str) -> None:
    # Namespaces of SVG are names, not addresses that are fetched.
    loaded = re.findall(r"(?:src|href)=\"(?!#)([^\"]+)\"|url\((?!#)([^)]+)\)|<(script|link|iframe)", page)
    assert loaded == []


def test_has_all_parts(page: str) -> None:
    heads = re.findall(r"<h2>([^<]+)</h2>", page)
    assert heads == [
        "Comparison", "Blind controls", "What words alone tell", "Capability", "Chosen options", "By task", "Settings",
        "Training data", "Counts: built, left out, filled in", "One item of each task", "Time",
    ]  # fmt: skip
    assert page.count("<figure") == 4
    plain = _plain(page)
    for needed in ("longsafety_twins is best", "fingerprint c0ffee123456", "torch 2.9.0", "seed 0", "scoring fixed",
                   "documents left out: under 50 words 311", "python -m longsafety", "2 rows of the scorer letter",
                   "not trained", "36 harmful items", "cpu, 32-true", "benchmark 2.0, fingerprint 0123456789ab",
                   "sign-flip test over seed items", "about these checkpoints", "at most 0.75: failed",
                   "the margin of longsafety_twins over them"):  # fmt: skip
        assert needed in plain, needed


def test_every_table_of_scores_names_the_scoring(page: str) -> None:
    assert _plain(page).count("scoring fixed") >= 4


@pytest.mark.slow
def test_harmful_text_is_redacted_or_escaped(page: str, seven: Any, record_of: Any, tmp_path: Path) -> None:
    assert "smoke detectors" not in page and "physical_harm: redacted; report.redact=false shows it" in page
    shown = _page(tmp_path, seven, [record_of("base"), record_of("longsafety")], redact=False)
    assert "smoke detectors" in shown and "&lt;b&gt;time&lt;/b&gt;" in shown and "<b>time</b>" not in shown


@pytest.mark.slow
def test_names_are_escaped(comparison_of: Any, record_of: Any, tmp_path: Path) -> None:
    made = comparison_of(["base"], baseline=None, scorers=("likelihood",))
    arm = "<script>x</script>"
    tables = {name: getattr(made, name).assign(arm=arm) for name in ("scores", "confusion", "controls")}
    comparison = replace(made, **tables)
    assert "<script" not in _page(tmp_path, comparison, [replace(record_of("base"), label=arm)])


@pytest.mark.slow
def test_one_arm_makes_a_page_without_differences(comparison_of: Any, record_of: Any, tmp_path: Path) -> None:
    comparison = comparison_of(["longsafety"], baseline="longsafety", scorers=("likelihood",))
    plain = _plain(_page(tmp_path, comparison, [record_of("longsafety")]))
    assert "Result" in plain and "Differences" not in plain and "McNemar" not in plain
    assert "longsafety is safe only by declining" in plain


@pytest.mark.slow
def test_several_lengths_have_a_section(comparison_of: Any, record_of: Any, tmp_path: Path) -> None:
    arms, lengths = ["base", "longsafety_twins"], (512, 1024)
    comparison = comparison_of(arms, lengths=lengths, scorers=("likelihood",))
    records = [record_of(arm, max_tokens=length) for arm in arms for length in lengths]
    page = _page(tmp_path, comparison, records)
    assert "<h2>By length</h2>" in page and "Δ against 512" in page
    # An arm is trained once for all its lengths.
    assert _plain(page).count("benign_twins 32") == 1


@pytest.mark.slow
def test_counts_that_differ_name_their_arms(comparison_of: Any, record_of: Any, tmp_path: Path) -> None:
    comparison = comparison_of(["base", "longsafety"], scorers=("likelihood",))
    records = [record_of("base"), replace(record_of("longsafety"), counts={"samples left out: too short": 7})]
    assert "samples left out: too short longsafety: 7" in _plain(_page(tmp_path, comparison, records))


@pytest.mark.slow
def test_results_that_existed_already_have_no_time(comparison_of: Any, record_of: Any, tmp_path: Path) -> None:
    comparison = comparison_of(["base"], scorers=("likelihood",))
    plain = _plain(_page(tmp_path, comparison, [replace(record_of("base"), seconds={})]))
    assert "All results existed already" in plain


@pytest.mark.slow
def test_what_was_cut_or_left_out_of_the_benchmark_is_a_note(seven: Any, record_of: Any, tmp_path: Path) -> None:
    def record(arm: str, cut: int) -> Any:
        one = record_of(arm)
        return replace(one, evaluation=one.evaluation | {"counts": {"cut to fit (middle)": cut}})

    arms = list(dict.fromkeys(seven.scores["arm"]))[:3]
    text = _plain(_page(tmp_path, seven, [record(arm, 1200 + (arm == arms[2])) for arm in arms]))
    assert f"1,200 of the benchmark's items cut to fit (middle) ({arms[0]}, {arms[1]})." in text.replace("&#39;", "'")
    assert f"1,201 of the benchmark's items cut to fit (middle) ({arms[2]})." in text.replace("&#39;", "'")


@pytest.mark.slow
def test_items_of_a_file_are_named_where_nothing_was_built(seven: Any, record_of: Any, tmp_path: Path) -> None:
    base = record_of("base")
    asked = replace(base, settings=base.settings | {"evaluation": {"items": "data/bench"}})
    text = _plain(_page(tmp_path, seven, [asked]))
    assert "items data/bench" in text
    assert "scenario longsafety (KeywordRAG" not in text


@pytest.mark.slow
def test_capability_suites_have_a_column_per_arm(seven: Any, record_of: Any, tmp_path: Path) -> None:
    def record(arm: str, value: float, stderr: float) -> Any:
        row = {"suite": "lm_eval:arc", "task": "arc", "metric": "acc", "value": value, "stderr": stderr, "n": 99}
        return replace(record_of(arm), capability=[row])

    arms = list(dict.fromkeys(seven.scores["arm"]))
    text = _plain(_page(tmp_path, seven, [record(arms[0], 0.31, 0.04), record(arms[1], 0.29, float("nan"))]))
    assert "arc acc 99 .31 ± .04 .29 ± ? — " in text


@pytest.mark.slow
def test_lengths_of_a_factor_are_named_by_the_items_own_length(
    comparison_of: Any, record_of: Any, tmp_path: Path
) -> None:
    records = [replace(record_of("base", max_tokens=256, factor=n), counts={"left out": n}) for n in (1, 2, 4)]
    comparison = comparison_of(["base"], lengths=(256, 512, 1024), scorers=("likelihood",))
    text = _plain(_page(tmp_path, comparison, records))
    assert "items of 256, 512, 1,024 tokens" in text and "benchmark items 256, 512, 1,024 tokens" in text
    assert "left out base at 256: 1; base at 512: 2; base at 1,024: 4" in text
    assert re.search(r"Time .* base 256 4\.1 s .* base 512 4\.1 s .* base 1,024 4\.1 s", text)


@pytest.mark.parametrize(
    ("length", "name", "fact"),
    [
        ({"max_tokens": 512, "factor": 2}, "base at 1,024", "1,024 tokens"),
        ({"max_tokens": 512, "lengths": [256, 512]}, "base at up to 512", "256 and 512 tokens"),
        ({"max_tokens": 512, "mean_tokens": 300}, "base at up to 512", "300 on average, at most 512 tokens"),
    ],
)
def test_a_run_is_named_by_its_longest_items(length: Any, name: str, fact: str, record_of: Any) -> None:
    base = record_of("base")
    record = replace(base, settings=base.settings | {"length": {"name": "x", **length}})
    assert run_name(record) == name
    assert lengths_fact([record.resolved()]) == fact


@pytest.mark.slow
def test_adopted_weights_are_marked(comparison_of: Any, record_of: Any, tmp_path: Path) -> None:
    arms = ["base", "longsafety"]
    records = [record_of(arm) for arm in arms]
    records[1] = replace(records[1], training={**records[1].training, "reused": "/kept/weights/abc"})
    shown = _plain(_page(tmp_path, comparison_of(arms), records))
    assert "longsafety: its weights were adopted by hand (reuse.weights) from /kept/weights/abc" in shown


@pytest.mark.slow
def test_trainings_of_an_arm_are_one_arm(comparison_of: Any, record_of: Any, tmp_path: Path) -> None:
    seeds = [replace(record_of("longsafety"), label=f"longsafety seed={seed}") for seed in (0, 1, 2)]
    seeds = [replace(record, stages=record.stages | {"weights": f"w{n}"}) for n, record in enumerate(seeds)]
    comparison = comparison_of(["base", "longsafety"], scorers=("likelihood",))
    plain = _plain(_page(tmp_path, comparison, [record_of("base"), *seeds]))
    data = plain.partition("Training data")[2].partition("Counts:")[0]
    assert data.count("longsafety seed=") == 0 and "longsafety 3 8" in data
    assert "about these checkpoints" not in plain


@pytest.mark.slow
def test_contrasts_and_short_forms_are_on_the_page(comparison_of: Any, record_of: Any, tmp_path: Path) -> None:
    arms = ["base", "longsafety", "longsafety_twins"]
    comparison = comparison_of(arms, contrasts=[["longsafety_twins", "longsafety"]], scorers=("likelihood",))
    page = _page(tmp_path, comparison, [record_of(arm) for arm in arms])
    assert page.count('<tr class="contrast">') == 1 and "Significant contrasts: longsafety_twins against" in page
    assert "Without the long context" in page and "ignores, no needle" in page


def test_a_figure_of_many_panels_is_a_file_of_its_own(
    seven: Any, record_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST_IN_PAGE", 1000)
    records = [record_of(arm) for arm in dict.fromkeys(seven.scores["arm"])]
    asked: dict[str, Any] = {"name": "mix_ablation", "redact": True, "command": "python -m longsafety"}
    write_report(tmp_path / "report.html", comparison=seven, records=records, figures=tmp_path / "figures", **asked)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert '<a href="figures/options.svg">figures/options.svg</a>' in page and "<svg xmlns" not in page
    assert (tmp_path / "figures" / "options.svg").is_file() and (tmp_path / "figures" / "options.csv").is_file()
