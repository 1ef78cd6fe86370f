"""What the plan says of shared prefixes is what the trie of built samples saves; how many devices a step keeps busy."""

from __future__ import annotations

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.data.schedule import Schedule
from longsafety.planning.sharing import sharing, twins_share
from longsafety.planning.training import plan
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.settings import Settings
from longsafety.vocabulary import BENIGN_TWINS

PAPER = ["scale=paper", "length=32k", "trainer=a100_8", "data_mix=longsafety_twins", "stages=[plan]"]


def settings(*overrides: str) -> Settings:
    [job] = settle(compose_jobs([*PAPER, *overrides], None))
    return job


@pytest.mark.slow
def test_the_share_is_that_of_the_trie(made: dict[str, list[Sample]], tiny_encoder: ChatEncoder) -> None:
    """All tasks with six samples each, of 700 tokens, in packs of one and a half."""
    samples = [sample for sample in made["train"] if sample.kind in ("harmful", *BENIGN_TWINS)]
    twinned = {sample.pair_id for sample in samples if sample.kind != "harmful"}
    samples = [sample for sample in samples if sample.pair_id in twinned]
    rows = [tiny_encoder.sample_ids(sample)[0] for sample in samples]
    tasks = {name: {"train": 6, "bench": 5} for name in {sample.task for sample in samples}}
    job = settings("training.batch_size=8")
    job = job.model_copy(
        update={
            "length": job.length.model_copy(update={"max_tokens": 700}),
            "scenario": type(job.scenario).model_validate({"name": "every task", "tasks": tasks}),
        }
    )
    schedule = Schedule.plan(
        rows, [1] * len(rows), job.training.model_copy(update={"epochs": 1}), ranks=1, seed=0, longest=700
    )
    saved = 1 - schedule.num_computed / schedule.num_tokens
    assert sharing(job, 1).saved == pytest.approx(saved, abs=0.06)
    assert saved > 0.25


@pytest.mark.slow
def test_twins_share_nothing_where_they_cannot() -> None:
    assert twins_share(settings()) == 0.5
    assert twins_share(settings("data_mix=longsafety")) == 0
    assert twins_share(settings("training.share_prefixes=false")) == 0
    assert twins_share(settings("scenario.goal=before")) == 0
    assert twins_share(settings("training.packing=none")) == 0
    small = sharing(settings("training.pack_tokens=32512"), 8)
    assert (small.saved, small.busy) == (0, 1), "a pack of one sample has no room for its twin"


def test_eight_samples_do_not_keep_eight_devices_busy() -> None:
    alone, shared = plan(settings("data_mix=longsafety")), plan(settings())
    assert (alone.sharing.packs, alone.sharing.busy) == (8, 1)
    assert 0.3 < shared.sharing.saved < 0.5
    assert shared.sharing.packs < 8 and shared.sharing.busy == shared.sharing.packs / 8
    assert shared.flops is not None and alone.flops is not None
    assert shared.flops / shared.tokens == pytest.approx(alone.flops / alone.tokens * (1 - shared.sharing.saved))
    more = plan(settings("training.batch_size=32")).sharing
    assert more.busy > shared.sharing.busy
    pairs = sharing(settings("trainer.sequence_parallel=2"), 8)
    assert pairs.groups == 4 and pairs.busy >= shared.sharing.busy
