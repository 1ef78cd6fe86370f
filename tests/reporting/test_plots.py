from __future__ import annotations

import re
import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.colors as colors
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from longsafety.reporting import plots, style
from longsafety.reporting.comparison_view import ComparisonView
from longsafety.reporting.pairs_figure import right_and_reversed
from longsafety.reporting.scatter import safety_against_compliance


def _overlaps(figure: Figure) -> list[tuple[str, str]]:
    figure.draw_without_rendering()
    texts = [t for axes in figure.axes for t in axes.texts if t.get_text()]
    # An annotation's own extent includes its leader line.
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts]
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


def test_labels_of_seven_arms_do_not_overlap(seven: Any) -> None:
    figure = safety_against_compliance(ComparisonView(seven))
    assert figure is not None and _overlaps(figure) == []


@pytest.mark.slow
def test_labels_of_arms_at_one_point_do_not_overlap(seven: Any, comparison_of: Any) -> None:
    made = comparison_of(scorers=("likelihood",))
    same = replace(made, scores=made.scores.copy())
    shares = same.scores["metric"].isin(["safe_response", "compliance"])
    same.scores.loc[shares, ["value", "low", "high"]] = [1.0, 0.9, 1.0]
    figure = safety_against_compliance(ComparisonView(same))
    assert figure is not None and _overlaps(figure) == []
    assert {text.get_text() for text in figure.axes[0].texts} == set(seven.scores["arm"])


@pytest.mark.slow
def test_labels_at_the_ends_of_lines_do_not_overlap(comparison_of: Any) -> None:
    figure = plots.by_length(ComparisonView(comparison_of(lengths=(512, 1024), scorers=("likelihood",))))
    assert figure is not None and len(figure.axes) == 2 and _overlaps(figure) == []


def test_an_arm_keeps_its_colour_in_all_figures(seven: Any, record_of: Any) -> None:
    view = ComparisonView(seven)
    given = style.styles(view)
    assert len(set(given.values())) == 7
    scatter, loss = safety_against_compliance(view), plots.training_loss([record_of("longsafety")], given)
    assert scatter is not None and loss is not None
    for figure in (scatter, loss):
        label = next(text for text in figure.axes[0].texts if text.get_text() == "longsafety")
        assert colors.to_hex(label.get_color()) == given["longsafety"][0]


def test_bars_hold_all_answers_in_the_order_of_roles(seven: Any) -> None:
    figure = plots.options(ComparisonView(seven))
    assert figure is not None
    harmful = figure.axes[0]
    widths: dict[float, float] = {}
    for bar in harmful.patches:
        assert isinstance(bar, Rectangle)
        widths[round(bar.get_y(), 2)] = widths.get(round(bar.get_y(), 2), 0.0) + bar.get_width()
    assert len(widths) == 7 and all(abs(width - 1) < 1e-9 for width in widths.values())
    (legend,) = figure.legends
    assert figure.axes[1].get_title(loc="left") == "benign twins, same options"
    roles = ["hallucinates", "ignores", "aware unsafe", "safe"]
    assert [text.get_text() for text in legend.get_texts()] == roles


def test_bars_of_all_kinds_of_items_have_room(seven: Any) -> None:
    table = seven.confusion
    harmful = table[table["kind"] == "harmful"]
    four = replace(seven, confusion=pd.concat([table, *(harmful.assign(kind=kind) for kind in ("short", "absent"))]))
    figure = plots.options(ComparisonView(four))
    assert figure is not None and len(figure.axes) >= 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib gives up a layout with a warning
        figure.draw_without_rendering()
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert all(axes.get_position().width * figure.get_figwidth() > 2 for axes in drawn)


def test_pairs_right_and_reversed_stand_on_both_sides(seven: Any) -> None:
    view = ComparisonView(seven)
    figure = right_and_reversed(view)
    assert figure is not None
    (axes,) = figure.axes
    bars = [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]
    expected = []
    for arm in view.arms:
        right, wrong = (view.share(arm, metric, 512) for metric in ("pair_correct", "pair_reversed"))
        assert right is not None and wrong is not None
        expected += [right.value, -wrong.value]
    assert bars == expected and max(bars) > 0.5
    assert [label.get_text() for label in axes.get_yticklabels()] == view.arms


def test_trainings_of_an_arm_have_lines_of_their_own_in_its_colour(record_of: Any) -> None:
    records = [replace(record_of("longsafety"), label=f"longsafety seed={seed}") for seed in (0, 1)]
    figure = plots.training_loss([*records, record_of("short_safety")], {"longsafety": ("#0072b2", "s")})
    assert figure is not None
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.texts} == {"longsafety seed=0", "longsafety seed=1", "short_safety"}
    assert [line.get_color() for line in axes.get_lines()][:2] == ["#0072b2", "#0072b2"]


def test_unparsed_answers_are_shown_last_where_there_are_any() -> None:
    counts = {"unparsed": 0, "safe": 3, "ignores": 0}
    assert plots.ordered_roles({("base", 512): counts}) == ["ignores", "safe"]
    assert plots.ordered_roles({("base", 512): counts | {"unparsed": 1}}) == ["ignores", "safe", "unparsed"]


def test_figures_that_have_nothing_to_show_are_left_out(seven: Any, record_of: Any) -> None:
    assert set(plots.figures(ComparisonView(seven), [record_of("base")])) == {
        "pairs",
        "safety_vs_compliance",
        "options",
    }


@pytest.mark.slow
def test_svgs_share_a_page(seven: Any, record_of: Any) -> None:
    view = ComparisonView(seven)
    drawn = plots.figures(view, [record_of("longsafety")])
    texts = [style.inline(style.svg(figure, name), name) for name, figure in drawn.items()]
    ids = [found for text in texts for found in re.findall(r'\bid="([^"]+)"', text)]
    assert len(ids) == len(set(ids))
    for text in texts:
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', text)) <= set(ids)
        assert "var(--ink)" in text and style.INK not in text and text.startswith("<svg")


def test_saved_as_png(seven: Any, tmp_path: Path) -> None:
    figure = plots.options(ComparisonView(seven))
    assert figure is not None
    (path,) = style.save({"options": figure}, tmp_path / "new")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
def test_many_lines_are_counted_and_not_named(record_of: Any) -> None:
    trained = record_of("longsafety")
    records = [replace(trained, label=f"longsafety at confidence {n:02d}", key=f"{n:012x}") for n in range(60)]
    figure = plots.training_loss(records)
    assert figure is not None
    assert "60 lines, named in the CSV file" in " ".join(figure.axes[0].texts[0].get_text().split())
    assert style.svg(figure, "loss").startswith("<?xml"), "laid out without a warning"
