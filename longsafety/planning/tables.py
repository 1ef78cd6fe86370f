"""The plan of a sweep as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from longsafety.planning.external import REQUEST_TOKENS
from longsafety.planning.memory import PARTS, PEAK_FLOPS
from longsafety.planning.training import UTILISATION, Plan

UNKNOWN = "unknown"
_LARGE = 10e9
"""Bytes from which a checkpoint is worth a line."""


def plan_tables(plans: Sequence[Plan]) -> Iterator[Table | str]:
    """Training, memory by part, evaluation; and a line for everything that is assumed, unknown or does not fit."""
    yield _training(plans)
    yield _memory(plans)
    yield _evaluation(plans)
    yield from _lines(plans)


def _training(plans: Sequence[Plan]) -> Table:
    gpus = [name.partition("-")[0] for name in PEAK_FLOPS]
    table = Table(title="training", title_justify="left", box=None, header_style="dim", pad_edge=False)
    table.add_column("job")
    for name in ("item tokens", "steps", "tokens", "shared", "PFLOP", *(f"h {gpu}" for gpu in gpus), "disk"):
        table.add_column(name, justify="right")
    for plan in plans:
        table.add_row(
            plan.label,
            plan.length,
            f"{plan.steps:,}",
            _short(plan.tokens),
            f"{plan.sharing.saved:.0%}",
            UNKNOWN if plan.flops is None else f"{plan.flops / 1e15:,.3g}",
            *(_hours(plan.hours[gpu]) for gpu in PEAK_FLOPS),
            UNKNOWN if plan.disk is None and plan.tokens else _bytes(sum((plan.disk or {}).values())),
        )
    return table


def _evaluation(plans: Sequence[Plan]) -> Table:
    title = "evaluation: tokens of prompts (computed locally, of icl, sent to a server), and of replies at most"
    table = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    table.add_column("job")
    for name in ("item tokens", "computed", "icl", "sent", "replies", "h A100", "calls of judges and teacher, at most"):
        table.add_column(name, justify="right")
    for plan in plans:
        cost = plan.evaluation
        numbers = [_short(number) for number in (cost.computed, cost.suites, cost.sent, cost.replies)]
        external = "\n".join(
            f"{one.who}: {one.calls:,} calls, {_short(one.tokens)} tokens"
            + (f" (budget: {_short(one.budget)})" if one.budget is not None else "")
            for one in cost.external
        )
        table.add_row(plan.label, plan.length, *numbers, _hours(plan.evaluation_hours["A100-80G"]), external or "none")
    return table


def _memory(plans: Sequence[Plan]) -> Table:
    table = Table(
        title="peak memory of one device in training",
        title_justify="left",
        box=None,
        header_style="dim",
        pad_edge=False,
    )
    table.add_column("job")
    for name in ("item tokens", "pack", *PARTS, "sum", "available", "fits"):
        table.add_column(name, justify="right")
    for plan in plans:
        if not plan.samples and not plan.tokens:
            continue
        parts = [UNKNOWN] * len(PARTS) if plan.memory is None else [_bytes(plan.memory[part]) for part in PARTS]
        fits = {None: UNKNOWN, True: "yes", False: "no"}[plan.fits]
        table.add_row(
            plan.label, plan.length, f"{plan.pack_tokens:,}", *parts, UNKNOWN if plan.peak is None else
            _bytes(plan.peak), UNKNOWN if plan.available is None else _bytes(plan.available), fits,
        )  # fmt: skip
    return table


def simulated_table(plans: Sequence[tuple[Plan, Mapping[str, float]]]) -> Table:
    """Peak memory by part as a step on tensors without contents takes it, beside the plan's."""
    title = "peak memory of one device in training, simulated"
    table = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    table.add_column("job")
    for name in ("item tokens", "pack", *(plans[0][1] if plans else ()), "sum", "the plan's", "plan / simulated"):
        table.add_column(name, justify="right")
    for plan, parts in plans:
        whole, planned = sum(parts.values()), plan.peak or 0.0
        table.add_row(
            plan.label, plan.length, f"{plan.pack_tokens:,}", *map(_bytes, parts.values()), _bytes(whole),
            _bytes(planned), f"{planned / whole:.2f}",
        )  # fmt: skip
    return table


def _lines(plans: Sequence[Plan]) -> Iterator[str]:
    for plan in plans:
        if plan.fits is False:
            fix = f"it fits with {plan.fix}" if plan.fix else "no known override makes it fit"
            yield f"{plan.label} at {plan.length} tokens does not fit; {fix}"
    for plan in plans:
        size = (plan.disk or {}).get("checkpoints", 0.0) / 2
        if size >= _LARGE:
            number = plan.steps // plan.checkpoint_every_steps
            yield (
                f"{plan.label}: a checkpoint has {_bytes(size)}, and {number} are written, one every "
                f"{plan.checkpoint_every_steps} steps (training.checkpoint_every_steps); two are kept"
            )
        idle = 1 - plan.sharing.busy
        if plan.tokens and idle > 0.01:
            yield (
                f"{plan.label}: a step's {plan.sharing.packs} packs leave {idle:.0%} of the time of "
                f"{plan.sharing.groups} devices without work; raise training.batch_size or trainer.sequence_parallel"
            )
    if any(plan.sharing.saved for plan in plans):
        yield "Shared: tokens of prefixes that an item and its benign twin have in common, which are computed once."
    devices = ", ".join(sorted({str(plan.devices) for plan in plans}))
    yield (
        f"Hours: {UTILISATION:.0%} of the bfloat16 peak (assumed), training on all of a job's devices ({devices}), "
        "evaluation on evaluation.processes (reply tokens count as prompt tokens, although they are slower)."
    )
    if (cost := money(plans)) is not None:
        yield cost
    if len({plan.label for plan in plans}) < len(plans):
        yield "Jobs of one arm at several lengths share one training, which each row lists."
    if any(plan.evaluation.external for plan in plans):
        yield (
            f"Calls: upper bounds for requests of {REQUEST_TOKENS} tokens (assumed) and full replies, without retries."
        )
    for line in dict.fromkeys(line for plan in plans for line in plan.unknowns):
        yield f"unknown: {line}"


def money(plans: Sequence[Plan]) -> str | None:
    """What the sweep costs at the given prices; None where there are none. A training that several lengths share, and
    what a teacher writes, are paid once."""
    priced = [plan for plan in plans if plan.price_per_hour]
    trained = {plan.label: (plan.hours[plan.gpu] or 0) * plan.devices * plan.price_per_hour for plan in priced}
    parts = {
        "training": sum(trained.values()),
        "evaluation": sum(
            (plan.evaluation_hours[plan.gpu] or 0) * plan.asking * plan.price_per_hour for plan in priced
        ),
        "server": sum(plan.served for plan in plans),
        "judge": sum(o.money for plan in plans for o in plan.evaluation.external if o.who.startswith("judge")),
        "teacher": max(
            (o.money for plan in plans for o in plan.evaluation.external if o.who.startswith("teacher")), default=0.0
        ),
    }
    if not any(parts.values()):
        return None
    shown = ", ".join(f"{name} {value:,.2f}" for name, value in parts.items() if value)
    unknown = any(plan.hours[plan.gpu] is None for plan in priced)
    least = " (more: the hours of some jobs are unknown)" if unknown else ""
    return f"Cost, in the currency of the prices: {sum(parts.values()):,.2f}{least}: {shown}."


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
