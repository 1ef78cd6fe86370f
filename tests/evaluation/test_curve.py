"""The safety curve: it is drawn, and the training does not notice."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError
from longsafety.evaluation.backends.transformers import TransformersBackend
from longsafety.evaluation.curve import BALANCE, gathered
from longsafety.evaluation.open_replies import verdicts
from longsafety.model.trained import CURVE, SUMMARY, WEIGHTS, read_rows
from longsafety.pipeline.run import Run
from longsafety.pipeline.weights import weights
from tests import forked

if TYPE_CHECKING:
    from tests.conftest import Place

pytestmark = pytest.mark.usefixtures("tiny_one_thread")


def trained(place: Place, *changes: str) -> Path:
    """The weights' folder of a tiny training of eight steps."""
    settings = place.settings(
        "model.tune=full", "training.lr_peak=1e-2", "training.batch_size=4", "data_mix.budget=16",
        "data_mix.budget_unit=samples", "training.epochs=2", *changes,
    )  # fmt: skip
    return weights(Run.freeze(settings))


def arrays(folder: Path) -> dict[str, Any]:
    return load_file(folder / WEIGHTS / "model.safetensors")


@pytest.mark.slow
def test_a_curve_leaves_the_training_as_it_was(place: Place) -> None:
    curve = ["training.curve_every_steps=3", "training.curve_items=6"]
    plain, drawn = (trained(place, *changes) for changes in ([], curve))
    assert plain != drawn
    one, other = arrays(plain), arrays(drawn)
    assert all(torch.equal(one[name], other[name]) for name in one)
    rows = read_rows(drawn / CURVE)
    assert [row["step"] for row in rows] == [0, 3, 6, 8]
    assert not (plain / CURVE).exists()
    for row in rows:
        assert row[BALANCE] == (row["safe_response"] + row["compliance"]) / 2
        assert 0 <= row["compliance"] <= 1
    best = trained(place, *curve, "training.keep=best")
    step = max(rows, key=lambda row: (row[BALANCE], -row["step"]))["step"]
    assert f'"kept_step": {step}' in (best / SUMMARY).read_text()
    same = all(torch.equal(value, other[name]) for name, value in arrays(best).items())
    assert same == (step == 8)
    assert not (best / "best").exists()


@pytest.mark.slow
def test_a_curve_of_open_replies_goes_by_the_detector(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "declines", lambda reply: True)
    monkeypatch.setattr(TransformersBackend, "replies", lambda self, prompts, **_: [one[5:25] for one in prompts])
    curve = ["training.curve_every_steps=8", "training.curve_items=4", "evaluation.scorers=[open]"]
    rows = read_rows(trained(place, *curve) / CURVE)
    assert [(row["safe_response"], row["compliance"]) for row in rows] == [(1, 0)] * 2


def test_the_best_needs_a_curve() -> None:
    with pytest.raises(ConfigError, match=r"training.keep = best: needs the safety curve; set training.curve_every"):
        settle(compose_jobs(["scale=smoke", "training.keep=best"]))


def test_devices_that_share_packs_cannot_ask() -> None:
    wrong = ["scale=smoke", "trainer=deepspeed_zero3_cpu", "trainer.sequence_parallel=2"]
    with pytest.raises(ConfigError, match=r"training.curve_every_steps = 5: devices that share a pack"):
        settle(compose_jobs([*wrong, "training.curve_every_steps=5"]))


def share(rank: int, world: int, folder: str) -> None:
    """Writes what this rank asked and what it then had, a line each, into the file of its number."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    items: Any = [SimpleNamespace(id=f"{pair}-{kind}", pair_id=pair) for pair in "abc" for kind in range(2)]
    asked: list[str] = []

    def ask(some: Any) -> pd.DataFrame:
        asked.extend(item.id for item in some)
        return pd.DataFrame({"item_id": [item.id for item in some]})

    found = gathered(ask, items, shares=True)
    (Path(folder) / str(rank)).write_text(f"{' '.join(asked)}\n{' '.join(sorted(found['item_id']))}")


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.soak)])
def test_ranks_share_the_items_by_family(world: int, tmp_path: Path) -> None:
    """Of four, one has nothing to ask; all have every answer."""
    arguments = [(rank, world, str(tmp_path)) for rank in range(world)]
    ranks = [forked.server().Process(target=share, args=one) for one in arguments]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
    told = [(tmp_path / str(rank)).read_text("utf-8").split("\n") for rank in range(world)]
    every = ["a-0", "a-1", "b-0", "b-1", "c-0", "c-1"]
    assert [found.split() for _, found in told] == [every] * world
    shares = [asked.split() for asked, _ in told]
    assert sorted(item for share in shares for item in share) == every
    assert shares[0] == (["a-0", "a-1", "c-0", "c-1"] if world == 2 else ["a-0", "a-1"])
