"""Scaling of rotary positions (RoPE) beyond the window that a model was pretrained with.

``model.window`` is the window *after* scaling: to extend SmolLM2's 8,192 tokens fourfold, give ``model.window=32768
length=32k length.rope.kind=yarn``. Without ``length.rope.factor`` the factor is ``model.window`` over the pretrained
window, which is config.json's ``max_position_embeddings``. Lengths are checked against ``model.window`` alone, so
nothing else has to be raised. A folder that is written afterwards carries the scaling in its config.json.

``dynamic`` frequencies depend on the longest chat of a forward pass: chats that are packed or batched together, and
keys that are kept from a shorter pass, get others than each by itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from longsafety.errors import ConfigError
from longsafety.settings import Rope

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

_SETTLED = ("default", "linear", "dynamic", "yarn", "llama3")


def rope_problems(rope: Rope) -> list[str]:
    """What is wrong with the settings by themselves, as ``key = value: rule; fix`` (cheap)."""
    problems = []
    if rope.factor is not None and rope.kind in ("none", "abf"):
        rule = "scales nothing" if rope.kind == "none" else "takes a base frequency instead"
        problems.append(f"length.rope.factor = {rope.factor:g}: length.rope.kind = {rope.kind} {rule}; leave it out")
    if rope.theta is not None and rope.kind != "abf":
        problems.append(
            f"length.rope.theta = {rope.theta:g}: only abf raises the base frequency, and length.rope.kind is "
            f"{rope.kind}; leave it out, or set length.rope.kind=abf"
        )
    if rope.theta is None and rope.kind == "abf":
        problems.append("length.rope.theta = null: abf needs the base frequency; give one, such as 500000")
    return problems


def rope_parameters(config: PreTrainedConfig, rope: Rope, window: int) -> dict[str, Any]:
    """The new ``config.rope_parameters`` (transformers ≥ 5), for positions up to ``window`` tokens.

    ``config`` is a text model's, with ``max_position_embeddings`` as pretrained. With kind ``none`` it is what the
    model has. Raises ConfigError for a model whose positions cannot be scaled or are already, and for a window that
    needs no scaling or more than the factor gives.
    """
    given: dict[str, Any] = dict(getattr(config, "rope_parameters", None) or {})
    if rope.kind == "none":
        return given
    problems = rope_problems(rope)
    if not problems:
        problem = _model_problem(config, given, rope) or _window_problem(config, given, rope, window)
        problems = [problem] if problem else []
    if problems:
        raise ConfigError(problems)
    if rope.kind == "abf":
        return given | {"rope_theta": rope.theta}
    pretrained: int = config.max_position_embeddings
    scaled = given | {"rope_type": rope.kind, "factor": rope.factor or window / pretrained}
    return scaled | ({"original_max_position_embeddings": pretrained} if rope.kind == "yarn" else {})


def apply(config: PreTrainedConfig, rope: Rope, window: int) -> None:
    """Sets the scaling and the extended window in ``config``, in place; raises as :func:`rope_parameters`.

    ``max_position_embeddings`` becomes the extended window, but for ``dynamic``: there transformers takes it for the
    pretrained window, which the scaling begins at.
    """
    if rope.kind == "none":
        return
    text: Any = config.get_text_config()
    parameters = rope_parameters(text, rope, window)
    if rope.kind != "dynamic":
        text.max_position_embeddings = round(text.max_position_embeddings * rope.factor) if rope.factor else window
    text.rope_parameters = parameters
    text.standardize_rope_params()
    text.validate_rope()


def settle_frequencies(network: PreTrainedModel) -> None:
    """Makes every forward pass use the frequencies in float32, and ``dynamic`` ones of its own longest position.

    Casting a network to bfloat16 casts its frequencies too, and the position multiplies their error: at 32k tokens it
    is a whole turn. And transformers keeps the ``dynamic`` frequencies of the longest chat since the last short one, so
    a resumed training would differ, and an answer would depend on earlier prompts.
    """
    for module in network.modules():
        frequencies = getattr(module, "inv_freq", None)
        if frequencies is not None and getattr(module, "rope_type", None) in _SETTLED:
            module.register_forward_pre_hook(partial(_settle, frequencies.clone()))


def _settle(exact: torch.Tensor, rotary: Any, _: Any) -> None:
    if rotary.rope_type == "dynamic":
        rotary.max_seq_len_cached = rotary.original_max_seq_len
    elif rotary.inv_freq.dtype == exact.dtype:
        return
    rotary.register_buffer("inv_freq", exact.to(rotary.inv_freq.device), persistent=False)


def _model_problem(config: PreTrainedConfig, given: dict[str, Any], rope: Rope) -> str:
    kind = given.get("rope_type", "default")
    if "rope_theta" not in given or not isinstance(getattr(config, "max_position_embeddings", None), int):
        what = "differ by kind of layer" if given else "are none"
        return (
            f"length.rope.kind = {rope.kind}: rotary positions of model type {config.model_type} {what}, which is not "
            "scaled here; set length.rope.kind=none, or give another model"
        )
    if kind != "default":
        return (
            f"length.rope.kind = {rope.kind}: the model's config.json has {kind} scaling already, up to "
            f"{config.max_position_embeddings} positions, and two cannot be combined; set length.rope.kind=none, or "
            "model.source to a folder with rope_type default in its config.json"
        )
    return ""


def _window_problem(config: PreTrainedConfig, given: dict[str, Any], rope: Rope, window: int) -> str:
    pretrained: int = config.max_position_embeddings
    if window <= pretrained:
        return (
            f"length.rope.kind = {rope.kind}: model.window = {window} is the window after scaling, and the model was "
            f"pretrained with {pretrained} already; raise model.window, or set length.rope.kind=none"
        )
    if rope.factor and window > rope.factor * pretrained:
        return (
            f"length.rope.factor = {rope.factor:g}: {pretrained} pretrained positions become "
            f"{int(rope.factor * pretrained)}, and model.window is {window}; give a factor of {window / pretrained:g} "
            "or a smaller model.window"
        )
    if rope.theta and rope.theta <= given["rope_theta"]:
        return (
            f"length.rope.theta = {rope.theta:g}: abf raises the base frequency, which is {given['rope_theta']:g} "
            "already; give a higher one"
        )
    return ""
