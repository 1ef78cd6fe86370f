"""Numbers as text, the same in every table, figure and page."""

from __future__ import annotations


def decimals(value: float) -> str:
    """``.94``, ``1.00``, ``-.06``: two decimals, without the leading zero."""
    text = f"{value:.2f}".replace("-0.00", "0.00")
    return text if abs(value) >= 0.995 else text.replace("0.", ".", 1)


def signed(value: float) -> str:
    """``+.94``, ``−.06``, ``.00``."""
    text = decimals(abs(value))
    return text if text == ".00" else ("+" if value > 0 else "−") + text


def signed_interval(low: float, high: float) -> str:
    """``[−.02,+.10]``, of a difference; ``[—]`` where it is not known."""
    if low != low:
        return "[—]"
    return f"[{signed(low)},{signed(high)}]"


def interval(low: float, high: float) -> str:
    """``[.82,.98]``, without a space, so that a narrow table breaks before it; ``[—]`` where it is not known."""
    if low != low:
        return "[—]"
    return f"[{decimals(low)},{decimals(high)}]"


TOO_FEW = "too few seeds"
"""Stands for the p-value of a test that no outcome of so few seed items could make significant."""


def p_text(p_value: float | None) -> str:
    """``p<.001``, ``p=.043``; ``TOO_FEW`` where there is none."""
    if p_value is None:
        return TOO_FEW
    if p_value < 0.001:
        return "p<.001"
    return "p=1" if p_value > 0.9995 else f"p={p_value:.3f}".replace("0.", ".", 1)
