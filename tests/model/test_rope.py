"""Scaled rotary positions: what is set, what it does to the frequencies, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from longsafety.errors import ConfigError
from longsafety.model.load import TINY_WINDOW, load_model
from longsafety.model.rope import rope_parameters, rope_problems
from longsafety.model.tiny import model_folder
from longsafety.settings import Model, Rope

pytestmark = pytest.mark.usefixtures("tiny_one_thread")
PRETRAINED, EXTENDED, THETA = TINY_WINDOW, 2 * TINY_WINDOW, 10_000.0
KINDS = {
    "linear": Rope(kind="linear"),
    "dynamic": Rope(kind="dynamic"),
    "yarn": Rope(kind="yarn"),
    "abf": Rope(kind="abf", theta=500_000.0),
}
Load = Callable[..., Any]


@pytest.fixture(scope="module")
def load(tiny_cache: Path) -> Load:
    def network(rope: Rope | None = None, window: int = EXTENDED, source: str = "tiny") -> Any:
        return load_model(Model(name="m", source=source, window=window), tiny_cache, seed=0, rope=rope)

    return network


@pytest.fixture
def folder(tiny_cache: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model with a pretrained window of 256 tokens."""
    return Path(shutil.copytree(model_folder(tiny_cache, 256, 0), tmp_path / "local"))


def config(**parameters: Any) -> LlamaConfig:
    return LlamaConfig(
        max_position_embeddings=PRETRAINED, rope_parameters={"rope_type": "default", "rope_theta": THETA, **parameters}
    )


def rotary(network: Any, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = network.model.rotary_emb(torch.zeros(1), positions[None])
    return cos, sin


def logits(network: Any, start: int, count: int = 8) -> torch.Tensor:
    ids = torch.arange(5, 5 + count)[None]
    with torch.inference_mode():
        result: torch.Tensor = network(ids, position_ids=torch.arange(start, start + count)[None]).logits
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_positions_up_to_twice_the_window(load: Load, kind: str) -> None:
    network = load(KINDS[kind])
    ids = (torch.arange(EXTENDED) % 97)[None]
    with torch.inference_mode():
        hidden = network.model(ids, use_cache=False).last_hidden_state
    assert hidden.shape[1] == EXTENDED
    assert torch.isfinite(hidden).all()
    assert torch.isfinite(logits(network, EXTENDED - 8)).all()
    # The same weights, at other angles.
    plain = load(None, PRETRAINED)
    assert torch.equal(network.model.embed_tokens.weight, plain.model.embed_tokens.weight)
    assert not torch.allclose(logits(network, EXTENDED - 8), logits(plain, EXTENDED - 8), atol=1e-6)


def test_linear_halves_the_positions_exactly(load: Load) -> None:
    scaled, plain = load(Rope(kind="linear")), load(None, PRETRAINED)
    assert scaled.config.rope_parameters == {"rope_type": "linear", "rope_theta": THETA, "factor": 2.0}
    assert scaled.config.max_position_embeddings == EXTENDED
    assert torch.equal(scaled.model.rotary_emb.inv_freq * 2, plain.model.rotary_emb.inv_freq)
    positions = torch.arange(0, EXTENDED, 2)
    for one, other in zip(rotary(scaled, positions), rotary(plain, positions // 2), strict=True):
        assert torch.equal(one, other)


def test_yarn_differs_from_linear_and_from_none(load: Load) -> None:
    yarn, linear, plain = load(Rope(kind="yarn")), load(Rope(kind="linear")), load(None, PRETRAINED)
    assert yarn.config.rope_parameters == {
        "rope_type": "yarn",
        "rope_theta": THETA,
        "factor": 2.0,
        "original_max_position_embeddings": PRETRAINED,
    }
    fast, slow = yarn.model.rotary_emb.inv_freq[0], yarn.model.rotary_emb.inv_freq[-1]
    assert fast == plain.model.rotary_emb.inv_freq[0]  # high frequencies stay
    assert slow == linear.model.rotary_emb.inv_freq[-1]  # low ones are interpolated
    assert yarn.model.rotary_emb.attention_scaling > 1
    assert not torch.allclose(logits(yarn, 0), logits(plain, 0), atol=1e-6)


def test_abf_is_the_formula(load: Load) -> None:
    network = load(KINDS["abf"])
    dim = network.config.head_dim
    expected = 1 / 500_000.0 ** (torch.arange(0, dim, 2, dtype=torch.float) / dim)
    assert torch.equal(network.model.rotary_emb.inv_freq, expected)
    assert network.config.max_position_embeddings == EXTENDED


def test_dynamic_begins_at_the_pretrained_window_and_forgets(load: Load) -> None:
    network, plain = load(Rope(kind="dynamic")), load(None, PRETRAINED)
    assert network.config.max_position_embeddings == PRETRAINED  # where transformers begins to scale
    assert torch.equal(logits(network, 0), logits(plain, 0))
    first = logits(network, 3000)
    base = THETA * (2 * 3008 / PRETRAINED - 1) ** (16 / 14)
    expected = 1 / base ** (torch.arange(0, 16, 2, dtype=torch.float) / 16)
    assert torch.allclose(network.model.rotary_emb.inv_freq, expected, rtol=1e-5)
    logits(network, EXTENDED - 8)
    assert torch.equal(logits(network, 3000), first)  # not those of the longer chat before
    assert torch.equal(logits(network, 0), logits(plain, 0))


@pytest.mark.parametrize("rope", [None, Rope(kind="yarn"), Rope(kind="dynamic")])
def test_bfloat16_keeps_the_frequencies(load: Load, rope: Rope | None) -> None:
    exact, cast = load(rope), load(rope).to(torch.bfloat16)
    assert cast.model.rotary_emb.inv_freq.dtype == torch.bfloat16  # what torch does to it, until it is used
    positions = torch.arange(EXTENDED - 8, EXTENDED)
    for one, other in zip(rotary(cast, positions), rotary(exact, positions), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_carries_the_scaling(load: Load, tmp_path: Path, kind: str) -> None:
    network = load(KINDS[kind])
    network.save_pretrained(tmp_path / "saved")
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    for start in (0, EXTENDED - 8):
        assert torch.equal(logits(alone, start), logits(network, start))


def test_a_factor_above_what_the_window_needs(load: Load, folder: Path) -> None:
    network = load(Rope(kind="yarn", factor=4.0), window=600, source=str(folder))
    assert network.config.rope_parameters["factor"] == 4
    assert network.config.max_position_embeddings == 1024
    assert load(Rope(kind="linear"), 640, str(folder)).config.rope_parameters["factor"] == 2.5


def test_none_keeps_what_the_model_has(load: Load, folder: Path) -> None:
    own = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"rope_parameters": own}))
    network = load(Rope(), 256, str(folder))
    assert network.config.rope_parameters == own
    assert network.config.max_position_embeddings == 256
    with pytest.raises(
        ConfigError, match=r"length\.rope\.kind = yarn: .* llama3 scaling already, up to 256 .* length\.rope\.kind=none"
    ):
        load(Rope(kind="yarn"), 512, str(folder))


@pytest.mark.parametrize(
    ("rope", "window", "message"),
    [
        (Rope(kind="yarn"), PRETRAINED, r"model\.window = 2048 is the window after scaling.*; raise model\.window"),
        (Rope(kind="linear", factor=2.0), 1000, r"model\.window = 1000 .* pretrained with 2048 already"),
        (Rope(kind="linear", factor=2.0), 5120, r"rope\.factor = 2: 2048 .* become 4096.*; give a factor of 2\.5 or"),
        (Rope(kind="abf", theta=9e3), EXTENDED, r"rope\.theta = 9000: .* which is 10000 already; give a higher"),
        (Rope(kind="abf"), EXTENDED, r"rope\.theta = null: abf needs"),
    ],
)
def test_windows_and_factors_that_do_not_go_together(rope: Rope, window: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rope_parameters(config(), rope, window)


def test_a_model_without_one_rotary_base() -> None:
    by_layer = config()
    by_layer.rope_parameters = {"full_attention": {"rope_type": "default", "rope_theta": THETA}}
    with pytest.raises(
        ConfigError, match=r"of model type llama differ by kind of layer.*; set length\.rope\.kind=none"
    ):
        rope_parameters(by_layer, Rope(kind="linear"), EXTENDED)
    by_layer.rope_parameters = None
    with pytest.raises(ConfigError, match="of model type llama are none"):
        rope_parameters(by_layer, Rope(kind="linear"), EXTENDED)


def test_settings_that_have_no_effect() -> None:
    assert [rope_problems(rope) for rope in (Rope(), *KINDS.values(), Rope(kind="yarn", factor=4.0))] == [[]] * 6
    (factor,) = rope_problems(Rope(factor=2.0))
    assert factor == "length.rope.factor = 2: length.rope.kind = none scales nothing; leave it out"
    both = rope_problems(Rope(kind="linear", theta=1e6)) + rope_problems(Rope(kind="abf", factor=2.0, theta=1e6))
    assert [line.split(":")[0] for line in both] == ["length.rope.theta = 1e+06", "length.rope.factor = 2"]
