"""From ``settings.Model`` to a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from longsafety import settings
from longsafety.errors import DataError, LongSafetyError, first_line
from longsafety.host.machine import problem
from longsafety.model import tiny
from longsafety.model.kernels import check_flash, loaded_attention
from longsafety.model.source import source_folder
from longsafety.model.tokenizer import check_architecture

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TINY_WINDOW = 2048
"""The pretrained window of ``tiny`` where its positions are scaled."""
_COMPUTED = re.compile(r"(^|\.)(inv_freq|masked_bias|position_ids|(attn|attention)\.bias)$")
"""Tables that older versions of transformers wrote beside the weights, and that a network computes."""
_NUMBERS = ("F64", "F32", "F16", "BF16")
"""Types in a file of weights that are read as the numbers they are."""
_NAMED = 3


def load_model(model: settings.Model, cache: Path, *, seed: int, rope: settings.Rope | None = None) -> PreTrainedModel:
    """The network in float32, on the CPU, in evaluation mode and without LoRA. ``seed`` makes the weights of ``tiny``.

    ``rope`` scales its positions to ``model.window``, the window after scaling (:mod:`longsafety.model.rope`).
    Raises DataError for a model that cannot be had or read, ConfigError for an attention that is not installed and for
    a scaling that the model cannot have.
    """
    check_flash(model.attention)
    rope = rope or settings.Rope()
    folder = base_folder(model, cache, seed=seed, rope=rope)
    return read_network(folder, loaded_attention(model.attention), rope, model.window)


def base_folder(model: settings.Model, cache: Path, *, seed: int, rope: settings.Rope) -> Path:
    """The folder that :func:`load_model` reads; it is made if it is missing.

    Call it before a process group exists: within one, transformers would write it in the first rank only.
    """
    if model.source == "tiny":
        return tiny.model_folder(cache, model.window if rope.kind == "none" else TINY_WINDOW, seed)
    return source_folder(model, cache, weights=True)


def read_network(
    folder: Path, attention: str, rope: settings.Rope | None = None, window: int | None = None
) -> PreTrainedModel:
    """The network in a local folder, in float32, on the CPU and in evaluation mode.

    ``rope`` scales its positions to ``window`` tokens; a folder that was written with a scaling has it in its
    config.json and needs none here. Raises as :func:`load_model`.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from longsafety.model.rope import apply, settle_frequencies

    check_architecture(folder)
    common: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, **common)
        if rope is not None and window is not None:
            apply(config, rope, window)
        loader: Any = AutoModelForCausalLM
        network, report = loader.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            **common,
        )
    except LongSafetyError:
        raise
    except Exception as error:  # values in its files that do not fit raise nearly anything
        if problem(error, folder) is not None:
            raise  # the machine's, which is told as such
        raise DataError(
            f"{folder}: its model cannot be read ({first_line(error, typed=True)}); restore its files"
        ) from error
    result: PreTrainedModel = network.eval()
    _check_weights(folder, result, report)
    _check_numbers(folder, result)
    settle_frequencies(result)
    return result


def _check_weights(folder: Path, network: PreTrainedModel, report: dict[str, Any]) -> None:
    """Refuses weights that do not fill the network that config.json describes, or of which it would leave some out."""
    if differing := sorted(report["mismatched_keys"]):
        name, held, wanted = differing[0]
        raise DataError(
            f"{folder}: its config.json does not fit its weights: {len(differing)} have another shape ({name} is "
            f"{list(held)}, and config.json asks for {list(wanted)}); restore the config.json that was saved with them"
        )
    if missing := sorted(report["missing_keys"]):
        raise DataError(
            f"{folder}: its files lack {len(missing)} of the model's weights ({missing[0]}, …), which would be random; "
            f"give a complete causal language model"
        )
    if surplus := sorted(name for name in report["unexpected_keys"] if _belongs(name, network)):
        raise DataError(
            f"{folder}: its config.json does not fit its weights: it has no place for {len(surplus)} of them "
            f"({', '.join(surplus[:_NAMED])}{', …' if len(surplus) > _NAMED else ''}), and the model would be a part "
            "of what was saved; restore the config.json that was saved with them"
        )


def _check_numbers(folder: Path, network: PreTrainedModel) -> None:
    """Refuses integers in the place of weights, which only their quantiser's scales make weights, and what is no
    number: every answer would be NaN."""
    from longsafety.model.finite import is_finite

    weights = dict(network.named_parameters())
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as held:
            for name in weights.keys() & {*held.keys()}:
                if (kind := held.get_slice(name).get_dtype()) not in _NUMBERS:
                    raise DataError(
                        f"{file}: {name} is kept as {kind}, of which nothing here knows the scale; give the folder "
                        "that it was quantised from"
                    )
    for name, weight in weights.items():
        if not is_finite(weight):
            raise DataError(f"{folder}: {name} holds NaN or infinite values; give weights that are whole")


def _belongs(name: str, network: PreTrainedModel) -> bool:
    """Whether a weight without a place is of a part that the network has. A part that it lacks is another class's, such
    as the head of a classifier; transformers has taken out what the architecture itself leaves out."""
    parts = {part for owner in (network, network.base_model) for part, _ in owner.named_children()}
    return name.split(".")[0] in parts and not _COMPUTED.search(name)
