"""The headline's sentences on differences: of the arms from each other, and of an arm from its blind controls."""

from __future__ import annotations

from collections.abc import Collection

from longsafety.reporting.comparison_view import TITLES, ComparisonView, Paired
from longsafety.reporting.finding import Finding, Test, listed
from longsafety.reporting.numbers import p_text, signed


def pairs_tested(view: ComparisonView) -> list[tuple[str, str]]:
    """Arms and what they are tested against: the baseline, then the contrasts."""
    base = [(arm, own) for arm in view.arms if (own := view.own_baseline(arm)) is not None and own != arm]
    return [*base, *view.contrasts]


def tests(view: ComparisonView, length: int) -> list[Test]:
    return [
        Test((arm, against, metric), paired.p_value)
        for arm, against in pairs_tested(view)
        for metric in view.tested
        if (paired := view.contrast(arm, against, metric, length)) and paired.p_value is not None
    ]


def differences(view: ComparisonView, length: int, clear: Collection[tuple[str, ...]], how: str) -> list[Finding]:
    """The differences between arms that are significant after the correction over all tests of the headline."""
    found = []
    by_other: dict[str, list[str]] = {}
    for arm, against in pairs_tested(view):
        if any(view.contrast(arm, against, metric, length) for metric in view.tested):
            by_other.setdefault("" if against == view.own_baseline(arm) else against, []).append(arm)
    if base := by_other.pop("", []):
        parts = []
        for metric in view.tested:
            for word, sign in (("higher", 1), ("lower", -1)):
                names = [
                    arm
                    for arm in base
                    if (arm, view.own_baseline(arm), metric) in clear
                    and (paired := view.paired(arm, metric, length))
                    and sign * paired.difference > 0
                ]
                if names:
                    parts.append(f"{TITLES[metric]} is {word} in {listed(names)}")
        if parts:
            found.append(Finding("result", f"Significant against {view.baseline} ({how}): {'; '.join(parts)}."))
        else:
            named = listed([TITLES[metric] for metric in view.tested if view.has(metric)])
            text = f"Nothing differs significantly from {view.baseline}, neither in {named.replace(' and ', ' nor ')}"
            found.append(Finding("warning", f"{text} ({how})."))
    texts, same = [], []
    for arm, against in view.contrasts:
        tested = [(m, paired) for m in view.tested if (paired := view.contrast(arm, against, m, length))]
        if kept := [(metric, paired) for metric, paired in tested if (arm, against, metric) in clear]:
            texts.append(f"{arm} against {against}: {listed([change(metric, paired) for metric, paired in kept])}")
        elif tested:
            same.append(f"{arm} against {against} ({change(*tested[0])})")
    if texts:
        found.append(Finding("result", f"Significant contrasts: {'; '.join(texts)}."))
    if same:
        found.append(Finding("warning", f"Contrasts in which nothing is significant: {'; '.join(same)}."))
    return found


def change(metric: str, paired: Paired) -> str:
    return f"{TITLES[metric]} {signed(paired.difference)} ({p_text(paired.p_value)})"


def blind(view: ComparisonView, length: int, alpha: float) -> list[Finding]:
    """The scores that are not above those of a blind control."""
    below: dict[str, dict[str, list[str]]] = {}
    tested: dict[str, set[str]] = {}
    for row in view.controls():
        if row["max_tokens"] != length:
            continue
        tested.setdefault(row["metric"], set()).add(row["arm"])
        if row["difference"] <= 0 or row["p_adjusted"] is None or row["p_adjusted"] >= alpha:
            arms = below.setdefault(row["metric"], {})
            arms.setdefault(row["arm"], []).append(row["control"].replace("_", " "))
    if not tested:
        return []
    if not below:
        return [Finding("result", "Every score is significantly above its blind controls.")]
    parts = []
    for metric, arms in below.items():
        every = sorted({name for names in arms.values() for name in names})
        by_controls: dict[str, list[str]] = {}
        for arm, names in arms.items():
            by_controls.setdefault("" if len(names) == len(every) else ", ".join(names), []).append(arm)
        where = [
            f"{'every arm' if len(names) == len(tested[metric]) > 1 else listed(names)}"
            + (f" (only {missing})" if missing else "")
            for missing, names in by_controls.items()
        ]
        parts.append(f"{TITLES[metric]} in {listed(where)} ({', '.join(every)})")
    text = "Not significantly above its blind controls: " + "; ".join(parts)
    return [Finding("warning", f"{text}. There the score says what the arm prefers, not what it read.")]
