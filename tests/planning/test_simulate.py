"""The memory of a training step on tensors without contents: beside the plan's formula, and below the GPU's."""

from __future__ import annotations

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.model.shape import Shape, shape_of
from longsafety.planning.memory import MEMORY, USABLE
from longsafety.planning.simulate import activations, chats, simulated_memory
from longsafety.planning.training import Plan, plan
from longsafety.settings import Settings

pytestmark = pytest.mark.slow

PAPER = ["scale=paper", "length=32k", "stages=[plan]"]
CASES = {
    "a chat of 32k, ZeRO-3": ["trainer=a100_8"],
    "with a twin": ["trainer=a100_8", "data_mix=longsafety_twins"],
    "all recomputed": ["trainer=a100_8", "model.gradient_checkpointing=full"],
    "adapters, ZeRO-2": ["trainer=deepspeed_zero2", "model.tune=lora"],
    "one H200": ["trainer=h200_1"],
    "one H200, with a twin": ["trainer=h200_1", "data_mix=longsafety_twins"],
    "24 of 32 layers recomputed": ["trainer=h200_1", 'model.gradient_checkpointing="layers=24"'],
}


def made(*overrides: str) -> tuple[Settings, Shape, Plan]:
    [job] = settle(compose_jobs([*PAPER, *overrides], None))
    shape = shape_of(job.model)
    assert shape is not None
    return job, shape, plan(job)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [case if case == "with a twin" else pytest.param(case, marks=pytest.mark.soak) for case in CASES]
)
def test_eight_billion_parameters_at_32k(case: str) -> None:
    job, shape, planned = made(*CASES[case])
    parts = simulated_memory(job, shape, planned)
    whole = sum(parts.values())
    assert planned.peak == pytest.approx(whole, rel=0.15)
    assert whole < MEMORY[job.trainer.gpu] * USABLE
    assert planned.pack_tokens == (48_768 if "twin" in case else 32_512)


@pytest.mark.soak
def test_few_layers_tell_of_many() -> None:
    """A small model in all its layers, against what grows with each of three and four."""
    job, _, planned = made("trainer=a100_8", "length.max_tokens=2048")
    shape = Shape(9, 256, 8, 2, 32, 896, 4096)
    told = simulated_memory(job, shape, planned)["activations and logits"]
    assert told == pytest.approx(activations(job, shape, 9, planned), rel=0.01)


def test_offloaded_activations_and_tiles_take_less() -> None:
    shape = Shape(4, 256, 8, 2, 32, 896, 4096)
    sizes = []
    for changes in (
        [],
        ["model.mlp_tile_tokens=256"],
        ["model.mlp_tile_tokens=256", "trainer.offload_activations=true"],
    ):
        job, _, planned = made(
            "trainer=h200_1", "length.max_tokens=2048", "model.gradient_checkpointing=none", *changes
        )
        sizes.append(activations(job, shape, 4, planned))
    assert sizes[0] > 1.2 * sizes[1] > 1.2 * 1.2 * sizes[2]


def test_the_pack_is_the_plan_s() -> None:
    """An item with a twin that shares its first half; chats of their own otherwise."""
    job, shape, planned = made("trainer=a100_8", "data_mix=longsafety_twins")
    item, twin = (row.ids for (row, _) in chats(job, planned, shape.vocabulary))
    assert len(item) == len(twin) == 32_512
    assert (item[:16_256] == twin[:16_256]).all() and (item[16_256:] != twin[16_256:]).mean() > 0.9
    job, shape, planned = made("trainer=a100_8", "training.pack_tokens=70000")
    assert [len(row.ids) for row, _ in chats(job, planned, shape.vocabulary)] == [32_512, 32_512, 70_000 - 65_024]


def test_adapters_take_less_than_all_weights() -> None:
    """Their gradients' activations: no copies of norms, and a narrow one for each matrix."""
    shape = Shape(4, 256, 8, 2, 32, 896, 4096)
    sizes = []
    for tune in ("full", "lora"):
        job, _, planned = made("trainer=deepspeed_zero2", "length.max_tokens=2048", f"model.tune={tune}")
        sizes.append(activations(job, shape, 4, planned))
    assert 0.5 * sizes[0] < sizes[1] < sizes[0]
