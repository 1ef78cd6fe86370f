"""Redaction: harmful text in examples is replaced, and so is what other texts repeat of it."""

from __future__ import annotations

from dataclasses import replace

from longsafety.reporting.mask import BAR, mask
from longsafety.reporting.record import Example

_SHOWN_CONTEXTS = ("QH", "PH")


def redact(example: Example) -> Example:
    """The example without its harmful texts.

    Question, needle and unsafe option are replaced whole, and so is the excerpt of a fully harmful context. Other
    excerpts, the safe option and the benign question lose what they share with a harmful text.
    """
    marker = f"{BAR} [{example.category}: redacted; report.redact=false shows it]"
    harmful = [text for text in (example.question, example.needle, example.unsafe) if text]
    excerpt = mask(example.context_excerpt, harmful)
    # The excerpt of a needle task should show the needle. If no part of it is found, it may be spelt differently.
    unsure = example.scenario == "PH" and excerpt == example.context_excerpt
    if example.context_excerpt and (example.scenario not in _SHOWN_CONTEXTS or unsure):
        excerpt = marker
    return replace(
        example,
        question=marker,
        context_excerpt=excerpt,
        needle=marker if example.needle else "",
        safe=mask(example.safe, harmful),
        unsafe=marker,
        benign_question=mask(example.benign_question, [example.needle]) if example.needle else example.benign_question,
    )
