"""Training on several ranks: the same losses and weights as on one, and a training that was cut off goes on."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from longsafety.data.tokens import TokenRows
from longsafety.errors import ConfigError
from longsafety.model.strategy import ranks, strategy
from longsafety.model.train import ROWS
from longsafety.model.trained import HISTORY, WEIGHTS, read_rows
from longsafety.settings import Settings, Trainer
from tests import forked

SAMPLES, BATCH = 14, 8
"""Two epochs of an optimiser step of 8 and, at the end, one of 4: fewer micro-batches than the others."""
needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed: pip install deepspeed"
)
SCRIPT = """
import os, signal, sys
from pathlib import Path
from longsafety.model import head
from longsafety.model import train as training
from longsafety.ranks import end_with_parent, first_rank, together
from longsafety.settings import Settings

folder, kill_at, fail_in, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], signal.Signals[sys.argv[4]]
if not first_rank():
    end_with_parent()
original = training.History.on_train_batch_end

def end(self, *args, **kwargs):
    original(self, *args, **kwargs)
    if self.step == kill_at and (how == signal.SIGKILL or not first_rank()):
        os.kill(os.getpid(), how)
    if os.environ.get("LOCAL_RANK", "none") in fail_in.split("+"):
        raise ValueError("a mistake in " + fail_in)

def counted(self):
    configure(self)
    held = sum(item.ds_tensor.numel() if hasattr(item, "ds_tensor") else item.numel() for item in self.parameters())
    (folder / ("held-" + os.environ.get("LOCAL_RANK", "0"))).write_text(str(held))

configure, training.CausalTuner.configure_model = training.CausalTuner.configure_model, counted
training.History.on_train_batch_end = end
head.CHUNK = 4  # so that ranks have different numbers of them
training.Progress = lambda history: training.L.Callback()
settings = Settings.model_validate_json((folder / "settings.json").read_text())
with together(folder):
    training.train(settings, folder, pad_id=2)
"""
Make = Callable[..., Settings]


def trainer(**changes: Any) -> Trainer:
    return Trainer.model_validate({"name": "t", "accelerator": "cpu", "precision": "32-true", **changes})


def deepspeed(stage: int, **changes: Any) -> dict[str, Any]:
    return {"devices": 2, "strategy": "deepspeed", "zero": {"stage": stage}, **changes}


def run(
    folder: Path, settings: Settings, *, kill_at: int = -1, how: str = "SIGKILL", fail_in: str = "", beginning: int = 0
) -> subprocess.CompletedProcess[str]:
    """A training in a process of its own, which starts the other ranks."""
    prepare(folder, settings, beginning)
    return subprocess.run(
        [sys.executable, str(folder / "script.py"), str(folder), str(kill_at), fail_in, how],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def run_in_forks(folder: Path, settings: Settings, ranks: int) -> subprocess.CompletedProcess[str]:
    """The same in forks of a process that has imported what takes long, which has started all ranks itself."""
    prepare(folder, settings, 0)
    return forked.to_their_end(folder, [str(folder), "-1", "", "SIGKILL"], ranks)


def prepare(folder: Path, settings: Settings, beginning: int) -> None:
    rows(folder / ROWS, beginning)
    (folder / "settings.json").write_text(settings.model_dump_json())
    (folder / "script.py").write_text(SCRIPT)


def rows(folder: Path, beginning: int) -> None:
    """Chats of random tokens, written as ``encode`` would; those with more than ``beginning`` share as many."""
    draw = torch.Generator().manual_seed(0)
    common = torch.randint(3, 500, (beginning,), generator=torch.Generator().manual_seed(1))

    class Encoder:
        def sample_ids(self, number: int) -> Any:
            ids = torch.randint(3, 500, (30 + 7 * number,), generator=draw)
            if len(ids) > beginning:
                ids[:beginning] = common
            return ids.numpy(), 5 + number

    if not TokenRows.complete(folder):
        TokenRows.write(folder, range(SAMPLES), Encoder())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def make(tiny_cache: Path) -> Make:
    """Gradients of some steps are clipped and of others not: a wrong scale of them shows, in spite of Adam."""

    def settings(tune: str = "full", model: dict[str, Any] | None = None, **hardware: Any) -> Settings:
        return Settings.model_validate(
            {
                "name": "test", "scale": "smoke", "corpus": "embedded", "evaluation": {}, "tracking": {}, "report": {},
                "scenario": {"name": "s", "tasks": {"KeywordRAG": {"train": 1, "bench": 1}}},
                "data_mix": {"name": "m"},
                "model": {"name": "tiny", "source": "tiny", "window": 2048, "tune": tune, **(model or {})},
                "length": {"name": "l", "max_tokens": 200},
                "training": {
                    "epochs": 2, "batch_size": BATCH, "micro_batch_size": 1, "lr_peak": 2e-4, "warmup_ratio": 0.2,
                    "clip_norm": 1.6, "checkpoint_every_steps": 1, "pack_tokens": 200,
                },
                "trainer": {"name": "t", "accelerator": "cpu", "precision": "32-true", **hardware},
                "paths": {"outputs": "unused", "cache": str(tiny_cache)},
            }
        )  # fmt: skip

    return settings


@pytest.fixture(scope="module")
def alone(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a training on one rank."""
    done: dict[str, Path] = {}

    def folder(tune: str) -> Path:
        if tune not in done:
            done[tune] = tmp_path_factory.mktemp(tune)
            ended = run_in_forks(done[tune], make(tune), 1)
            assert ended.returncode == 0, ended.stderr
        return done[tune]

    return folder


def assert_alike(folder: Path, other: Path, tolerance: float = 1e-5) -> None:
    file = "adapter_model.safetensors" if (folder / WEIGHTS / "adapter_model.safetensors").exists() else ""
    first, second = (load_file(here / WEIGHTS / (file or "model.safetensors")) for here in (folder, other))
    assert first.keys() == second.keys()
    assert all(value.dtype == torch.float32 for value in first.values())
    assert max(float((first[name] - second[name]).abs().max()) for name in first) <= tolerance
    losses, others = ([row["loss"] for row in read_rows(here / HISTORY)] for here in (folder, other))
    assert losses == pytest.approx(others, abs=tolerance) and len(losses) == 4


def test_ranks_are_devices_times_nodes() -> None:
    assert ranks(trainer()) == 1
    assert ranks(trainer(devices=2, num_nodes=3)) == 6
    assert ranks(trainer(devices="auto", num_nodes=2)) == 2


def test_lightning_makes_the_strategies_that_need_nothing_of_ours() -> None:
    assert strategy(trainer()) == "auto"
    assert strategy(trainer(strategy="ddp", devices=2)) == "ddp"


def test_deepspeed_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(ConfigError, match=r"trainer.strategy = deepspeed: .* not installed; install longsafety\["):
        strategy(trainer(strategy="deepspeed"))


HARDWARE = {
    "ddp": {"devices": 2, "strategy": "ddp"},
    **{f"zero{stage}": deepspeed(stage) for stage in (1, 2, 3)},
}
SOAK = [needs_deepspeed, pytest.mark.soak]
MARKS = {"ddp": [pytest.mark.soak], "zero1": SOAK, "zero2": SOAK, "zero3": SOAK}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hardware", "forks"),
    [
        *(pytest.param(name, False, marks=MARKS[name]) for name in HARDWARE),
        pytest.param("zero3", True, marks=needs_deepspeed),
    ],
)
def test_two_ranks_train_as_one(
    hardware: str, forks: bool, make: Make, alone: Callable[[str], Path], tmp_path: Path
) -> None:
    """Of what a rank computes, sums of 32-bit numbers in another order are the only difference."""
    settings = make(**HARDWARE[hardware])
    ended = run_in_forks(tmp_path, settings, 2) if forks else run(tmp_path, settings)
    assert ended.returncode == 0, ended.stderr
    assert_alike(tmp_path, alone("full"))
    whole = int((alone("full") / "held-0").read_text())
    held = [int((tmp_path / f"held-{rank}").read_text()) for rank in (0, 1)]
    assert held == pytest.approx([whole / 2] * 2 if hardware == "zero3" else [whole] * 2, rel=0.001)


@pytest.mark.soak
@pytest.mark.slow
@needs_deepspeed
@pytest.mark.parametrize(("stage", "how"), [(2, "SIGTERM"), (3, "SIGKILL")])
def test_a_sharded_training_that_was_ended_goes_on(
    stage: int, how: str, make: Make, alone: Callable[[str], Path], tmp_path: Path
) -> None:
    """Every rank is killed, or the second alone is told to end: all stop after that step, with a checkpoint of it."""
    settings = make(**deepspeed(stage))
    if how == "SIGTERM":  # no checkpoint but the one that the signal asks for
        settings = settings.model_copy(
            update={"training": settings.training.model_copy(update={"checkpoint_every_steps": 100})}
        )
    ended = run(tmp_path, settings, kill_at=3, how=how)
    assert ended.returncode == (-9 if how == "SIGKILL" else -2), ended.stderr  # as an interrupt from the keyboard
    assert ("KeyboardInterrupt" in ended.stderr) == (how == "SIGTERM")
    assert not (tmp_path / WEIGHTS).exists() and len(read_rows(tmp_path / HISTORY)) == 3
    ended = run(tmp_path, settings)
    assert ended.returncode == 0, ended.stderr
    assert_alike(tmp_path, alone("full"))


@pytest.mark.soak
@pytest.mark.slow
@needs_deepspeed
@pytest.mark.parametrize("stage", [3])
def test_adapters_train_in_a_sharded_training(
    stage: int, make: Make, alone: Callable[[str], Path], tmp_path: Path
) -> None:
    ended = run(tmp_path, make("lora", **deepspeed(stage)))
    assert ended.returncode == 0, ended.stderr
    assert_alike(tmp_path, alone("lora"))


@pytest.mark.soak
@pytest.mark.slow
@needs_deepspeed
@pytest.mark.parametrize(("stage", "model"), [(3, {"gradient_checkpointing": "full"})])
def test_two_ranks_that_share_each_pack_train_as_one(
    stage: int, model: dict[str, Any], make: Make, alone: Callable[[str], Path], tmp_path: Path
) -> None:
    """Packs of an odd number of tokens are filled, and some parts of them hold nothing that is supervised."""
    tune = model.get("tune", "full")
    ended = run(tmp_path, make(tune, model=model, **deepspeed(stage, sequence_parallel=2)))
    assert ended.returncode == 0, ended.stderr
    assert_alike(tmp_path, alone(tune))
    assert "each pack shared by 2 devices" in ended.stdout


@pytest.mark.soak
@pytest.mark.slow
@needs_deepspeed
def test_two_groups_of_two_ranks_with_shared_beginnings(make: Make, tmp_path: Path) -> None:
    """The exchange, and data in parallel, and what chats have in common: a trie's nodes are those of the whole pack."""
    single, several = tmp_path / "single", tmp_path / "several"
    for folder, hardware in ((single, {}), (several, deepspeed(2, devices=4, sequence_parallel=2))):
        folder.mkdir()
        ended = run(folder, make(**hardware), beginning=80)
        assert ended.returncode == 0, ended.stderr
        assert " 0% of them shared" not in ended.stdout
    assert_alike(several, single)


@pytest.mark.soak
@pytest.mark.slow
@needs_deepspeed
def test_recomputed_activations_and_offloaded_shards(make: Make, alone: Callable[[str], Path], tmp_path: Path) -> None:
    zero = {"stage": 3, "offload_optimizer": True, "offload_parameters": True}
    ended = run(tmp_path, make(model={"gradient_checkpointing": "full"}, **deepspeed(3, zero=zero)))
    assert ended.returncode == 0, ended.stderr
    assert_alike(tmp_path, alone("full"))


@pytest.mark.soak
@pytest.mark.slow
@needs_deepspeed
def test_bfloat16_weights_are_saved_from_their_float32_originals(make: Make, tmp_path: Path) -> None:
    ended = run(tmp_path, make(**deepspeed(3, precision="bf16-mixed")))
    assert ended.returncode == 0, ended.stderr
    saved = load_file(tmp_path / WEIGHTS / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in saved.values())
    assert any(not torch.equal(value, value.bfloat16().float()) for value in saved.values())


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("failing", ["1", "0+1"])
def test_an_error_ends_all_ranks_and_is_shown_once(failing: str, make: Make, tmp_path: Path) -> None:
    ended = run(tmp_path, make(**HARDWARE["ddp"]), fail_in=failing)
    assert ended.returncode != 0
    assert ended.stderr.count(f"ValueError: a mistake in {failing}") == 1
    assert ended.stderr.count("Traceback") == 1


@pytest.mark.soak
@pytest.mark.slow
@needs_deepspeed
@pytest.mark.parametrize("recomputed", ["none", "selective", "full", "layers=1"])
@pytest.mark.parametrize("tune", ["full", "lora"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_every_stage_with_and_without_adapters_and_recomputation_in_bfloat16(
    stage: int, tune: str, recomputed: str, make: Make, alone: Callable[[str], Path], tmp_path: Path
) -> None:
    """As the presets for GPUs compose them; the losses are near those of one rank in float32."""
    ended = run(
        tmp_path, make(tune, model={"gradient_checkpointing": recomputed}, **deepspeed(stage, precision="bf16-mixed"))
    )
    assert ended.returncode == 0, ended.stderr
    losses, expected = ([row["loss"] for row in read_rows(folder / HISTORY)] for folder in (tmp_path, alone(tune)))
    assert losses == pytest.approx(expected, abs=0.05)
