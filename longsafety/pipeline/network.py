"""The arm's model: its trained weights on the base model, or the base model alone."""

from __future__ import annotations

from transformers import PreTrainedModel

from longsafety.errors import ConfigError
from longsafety.model.load import load_model
from longsafety.model.tiny import BASE_SEED
from longsafety.model.tokenizer import template_hash
from longsafety.model.trained import WEIGHTS, load_trained
from longsafety.pipeline.corpus import tokenizer
from longsafety.pipeline.run import TEMPLATE, Run, read_json


def network(run: Run) -> PreTrainedModel:
    """The model, on the CPU. Raises DataError where the arm has no weights yet."""
    settings = run.settings
    seed, rope = BASE_SEED, settings.length.rope
    if not settings.data_mix.sources:
        return load_model(settings.model, run.cache, seed=seed, rope=rope)
    folder = run.need("weights", "add train to stages")
    found: PreTrainedModel = load_trained(settings.model, folder / WEIGHTS, run.cache, seed=seed, rope=rope)
    return found


def check_template(run: Run) -> None:
    """Raises ConfigError where the weights were trained with another chat template than the model has now.

    Weights that an earlier version saved have no template hash and are not checked.
    """
    settings = run.settings
    if not settings.data_mix.sources or settings.evaluation.allow_template_mismatch:
        return
    kept = run.need("weights", "add train to stages") / TEMPLATE
    own = template_hash(tokenizer(run))
    if kept.is_file() and read_json(kept) != own:
        raise ConfigError(
            [
                f"evaluation.allow_template_mismatch = false: the weights of {settings.label} were trained with the "
                f"chat template {read_json(kept)}, and {settings.model.source} has {own} now; restore the template, "
                "train again (a new paths.outputs or seed), or set it to true"
            ]
        )
