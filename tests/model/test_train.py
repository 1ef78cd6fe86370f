"""Training: it learns, and a training that was cut off ends as one that was not."""

from __future__ import annotations

import json
import re
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from longsafety.data.mix import Mix
from longsafety.data.module import MixModule
from longsafety.data.schedule import Schedule
from longsafety.data.tokens import TokenRows
from longsafety.errors import DataError
from longsafety.model import train as training
from longsafety.model.attention import NAME
from longsafety.model.checkpoints import requeue
from longsafety.model.device import training_memory, unfilled_memory
from longsafety.model.history import History
from longsafety.model.load import load_model
from longsafety.model.loss import supervised_loss
from longsafety.model.module import learning_rate
from longsafety.model.train import encode, train
from longsafety.model.trained import HISTORY, SUMMARY, WEIGHTS, load_trained, read_rows
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span
from longsafety.settings import Settings

pytestmark = pytest.mark.usefixtures("tiny_one_thread")
SAMPLES, STEPS = 16, 8
WEIGHT_FILES = {"full": "model.safetensors", "lora": "adapter_model.safetensors"}
Make = Callable[..., Settings]


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def make(tiny_cache: Path) -> Make:
    """Settings of a training of 16 samples: two epochs, four samples a step, two a micro-batch."""

    def settings(tune: str = "full", **changes: Any) -> Settings:
        recipe = {
            "epochs": 2, "batch_size": 4, "micro_batch_size": 2, "lr_peak": 1e-2, "warmup_ratio": 0.2,
            "checkpoint_every_steps": 1, **changes,
        }  # fmt: skip
        return Settings.model_validate(
            {
                "name": "test", "scale": "smoke", "corpus": "embedded", "evaluation": {}, "tracking": {}, "report": {},
                "scenario": {"name": "s", "tasks": {"KeywordRAG": {"train": 1, "bench": 1}}},
                "data_mix": {"name": "m"},
                "model": {"name": "tiny", "source": "tiny", "window": 2048, "tune": tune},
                "length": {"name": "l", "max_tokens": 200},
                "training": recipe,
                "trainer": {"name": "cpu", "accelerator": "cpu", "precision": "32-true"},
                "paths": {"outputs": "unused", "cache": str(tiny_cache)},
            }
        )  # fmt: skip

    return settings


@pytest.fixture(scope="module")
def mix() -> Mix:
    plain: dict[str, Any] = dict.fromkeys(("task", "scenario", "kind", "category", "seed_id", "licence"), "x")
    samples = [
        Sample(
            id=str(number), pair_id=str(number), **plain, context=(Span(number, 0, 20 + 3 * number),),
            question=f"What is number {number}?", answer="I can't help with that, because it could harm someone.",
        )
        for number in range(SAMPLES)
    ]  # fmt: skip
    return Mix(samples, [])


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bar is no part of these tests; its refreshes take longer than a step of the tiny model."""
    from lightning.pytorch.callbacks import Callback

    monkeypatch.setattr(training, "Progress", lambda history: Callback())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run(settings: Settings, mix: Mix, encoder: ChatEncoder, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    encode(mix.samples, encoder, settings, folder)
    return train(settings, folder, pad_id=2)


def weights(folder: Path, tune: str) -> dict[str, torch.Tensor]:
    return load_file(folder / WEIGHTS / WEIGHT_FILES[tune])


@pytest.fixture(scope="module")
def whole(make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trainings that nothing cut off, by how they tune."""
    folders = {}
    for tune in WEIGHT_FILES:
        folders[tune] = tmp_path_factory.mktemp(tune)
        run(make(tune), mix, tiny_encoder, folders[tune])
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("tune", WEIGHT_FILES)
def test_training_lowers_the_loss(whole: dict[str, Path], tune: str) -> None:
    rows = read_rows(whole[tune] / HISTORY)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert rows[-1]["loss"] < rows[0]["loss"] * (0.8 if tune == "full" else 0.99)


def test_the_summary_tells_what_was_done(whole: dict[str, Path], mix: Mix, tiny_encoder: ChatEncoder) -> None:
    chats = [tiny_encoder.sample_ids(sample) for sample in mix.samples]
    for tune, folder in whole.items():
        summary, rows = json.loads((folder / SUMMARY).read_text()), read_rows(folder / HISTORY)
        assert (summary["steps"], summary["samples"]) == (STEPS, 2 * SAMPLES)
        assert summary["tokens"] == 2 * sum(len(ids) for ids, _ in chats)
        assert summary["supervised_tokens"] == 2 * sum(answer for _, answer in chats)
        assert summary["final_loss"] == rows[-1]["loss"]
        assert summary["precision"] == "32-true"
        assert (summary["trainable_parameters"] < summary["parameters"]) == (tune == "lora")
        assert not (folder / "checkpoints").exists()


def test_the_history_holds_the_loss_of_each_step(
    whole: dict[str, Path], make: Make, mix: Mix, tiny_encoder: ChatEncoder, tiny_cache: Path, tmp_path: Path
) -> None:
    settings = make()
    rows = TokenRows.write(tmp_path, mix.samples, tiny_encoder)
    chats = [rows[number].ids for number in range(len(rows))]
    schedule = Schedule.plan(chats, rows.num_answers.tolist(), settings.training, ranks=1, seed=0, longest=200)
    batches = iter(MixModule(rows, schedule, settings.training, pad_id=2).train_dataloader())
    network = load_model(settings.model, tiny_cache, seed=settings.seed)
    network.set_attn_implementation(NAME)
    with torch.no_grad():
        expected = sum(float(supervised_loss(network, next(batches))) for _ in range(2))
    told = read_rows(whole["full"] / HISTORY)
    assert told[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_history_holds_the_rate_that_each_step_was_done_with(whole: dict[str, Path], make: Make) -> None:
    factor = learning_rate(make().training, STEPS)
    rows = read_rows(whole["full"] / HISTORY)
    assert [row["lr"] for row in rows] == pytest.approx([1e-2 * factor(step) for step in range(STEPS)])


@pytest.mark.slow
def test_lora_leaves_the_base_model_alone(whole: dict[str, Path], make: Make, tiny_cache: Path) -> None:
    settings = make("lora")
    assert all("lora_" in name for name in weights(whole["lora"], "lora"))
    trained = load_trained(settings.model, whole["lora"] / WEIGHTS, tiny_cache, seed=0).state_dict()
    base = load_model(settings.model, tiny_cache, seed=0).state_dict()
    assert trained.keys() == base.keys()
    changed = {name for name in base if not torch.equal(base[name], trained[name])}
    assert changed and all("_proj" in name for name in changed)


@pytest.mark.parametrize("tune", WEIGHT_FILES)
def test_trained_weights_are_loaded_as_they_were_saved(
    whole: dict[str, Path], make: Make, tiny_cache: Path, tune: str
) -> None:
    settings = make(tune)
    network = load_trained(settings.model, whole[tune] / WEIGHTS, tiny_cache, seed=0)
    assert not network.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    if tune == "full":
        state = network.state_dict()
        assert all(torch.equal(state[name], value) for name, value in weights(whole[tune], tune).items())


@pytest.mark.slow
@pytest.mark.parametrize("tune", WEIGHT_FILES)
def test_the_same_training_again_gives_the_same_weights(
    whole: dict[str, Path], make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path, tune: str
) -> None:
    run(make(tune), mix, tiny_encoder, tmp_path)
    assert_same(weights(tmp_path, tune), weights(whole[tune], tune))


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def kill_at(monkeypatch: pytest.MonkeyPatch, micro_batch: int) -> None:
    """Ends the training after so many micro-batches, before the checkpoint of that moment is written."""
    original, seen = History.on_train_batch_end, iter(range(1, 10_000))

    def killing(self: History, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if next(seen) == micro_batch:
            raise Killed

    monkeypatch.setattr(History, "on_train_batch_end", killing)


CUTS = {
    "after a step": ([6], 1),
    "in the middle of a step": ([7], 1),
    "in the second epoch": ([11], 1),
    "before any checkpoint": ([1], 1),
    "between two checkpoints": ([12], 3),
    "in the last step": ([15], 1),
    "three times": ([3, 4, 5], 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("tune", WEIGHT_FILES)
@pytest.mark.parametrize("cut", CUTS)
def test_a_training_cut_off_and_gone_on_with_ends_bit_for_bit_the_same(
    whole: dict[str, Path], make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, cut: str, tune: str,
) -> None:  # fmt: skip
    ends, every = CUTS[cut]
    settings = make(tune, checkpoint_every_steps=every)
    for end in ends:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, end)
            run(settings, mix, tiny_encoder, tmp_path)
        assert not (tmp_path / WEIGHTS).exists()
        assert not (tmp_path / SUMMARY).exists()
    summary = run(settings, mix, tiny_encoder, tmp_path)
    assert_same(weights(tmp_path, tune), weights(whole[tune], tune))
    rows, expected = (read_rows(folder / HISTORY) for folder in (tmp_path, whole[tune]))
    for name in ("step", "loss", "lr", "tokens"):
        assert [row[name] for row in rows] == [row[name] for row in expected], name
    assert summary["tokens"] == json.loads((whole[tune] / SUMMARY).read_text())["tokens"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_so_does_one_with_eight_bit_states(
    make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """In bfloat16 it rounds stochastically."""
    pytest.importorskip("torchao")
    settings = make(optimizer="adamw_8bit", epochs=1, lr_peak=2e-3)
    settings = settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"precision": precision})})
    run(settings, mix, tiny_encoder, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, 3)
        run(settings, mix, tiny_encoder, tmp_path / "cut")
    torch.manual_seed(99)
    run(settings, mix, tiny_encoder, tmp_path / "cut")
    assert_same(weights(tmp_path / "cut", "full"), weights(tmp_path / "whole", "full"))
    losses = [row["loss"] for row in read_rows(tmp_path / "whole" / HISTORY)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_what_a_checkpoint_has_behind_it_is_not_done_again(
    make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    original = MixModule.collate

    def counting(self: MixModule, members: Any) -> Any:
        done.append(len(members))
        return original(self, members)

    monkeypatch.setattr(MixModule, "collate", counting)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, 12)
        run(make(), mix, tiny_encoder, tmp_path)
    done.clear()
    run(make(), mix, tiny_encoder, tmp_path)
    assert sum(done) == (STEPS - 5) * 4


def test_lora_checkpoints_hold_what_is_trained(
    make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at(monkeypatch, 4)
    with pytest.raises(Killed):
        run(make("lora"), mix, tiny_encoder, tmp_path)
    kept = torch.load(tmp_path / "checkpoints" / "step-00000001.ckpt", weights_only=False)
    assert kept["global_step"] == 1
    assert kept["state_dict"]
    assert all("lora_" in name for name in kept["state_dict"])


@pytest.fixture
def cut(make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The checkpoints of a training that was cut off in its sixth step, the newest last."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, 12)
        run(make(), mix, tiny_encoder, tmp_path)
    return sorted((tmp_path / "checkpoints").iterdir())


@pytest.mark.slow
def test_the_last_two_checkpoints_are_kept(cut: list[Path]) -> None:
    assert [path.name for path in cut] == ["step-00000004.ckpt", "step-00000005.ckpt"]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_corrupt_checkpoint_is_named_and_the_one_before_it_used(
    cut: list[Path], whole: dict[str, Path], make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], share: float,
) -> None:  # fmt: skip
    content = cut[1].read_bytes()
    cut[1].write_bytes(content[: int(len(content) * share)])
    run(make(), mix, tiny_encoder, tmp_path)
    assert re.search(rf"(?m)^longsafety: {cut[1]}: cannot be read \(.+\); going on from the one before, step 4$",
                     capsys.readouterr().err)  # fmt: skip
    assert_same(weights(tmp_path, "full"), weights(whole["full"], "full"))


def test_without_a_readable_checkpoint_it_does_not_begin_afresh_unasked(
    cut: list[Path], make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path
) -> None:
    for path in cut:
        path.write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match=rf"^{cut[1]}: cannot be read \(.+\); delete {cut[1].parent}, and the training"):
        run(make(), mix, tiny_encoder, tmp_path)


def test_a_checkpoint_of_another_model(
    cut: list[Path], make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"^{cut[1]}: a checkpoint of another model .*'full'.*'lora'.*; delete it"):
        run(make("lora"), mix, tiny_encoder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_leaves_a_checkpoint_and_the_training_goes_on_from_it(
    whole: dict[str, Path], make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals,
) -> None:  # fmt: skip
    """Sent in the middle of the third step; the next regular checkpoint would have been after the fiftieth."""
    settings = make(checkpoint_every_steps=50)
    original, seen = History.on_train_batch_end, iter(range(1, 10_000))

    def signalling(self: History, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if next(seen) == 5:
            signal.raise_signal(number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(History, "on_train_batch_end", signalling)
        run(settings, mix, tiny_encoder, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003.ckpt"]
    run(settings, mix, tiny_encoder, tmp_path)
    assert_same(weights(tmp_path, "full"), weights(whole["full"], "full"))


def test_slurm_is_asked_for_another_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {asked}\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    requeue()
    assert not asked.exists()
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    requeue()
    assert asked.read_text() == "requeue 17\n"


def test_a_history_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / HISTORY
    assert read_rows(path) == []
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_rows(path) == [{"step": 1, "loss": 2.0}]


@pytest.mark.slow
def test_the_reduction_by_tokens_trains_otherwise(
    whole: dict[str, Path], make: Make, tiny_encoder: ChatEncoder, mix: Mix, tmp_path: Path
) -> None:
    long = [sample.replace(answer=sample.answer * (number % 3 + 1)) for number, sample in enumerate(mix.samples)]
    losses = []
    for reduction in ("sample", "token"):
        settings = make(epochs=1, loss_reduction=reduction)
        losses.append(run(settings, Mix(long, []), tiny_encoder, tmp_path / reduction)["final_loss"])
    assert losses[0] != losses[1]


def test_fresh_memory_is_not_filled_during_a_training_only() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with unfilled_memory(), training_memory(reuse=True):
            assert not getattr(torch.utils.deterministic, "fill_uninitialized_memory")  # noqa: B009
        assert getattr(torch.utils.deterministic, "fill_uninitialized_memory")  # noqa: B009
        assert torch.empty(8).isnan().all()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_training_that_diverges_ends_and_keeps_nothing(
    make: Make, mix: Mix, tiny_encoder: ChatEncoder, tmp_path: Path
) -> None:
    settings = make(lr_peak=1e30, schedule="constant", checkpoint_every_steps=1)
    with pytest.raises(DataError, match=r"^training\.lr_peak = 1e\+30: the training diverged, .* at step [1-3], "):
        run(settings, mix, tiny_encoder, tmp_path)
    assert not (tmp_path / "weights").exists()
    for path in tmp_path.glob("checkpoints/*.ckpt"):
        kept = torch.load(path, weights_only=False)["state_dict"]
        assert all(torch.isfinite(value).all() for value in kept.values())
