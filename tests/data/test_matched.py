"""Every shipped arm is trained on as many supervised tokens as the others, at the scales that run on a laptop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import longsafety
from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.data.mix import Mix, compose_mix
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.scenarios.baselines import BASELINE_KINDS, baseline_samples
from longsafety.scenarios.build import build
from longsafety.scenarios.seeds.seed import Seed
from longsafety.settings import Settings

pytestmark = pytest.mark.slow

FOLDER = Path(longsafety.__file__).parents[1] / "conf" / "data_mix"
MIXES = sorted(file.stem for file in FOLDER.glob("*.yaml") if file.stem not in ("_shared", "base", "oracle"))
"""Those that are trained on training samples; the oracle is trained on the benchmark."""
CHARACTERS_A_TOKEN = 4
"""Of English prose, in SmolLM2's tokenizer."""


def settings(scale: str, mix: str) -> Settings:
    [found] = settle(compose_jobs([f"scale={scale}", f"data_mix={mix}"]))
    return found


def by_characters(sample: Sample) -> int:
    return len(sample.answer) // CHARACTERS_A_TOKEN


@pytest.mark.parametrize("scale", ["smoke", "nano"])
def test_arms_are_matched_on_supervised_tokens(tiny_encoder: ChatEncoder, tiny_seeds: list[Seed], scale: str) -> None:
    of_scale = settings(scale, "longsafety")
    builder = build(of_scale.scenario, of_scale.length, tiny_seeds, tiny_encoder, split="train", seed=0)
    total = sum(builder.counts.values())
    files = [list(builder.samples()), *(list(baseline_samples(builder, kind, total)) for kind in BASELINE_KINDS)]
    count: Callable[[Sample], int] = by_characters
    if scale == "smoke":  # its own tokenizer
        count = lambda sample: len(tiny_encoder.answer_ids(sample.question, sample.answer))  # noqa: E731

    def composed(name: str) -> Mix:
        return compose_mix(settings(scale, name).data_mix, files, count, licence="CC0-1.0", draw_seed=0, seed=0)

    mixes = {name: composed(name) for name in MIXES}
    tokens = {name: sum(row["supervised_tokens"] for row in mix.rows) for name, mix in mixes.items()}
    budget = of_scale.data_mix.budget
    assert {name: total for name, total in tokens.items() if abs(total - budget) > 0.05 * budget} == {}
    for name, mix in mixes.items():
        for row in mix.rows:
            assert 0 < row["distinct"] <= row["samples"], name
            assert 0 < row["seeds"] <= row["samples"], name
    assert mixes["aa_first"].rows == mixes["aa_second"].rows
    for row in mixes["longsafety_short"].rows:  # LSS: the same questions and answers
        assert row["supervised_tokens"] == mixes["longsafety"].rows[0]["supervised_tokens"]


def test_a_control_trains_the_same_mix_under_another_seed() -> None:
    first, second = (settings("smoke", name) for name in ("aa_first", "aa_second"))
    assert first.data_mix.sources == second.data_mix.sources
    assert (first.training_seed, second.training_seed) == (0, 1000)
    assert first.model_copy(update={"seed": 3}).training_seed == 3
