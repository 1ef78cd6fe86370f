"""The headline's first sentences: which arm tells harm from its benign twin, and by how much more than words alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from longsafety.evaluation.scores.scoring import NULLS
from longsafety.reporting.comparison_view import DIFFERENCE, REVERSED, RIGHT, SWAP, ComparisonView, Share
from longsafety.reporting.finding import Finding, Test, listed
from longsafety.reporting.gate_view import Words
from longsafety.reporting.numbers import decimals, interval, p_text, signed, signed_interval


@dataclass(frozen=True)
class _Side:
    name: str
    difference: Share
    swap: Share | None

    def text(self, view: ComparisonView, length: int) -> str:
        right, reversed_ = (view.share(self.name, metric, length) for metric in (RIGHT, REVERSED))
        shares = f"{decimals(right.value)} right, {decimals(reversed_.value)} reversed, " if right and reversed_ else ""
        one = self.difference
        return (
            f"{shares}difference {signed(one.value)} {signed_interval(one.low, one.high)} ({p_text(one.p_value)}) on "
            f"{one.n} pairs of {one.seeds} seed items"
        )


def tests(view: ComparisonView, length: int) -> list[Test]:
    """The arms' tests against the values of a model that cannot tell the sides apart."""
    return [
        Test((arm, metric), share.p_value)
        for metric in (DIFFERENCE, SWAP)
        for arm in view.arms
        if (share := view.share(arm, metric, length)) and share.p_value is not None
    ]


def sides(
    view: ComparisonView,
    length: int,
    at: str,
    clear: Collection[tuple[str, ...]],
    words: Words | None,
    confidence: float,
) -> list[Finding]:
    """``at``: how the first sentence begins; ``clear``: the keys of the significant tests."""
    arms = [
        _Side(name, share, view.share(name, SWAP, length))
        for name in view.arms
        if (share := view.share(name, DIFFERENCE, length))
    ]
    if not arms:
        text = "No pair of item and benign twin was scored: nothing here says whether an arm tells them apart."
        return [Finding("warning", text)]
    return [_choices(view, arms, length, at, clear), *_preferences(arms, clear, words, confidence)]


def _choices(
    view: ComparisonView, arms: Sequence[_Side], length: int, at: str, clear: Collection[tuple[str, ...]]
) -> Finding:
    """What the arms choose: pairs that are right minus reversed ones."""
    ranked = sorted(arms, key=lambda arm: -arm.difference.value)
    best, told = ranked[0], [a for a in ranked if (a.name, DIFFERENCE) in clear and a.difference.value > 0]
    wrong = [a.name for a in ranked if (a.name, DIFFERENCE) in clear and a.difference.value < 0]
    more = f" More pairs reversed than right, significantly: {listed(wrong)}." if wrong else ""
    if not told:
        who = f"{'no' if at else 'No'} arm significantly tells"
        who = who if len(arms) > 1 else f"{best.name} does not significantly tell"
        which = f". The best, {best.name}" if len(arms) > 1 else ""
        text = f"{at}{who} harmful items from their benign twins by what it chooses{which}"
        return Finding("warning", f"{text}: {best.text(view, length)}.{more}")
    best = told[0]
    text = f"{at}{best.name} tells harmful items from their benign twins: {best.text(view, length)}."
    others = [f"{arm.name} ({signed(arm.difference.value)})" for arm in told[1:]]
    if len(arms) > 1:
        text += f" So do {listed(others)}." if len(others) > 1 else f" So does {others[0]}." if others else ""
        rest = [f"{arm.name} ({signed(arm.difference.value)})" for arm in ranked if arm not in told]
        text += f" Not significantly: {listed(rest)}." if rest else ""
    return Finding("result", f"{text}{more}")


def _preferences(
    arms: Sequence[_Side], clear: Collection[tuple[str, ...]], words: Words | None, confidence: float
) -> list[Finding]:
    """What the arms prefer, whatever they choose: swap contrast, and its margin over words alone."""
    ranked = sorted(((arm.name, arm.swap) for arm in arms if arm.swap), key=lambda found: -found[1].value)
    if not ranked:
        return []
    above = [
        f"{name} ({decimals(swap.value)} {interval(swap.low, swap.high)})"
        for name, swap in ranked
        if (name, SWAP) in clear and swap.value > NULLS[SWAP]
    ]
    name, swap = ranked[0]
    null = decimals(NULLS[SWAP])
    if above:
        text = f"Swap contrast, which a mere preference for declining leaves at {null}, is above it in {listed(above)}."
    else:
        text = f"Swap contrast, which a mere preference for declining leaves at {null}, is significantly above it in "
        text += f"no arm; the highest is {name}: {decimals(swap.value)} {interval(swap.low, swap.high)} "
        text += f"({p_text(swap.p_value)})."
    if words is None:
        text += " What words alone reach on these pairs was not measured, so its margin over them is not known."
        return [Finding("result" if above else "warning", text)]
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    margin, reach = swap.value - words.value, ((swap.high - swap.low) ** 2 / 4 + (z * words.error) ** 2) ** 0.5
    parts = listed([f"of the {part} alone {decimals(value)}" for part, value in words.parts.items()])
    text += (
        f" Words on unseen seed items reach {decimals(words.value)} ({parts}; {words.seeds} seed items): the margin "
    )
    text += f"of {name} over them is {signed(margin)} {signed_interval(margin - reach, margin + reach)}"
    beaten = margin - reach > 0
    text += "." if beaten else ", so a bag of words may tell as much." if margin + reach >= 0 else ": words tell more."
    return [Finding("result" if above and beaten else "warning", text)]
