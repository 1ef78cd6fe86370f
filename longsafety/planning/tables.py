"""The plan of a sweep as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from longsafety.planning.evaluation import REQUEST_TOKENS
from longsafety.planning.training import PARTS, PEAK_FLOPS, UTILISATION, Plan

UNKNOWN = "unknown"


def plan_tables(plans: Sequence[Plan]) -> Iterator[Any]:
    """Costs, memory by part, what is asked, and a line for all that is assumed, unknown or does not fit."""
    yield _costs(plans)
    yield _memory(plans)
    yield _asked(plans)
    yield from _lines(plans)


def _costs(plans: Sequence[Plan]) -> Table:
    gpus = [name.partition("-")[0] for name in PEAK_FLOPS]
    table = Table(title="cost", title_justify="left", box=None, header_style="dim", pad_edge=False)
    table.add_column("job")
    for name in ("length", "steps", "tokens", "PFLOP", *(f"h {gpu}" for gpu in gpus), "disk"):
        table.add_column(name, justify="right")
    for plan in plans:
        table.add_row(
            plan.label,
            f"{plan.length:,}",
            f"{plan.steps:,}",
            _short(plan.tokens),
            UNKNOWN if plan.flops is None else f"{plan.flops / 1e15:,.3g}",
            *(_hours(plan.hours[gpu]) for gpu in PEAK_FLOPS),
            UNKNOWN if plan.disk is None and plan.tokens else _bytes(sum((plan.disk or {}).values())),
        )
    return table


def _asked(plans: Sequence[Plan]) -> Table:
    title = "asking: tokens of prompts (computed here, of icl, sent to a server) and, at most, of replies"
    table = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    table.add_column("job")
    for name in ("length", "computed", "icl", "sent", "replies", "h A100", "calls of others, at most"):
        table.add_column(name, justify="right")
    for plan in plans:
        asks = plan.asking
        numbers = [_short(number) for number in (asks.computed, asks.suites, asks.sent, asks.replies)]
        others = "\n".join(
            f"{other.who}: {other.calls:,} calls, {_short(other.tokens)} tokens"
            + (f" (its budget: {_short(other.budget)})" if other.budget is not None else "")
            for other in asks.others
        )
        table.add_row(
            plan.label, f"{plan.length:,}", *numbers, _hours(plan.evaluation_hours["A100-80G"]), others or "none"
        )
    return table


def _memory(plans: Sequence[Plan]) -> Table:
    table = Table(
        title="peak memory of a device in training", title_justify="left", box=None, header_style="dim", pad_edge=False
    )
    table.add_column("job")
    for name in ("length", "pack", *PARTS, "sum", "of", "fits"):
        table.add_column(name, justify="right")
    for plan in plans:
        if not plan.samples and not plan.tokens:
            continue
        parts = [UNKNOWN] * len(PARTS) if plan.memory is None else [_bytes(plan.memory[part]) for part in PARTS]
        fits = {None: UNKNOWN, True: "yes", False: "no"}[plan.fits]
        table.add_row(
            plan.label, f"{plan.length:,}", f"{plan.pack_tokens:,}", *parts, UNKNOWN if plan.peak is None else
            _bytes(plan.peak), UNKNOWN if plan.available is None else _bytes(plan.available), fits,
        )  # fmt: skip
    return table


def _lines(plans: Sequence[Plan]) -> Iterator[str]:
    for plan in plans:
        if plan.fits is False:
            fix = f"fits with {plan.fix}" if plan.fix else "no change that is known here makes it fit"
            yield f"{plan.label} at {plan.length:,} tokens does not fit: {fix}"
    devices = ", ".join(sorted({str(plan.devices) for plan in plans}))
    yield (
        f"Hours: {UTILISATION:.0%} of the bfloat16 peak (assumed), training on all of a job's devices ({devices}), "
        "asking on one (replies as if they were prompts, which they are slower than)."
    )
    if len({plan.label for plan in plans}) < len(plans):
        yield "Jobs of one arm at several lengths share one training; each row lists it."
    if any(plan.asking.others for plan in plans):
        yield (
            f"Calls of others: bounds with {REQUEST_TOKENS} tokens of a request (assumed) and whole replies; "
            "what a server fails at is asked again beyond it."
        )
    for line in dict.fromkeys(line for plan in plans for line in plan.unknowns):
        yield f"unknown: {line}"


def _short(number: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _bytes(number: float) -> str:
    """Decimal units."""
    for size, unit in ((1e9, "GB"), (1e6, "MB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"


def _hours(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return "0" if not value else f"{value:.2g}" if value >= 0.01 else "<.01"
