"""The scorers: the ways in which an answer is read off a model. The checks before a run import this module."""

from __future__ import annotations

from typing import get_args

from longsafety.settings import Evaluation

SCORERS: tuple[str, ...] = get_args(get_args(Evaluation.model_fields["scorers"].annotation)[0])
"""All scorers, as the settings name them."""
SHOWS_OPTIONS = ("letter", "generate")
"""Scorers whose prompt lists the options; their answers may depend on the order."""
READS_REPLY = ("generate", "open")
"""Scorers that read a greedy reply, so their answers have no scores."""
CONTROLLED = ("likelihood", "letter")
"""Scorers that answer blind controls, too."""
NEEDS_NO_OPTIONS = ("open",)
"""Scorers that can evaluate an item without options."""
BY_SERVER = ("letter", "generate", "open")
"""Scorers that a chat server can answer: it returns no likelihoods of given texts."""
RECORDED = "recorded"
"""Stands for the scorer of answers that were recorded elsewhere."""
