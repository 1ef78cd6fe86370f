"""Every declared experiment, at its smallest scale, from its data to its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from longsafety import results
from longsafety.configuration.places import SWEEPS
from tests.conftest import Place

EXPERIMENTS = sorted(path.stem for path in SWEEPS.glob("experiment/*.yaml"))
SECTIONS = {
    "benign_finetuning": "By budget",
    "cross_lingual": "By context_language",
    "curriculum": "By order",
    "data_efficiency": "By train_seeds",
    "extreme_length": "By length",
    "length_generalization": "By length",
    "length_vs_content": "By bench_padding",
    "longsafety": "Capability",
    "lss_ablation": "Without the long context",
    "open_ended": "By scorer",
    "over_refusal": "Safety against over-refusal",
    "scenario_ablation": "By leave_out",
    "task_generalization": "Trained tasks and others",
}
"""What the page of an experiment has a section on; the others compare mixes alone."""


@pytest.mark.soak
def test_every_experiment_runs_to_its_page(tmp_path: Path, place_at: Callable[[Path], Place]) -> None:
    """They share what they have in common. Chinese contexts need the embedded corpus with Chinese documents."""
    place = place_at(tmp_path / "outputs")
    for name in EXPERIMENTS:
        corpus = ["corpus=embedded_bilingual"] if name == "cross_lingual" else []
        place.succeed(f"+experiment={name}", *corpus)
        found = results(place.folder("sweeps", f"{name}-*"))
        page = (found.folder / "report.html").read_text("utf-8")
        for title in ("Differences", *([SECTIONS[name]] if name in SECTIONS else [])):
            assert f"{title}</h" in page, (name, title)
        assert len(found.pairs) and set(found.runs["arm"]) >= set(found.pairs["arm"]), name
        [safe, *_] = found.scores.query("metric == 'safe_response' and task == 'all'").to_dict("records")
        assert 0 <= safe["low"] <= safe["value"] <= safe["high"] <= 1


@pytest.mark.slow
def test_what_cannot_succeed_is_refused_before_the_first_training(place: Place) -> None:
    """The second length is longer than the documents of the benchmark."""
    lengths = ["length.max_tokens=256,6000", "model.window=8192"]
    done = place.run("data_mix=longsafety", "scenario=query_harmful", "scenario.bench_fraction=0.05", *lengths)
    assert done.returncode == 2 and "give a larger corpus" in done.stderr
    done = place.run("data_mix=base,longsafety", "scenario=query_harmful", "evaluation.capability=[icl]", "length=256")
    assert done.returncode == 2 and "256 tokens (length.max_tokens × length.factor) do not hold 2" in done.stderr
    assert not place.stages("weights")
