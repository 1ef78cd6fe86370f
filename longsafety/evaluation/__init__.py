"""How a model is asked and judged: backend, answers, scores and statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longsafety.evaluation.open_replies.refusal import is_refusal as is_refusal

__all__ = ["is_refusal"]


def __getattr__(name: str) -> Any:
    # On demand, so that `python -m longsafety.evaluation.open_replies.refusal` runs a module that is not yet imported.
    if name in __all__:
        from longsafety.evaluation.open_replies import refusal

        return getattr(refusal, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
