"""English prose for the tests: the texts of the shipped seed items."""

from __future__ import annotations

from longsafety.scenarios.seeds.shipped import shipped_seeds


def english() -> list[str]:
    """Requests, answers and statements, in the order of the files."""
    texts = [(seed.request, seed.safe_answer, seed.benign_answer, seed.statement) for seed in shipped_seeds("en")]
    return [text for group in texts for text in group if text]
