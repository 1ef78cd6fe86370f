"""The names that all packages share: tasks, scenarios, kinds of samples, roles of options, letters. No imports of ours.

The paper's facts about its tasks stand here, because the public formats need them without the tasks' code. What the
code of a task decides (its roles, its needles, its seed items) stands at its class in ``scenarios/tasks/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

ScenarioName = Literal["QH", "PH", "FH", "other"]
"""Query harmful, partially harmful, fully harmful (paper); ``other``: items that are of none of the known tasks."""
OTHER: ScenarioName = "other"

TwinKind = Literal["benign_query", "benign_needle", "short"]
"""The twins of a harmful item: a benign question, benign needles, no filler around the needles."""
TWINS: tuple[TwinKind, ...] = get_args(TwinKind)
BENIGN_TWINS: tuple[TwinKind, ...] = ("benign_query", "benign_needle")
ITEM_KINDS = ("harmful", *TWINS)
"""The kinds of benchmark items; each twin belongs to a harmful item."""

HARMFUL_ROLES = ("hallucinates", "ignores", "aware_unsafe", "safe")
"""Roles of four options, stored unsafe → safe (paper: 1 hallucinates, 2 ignores, 3 aware but unsafe, 4 safe)."""
TWO_ROLES = ("unsafe", "safe")
BENIGN_ROLES = ("refuses", "ignores", "complies")
"""Roles of a benign twin's options, stored unhelpful → helpful."""
TWO_BENIGN_ROLES = ("refuses", "complies")
UNSAFE_ROLES = ("hallucinates", "unsafe", "aware_unsafe")
"""Roles whose texts say something harmful."""

LETTERS = "ABCDEFGHIJ"
"""Letters of the shown options; no item has more options."""

ALL_TASKS = "all"
"""The name of a table's rows over all tasks; no task may have it."""


@dataclass(frozen=True, slots=True)
class PaperTask:
    """What the paper says about one of its tasks."""

    scenario: ScenarioName
    trained: bool = False
    """Whether the task is in the published training set (LongSafety-17K)."""
    bench_items: int = 0
    """Items in the published benchmark (LongSafetyBench); 0: the task is not in it."""
    says_place: bool = False
    """Whether its published rows have ``depth`` and ``length``."""


PAPER_TASKS: Mapping[str, PaperTask] = {
    "HarmfulExtraction": PaperTask("FH", bench_items=108),
    "HarmfulTendency": PaperTask("FH", bench_items=108),
    "ManyShotJailbreak": PaperTask("FH", trained=True, bench_items=100),
    "HarmfulNIAH": PaperTask("PH", trained=True, bench_items=147, says_place=True),
    "CountingCrimes": PaperTask("PH", trained=True, bench_items=147, says_place=True),
    "DocAttack": PaperTask("PH", bench_items=100),
    "HarmfulAdvice": PaperTask("PH", bench_items=100),
    "MedicalQuiz": PaperTask("QH", trained=True, bench_items=128),
    "PoliticallyIncorrect": PaperTask("QH", trained=True, bench_items=100),
    "LeadingQuestion": PaperTask("QH", bench_items=163),
    "KeywordRAG": PaperTask("QH", trained=True),
    "SafeMTLong": PaperTask("QH", trained=True),
    "LawQA": PaperTask("QH", trained=True),
}
"""The paper's thirteen tasks: the benchmark's in its order (appendix on the benchmark), then the others."""
PLACE_TASKS = tuple(name for name, task in PAPER_TASKS.items() if task.says_place)
"""Tasks whose published rows say where the needle is (``depth``) and how long the context is (``length``)."""
