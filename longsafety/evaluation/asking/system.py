"""The system message that every item is asked with (``evaluation.system``)."""

from __future__ import annotations

from collections.abc import Sequence

from longsafety.errors import ConfigError
from longsafety.evaluation.asking.system_text import system_text
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.samples.system import placed
from longsafety.settings import Evaluation


def with_system(
    items: Sequence[Sample], encoder: ChatEncoder, evaluation: Evaluation, *, fold: bool
) -> tuple[list[Sample], dict[str, int]]:
    """The items with the system message, and how many have it in the user's turn.

    A server is sent the role, and places it by its own template. Raises ConfigError where the local template has no
    such role and ``fold`` is false.
    """
    text = system_text(evaluation.system)
    asked = [item.replace(system=text) for item in items] if text else list(items)
    if not text or evaluation.backend == "openai":
        return asked, {}
    found = placed(asked, encoder.template, fold=fold)
    if found is None:
        raise ConfigError([
            f"evaluation.system = {evaluation.system[:60]}: the model's chat template has no system role; set "
            "model.fold_system=true to put it at the beginning of the user's turn, or evaluation.system=none"
        ])  # fmt: skip
    return found[0], {f"asked {where}": count for where, count in found[1].items()}


def system_tokens(encoder: ChatEncoder, evaluation: Evaluation) -> int:
    """Tokens that the system message adds to a prompt. Items are as long as they were built, and it comes on top."""
    text = system_text(evaluation.system)
    if not text:
        return 0
    if not encoder.template.system_role:
        return len(encoder.literal_ids(f"{text}\n\n")) + 1
    return max(encoder.prompt_length((), "?", system=text) - encoder.prompt_length((), "?"), 0)
