"""The plan's figures computed by hand, what it does not know, and overrides that make a job fit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.model.shape import Shape, shape_of
from longsafety.planning.memory import PARTS
from longsafety.planning.training import plan
from longsafety.settings import Model, Settings

CONF = Path(__file__).parents[2] / "conf" / "model"
EIGHT_B = ["scale=paper", "model=llama3_1_8b", "length=32k", "trainer=deepspeed_zero3", "stages=[plan]"]
SAMPLES = ["data_mix.budget=17468", "data_mix.budget_unit=samples"]
LENGTH = 32_512
MATRICES = 32 * (2 * 4096 * (4096 + 1024) + 3 * 4096 * 14336)


def settings(*overrides: str) -> Settings:
    [job] = settle(compose_jobs([*EIGHT_B, *SAMPLES, *overrides], None))
    return job


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("[!_]*.yaml")))
def test_the_parameters_of_a_preset_are_those_that_it_states(name: str) -> None:
    [job] = compose_jobs([f"model={name}"], None)
    model = Model.model_validate(job.config["model"])
    shape = shape_of(model)
    if shape is None or model.num_parameters is None:
        pytest.skip("its shape or its number of parameters is not known")
    assert shape.parameters == model.num_parameters


def test_the_items_own_length_is_planned() -> None:
    assert [plan(settings(f"length.factor={factor}", "model.window=262144")).length for factor in (1, 2)] == [
        "32,512", "65,024",
    ]  # fmt: skip
    several = plan(settings("length.lengths=[8192,32512]", "length.factor=2", "model.window=262144"))
    assert several.length == "16,384 and 65,024"
    assert several.tokens == several.samples * (8192 + 32512) // 2
    assert plan(settings("length=paper", "model.window=131072")).length == "41,900 on average, at most 130,816"


def test_a_budget_of_supervised_tokens_is_estimated_in_samples() -> None:
    made = plan(settings("data_mix.budget=400000", "data_mix.budget_unit=tokens"))
    [said] = [line for line in made.unknowns if line.startswith("samples: data_mix.budget counts supervised tokens")]
    answer = float(re.findall(r"estimated for (\d+) a sample", said)[0])
    assert 30 < answer < 80
    assert made.samples == pytest.approx(2 * 400_000 / answer, rel=0.02)
    assert made.tokens == made.samples * LENGTH


def test_eight_billion_parameters_on_eight_gpus() -> None:
    made = plan(settings())
    number = 8_030_261_248
    assert (made.parameters, made.trainable, made.devices) == (number, number, 8)
    assert (made.samples, made.steps) == (2 * 17_468, 2 * 17_468 // 8)
    assert made.tokens == 2 * 17_468 * LENGTH
    attention = 6 * 32 * 4096 * LENGTH
    assert made.flops is not None
    assert made.flops == pytest.approx(made.tokens * (8 * MATRICES + attention * 4 / 3))
    assert made.hours["A100-80G"] == pytest.approx(made.flops / (8 * 312e12 * 0.4) / 3600)
    assert made.memory is not None
    assert made.memory["optimiser"] == pytest.approx(12 * number / 8)
    assert made.memory["gradients"] == pytest.approx(2 * number / 8)
    assert made.memory["weights"] == pytest.approx(2 * number / 8 + 2e9)
    assert made.memory["logits"] == (64 * 10 + (2 + 2) * 4096) * 128_256  # an answer, and the head's gradient
    assert made.fits and made.fix is None


@pytest.mark.parametrize(("stage", "sharded"), [(1, {"optimiser"}), (2, {"optimiser", "gradients"})])
def test_lower_stages_of_zero_shard_less(stage: int, sharded: set[str]) -> None:
    memory = plan(settings(f"trainer.zero.stage={stage}")).memory
    assert memory is not None
    whole = {"weights": 2 * 8_030_261_248, "gradients": 2 * 8_030_261_248, "optimiser": 12 * 8_030_261_248}
    for part, size in whole.items():
        assert memory[part] == pytest.approx(size / (8 if part in sharded else 1))


def test_lora_trains_little() -> None:
    made, full = plan(settings("model.tune=lora", "trainer.zero.stage=2")), plan(settings())
    per_layer = 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    assert made.trainable == 32 * per_layer
    assert made.flops is not None and full.flops is not None
    assert full.flops - made.flops == pytest.approx(full.tokens * 2 * MATRICES)


def test_checkpointing_trades_time_for_activations() -> None:
    plans = {kind: plan(settings(f"model.gradient_checkpointing={kind}")) for kind in ("none", "selective", "full")}
    kept = [made.memory["activations"] for made in plans.values() if made.memory]
    assert kept[0] > kept[1] > kept[2]
    work = [made.flops or 0 for made in plans.values()]
    assert work[0] < work[1] < work[2]


def test_what_does_not_fit_gets_the_smallest_change() -> None:
    made = plan(settings("training.micro_batch_size=4"))
    assert made.fits is False
    assert made.fix == f"training.pack_tokens={LENGTH}"
    made = plan(settings("model.gradient_checkpointing=none"))
    assert made.fix == "model.gradient_checkpointing=full"
    alone = plan(settings("trainer=gpu"))
    assert alone.fits is False
    assert alone.fix == "training.optimizer=adamw_8bit trainer.precision=bf16-true"
    long = plan(settings("trainer=gpu", "trainer.gpu=H200-141G", "length.max_tokens=180000", "model.window=262144"))
    assert long.fix == "trainer=deepspeed_zero3"
    longer = plan(settings("trainer=gpu", "length.max_tokens=120000"))
    assert longer.fix is not None and "trainer=deepspeed_zero3" in longer.fix
    assert "adamw_8bit" not in longer.fix and "mlp_tile" not in longer.fix


def test_eight_bit_states_and_tiles_save_memory() -> None:
    small, whole = (plan(settings("trainer=h200_1", f"training.optimizer={name}")) for name in ("adamw_8bit", "adamw"))
    assert small.memory is not None and whole.memory is not None
    number = 8_030_261_248
    assert small.memory["optimiser"] == pytest.approx((2 + 2 * 4 / 256) * number)
    assert whole.memory == {**small.memory, "optimiser": 4.0 * number}
    tiled = plan(settings("trainer=h200_1", "model.mlp_tile_tokens=2048"))
    assert tiled.memory is not None
    saved = 2 * (4 + 3) * 14336 * (LENGTH - 2048) - (64 * 10) * 128_256  # the logits are freed before
    assert small.memory["activations"] - tiled.memory["activations"] == pytest.approx(saved, rel=0.1)


def test_the_untrained_arm_is_only_evaluated() -> None:
    made = plan(settings("data_mix=base"))
    assert (made.steps, made.tokens, made.flops, made.memory, made.disk) == (0, 0, 0.0, None, None)
    assert made.evaluation_hours["A100-80G"]


@pytest.mark.slow
def test_an_unknown_model_has_unknown_figures() -> None:
    made = plan(settings("model.source=somebody/something"))
    assert made.flops is None and made.memory is None and made.disk is None and made.fits is None
    assert any("somebody/something is not known; give its folder" in line for line in made.unknowns)


def test_the_shape_is_read_from_a_local_folder(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 10,
        "tie_word_embeddings": True,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = shape_of(Model(name="m", source=str(tmp_path), window=64))
    assert shape == Shape(2, 8, 2, 2, 4, 16, 10, tied=True)
    (tmp_path / "config.json").write_text("{}")
    assert shape_of(Model(name="m", source=str(tmp_path), window=64)) is None


@pytest.mark.slow
def test_the_command_answers_without_torch_and_writes_nothing(tmp_path: Path) -> None:
    arguments = [*EIGHT_B, "--multirun", "length=8k,32k", f"paths.outputs={tmp_path / 'outputs'}"]
    code = (
        "import sys; sys.argv[0] = 'longsafety'\nfrom longsafety.__main__ import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True, cwd=CONF.parents[1]
    ).stdout
    assert all(part in shown for part in PARTS)
    assert "32,512" in shown and "8,192" in shown
    assert "share one training" in shown and "none" in shown and "unknown: judge" not in shown
    assert not (tmp_path / "outputs").exists()


def test_plan_stands_alone() -> None:
    from longsafety.errors import ConfigError

    with pytest.raises(ConfigError, match=r"stages = \[plan,train\]: plan only estimates.*set stages=\[plan\] first"):
        settings("stages=[plan,train]")


def test_devices_that_share_packs_share_activations() -> None:
    whole, shared = plan(settings()).memory, plan(settings("trainer.sequence_parallel=4")).memory
    assert whole is not None and shared is not None
    assert shared == {**whole, "activations": whole["activations"] / 4}


def test_a_length_that_no_device_holds_is_shared() -> None:
    long = settings("length.max_tokens=120000", "model.gradient_checkpointing=full")
    made = plan(long.model_copy(update={"training": long.training.model_copy(update={"pack_tokens": 120_000})}))
    assert made.fits is False and made.fix == "trainer.sequence_parallel=2"
    seven_heads = settings("model=qwen2_5_7b", "length.max_tokens=32000", "model.window=131072")
    assert "sequence_parallel=8" not in str(plan(seven_heads).fix)


@pytest.mark.parametrize(
    ("name", "devices", "gpu"),
    [("a100_1", 1, "A100-80G"), ("a100_8", 8, "A100-80G"), ("a100_2x8", 16, "A100-80G"), ("h200_1", 1, "H200-141G")],
)
def test_eight_billion_parameters_at_32k_fit_the_presets(name: str, devices: int, gpu: str) -> None:
    made = settings(f"trainer={name}", "model.gradient_checkpointing=full")
    assert made.trainer.name == name and made.trainer.gpu == gpu
    assert set(made.trainer.assumed) <= set(made.trainer.model_dump())
    assert plan(made).devices == devices and plan(made).fits
