"""longsafety: is my model still safe when the context is long, and which training data makes it so?"""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"
__all__ = ["results"]


def __getattr__(name: str) -> Any:
    if name == "results":
        from longsafety.pipeline.results import results  # not before it is asked for: the command must answer at once

        return results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
