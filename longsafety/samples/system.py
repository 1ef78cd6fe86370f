"""System messages: a role of their own, where the chat template has one, and else never untold in another's turn."""

from __future__ import annotations

from collections.abc import Sequence

from longsafety.samples.recipe import Sample
from longsafety.samples.template import ChatTemplate

FOLDED = "with the system message at the beginning of the user's turn (the chat template has no system role)"
TEMPLATE_FOLDS = "with the system message in the user's turn, where the chat template itself puts it"


def placed(
    samples: Sequence[Sample], template: ChatTemplate, *, fold: bool
) -> tuple[list[Sample], dict[str, int]] | None:
    """The samples, each system message where the template can write it; and how many stand in a user's turn.

    None where some sample has a system message, the template has no system role, and ``fold`` is false.
    """
    count = sum(bool(sample.system) for sample in samples)
    if not count or template.system_role == "own":
        return list(samples), {}
    if template.system_role == "user":
        return list(samples), {TEMPLATE_FOLDS: count}
    return ([folded(sample) for sample in samples], {FOLDED: count}) if fold else None


def folded(sample: Sample) -> Sample:
    """The system message and a blank line open the user's first turn, before the context."""
    if not sample.system:
        return sample
    opening = f"{sample.system}\n\n"
    if sample.context and sample.goal == "after":
        needles = tuple(at + 1 for at in sample.needles)
        return sample.replace(system="", context=(opening, *sample.context), needles=needles)
    if sample.history:
        (user, reply), *later = sample.history
        return sample.replace(system="", history=((opening + user, reply), *later))
    return sample.replace(system="", question=opening + sample.question)
