"""The gallery: one page with an item of each task, and the audit of the build that it was taken from."""

from __future__ import annotations

import base64
import dataclasses
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longsafety.reporting.audit_view import check_rows, task_rows
from longsafety.reporting.fonts import drawn_names, numbers_note
from longsafety.reporting.mask import BAR, mask
from longsafety.reporting.page import write_page
from longsafety.reporting.seed_view import origins, seed_rows
from longsafety.scenarios.audit.audit import Audit
from longsafety.scenarios.audit.gate import failed
from longsafety.scenarios.seed_use import SeedUse
from longsafety.vocabulary import DECLINES, UNSAFE_ROLES

SCENARIOS = {
    "QH": ("query harmful", "The context is benign, the question is harmful."),
    "PH": ("partially harmful", "A benign context holds harmful statements, and the question asks about them."),
    "FH": ("fully harmful", "The context is harmful throughout."),
}
_CAPTIONS = {
    "tokens_by_task": "Lengths of the items without their twins. Each histogram is scaled to its own maximum.",
    "depth_by_length": "Depth of the needles in harmful items, by the length of the context.",
}
_NARROW = 0.005


@dataclass(frozen=True)
class Twin:
    """An item's benign twin: it shows the item's options, of which another is right."""

    kind: str
    question: str
    answer: str
    right: str
    """The role that is right here."""
    needle_texts: Sequence[str] = ()


@dataclass(frozen=True)
class Entry:
    """One task with one of its items and its benign twin."""

    task: str
    scenario: str
    """QH, PH or FH."""
    category: str
    paper: str
    """What the paper says about the task."""
    design: str
    """What is our own design."""
    counts: Mapping[str, int]
    """Split (``train``, ``bench``) → harmful items."""
    language: str
    """ISO 639-1 code of question, answers and options."""
    question: str
    safe_answer: str
    unsafe_answer: str
    """Empty for a training sample, which has no options."""
    needle_texts: Sequence[str] = ()
    context_excerpt: tuple[str, str] = ("", "")
    """The context before and after the first needle; without a needle, its beginning and end."""
    bar: Sequence[tuple[str, float]] = ()
    """The context's parts in order: (kind, share of its tokens), such as ``("needle", 0.01)``."""
    options: Sequence[tuple[str, str]] = ()
    """(role, text), unsafe → safe; the same under the twin."""
    right: str = DECLINES
    """The role that is right in the item."""
    twin: Twin | None = None
    origin: str = ""
    """Where the item's seed item comes from, where the user gave seed items."""


def write_gallery(
    path: Path,
    *,
    entries: Sequence[Entry],
    audit: Audit,
    figures: Mapping[str, str],
    redact: bool,
    benchmark: str = "",
    used: Sequence[SeedUse] = (),
) -> None:
    """Writes the page at ``path``, whole or not at all; it needs no other file.

    ``figures``: name → path of a picture, as ``audit_view.save_figures`` returns them. ``redact`` replaces harmful
    text by its category, and what other texts repeat of it by bars; benign twins are always shown.
    ``benchmark``: the name of the shipped one, where the items are of it. ``used``: what came of the user's seed items.
    """
    shown = [redacted(entry) if redact else entry for entry in entries]
    shown = [dataclasses.replace(entry, bar=drawn_pieces(entry.bar)) for entry in shown]
    names = dict.fromkeys([*SCENARIOS, *(entry.scenario for entry in shown)])
    groups = {name: [entry for entry in shown if entry.scenario == name] for name in names}
    write_page(
        path,
        "gallery.html.j2",
        groups={name: members for name, members in groups.items() if members},
        scenarios=SCENARIOS,
        audit=audit,
        tasks=task_rows(audit),
        checks=check_rows(audit),
        figures={name: (_data_uri(Path(file)), _caption(name, audit)) for name, file in figures.items()},
        redact=redact,
        marker=BAR,
        benchmark=benchmark,
        beyond=failed(audit.gate),
        seed_rows=seed_rows(used) if used else [],
        origins=origins(used),
    )


def redacted(entry: Entry) -> Entry:
    """The entry without its harmful texts, each replaced by the entry's category.

    A question that a benign twin also asks is harmless and stays. The excerpt of a fully harmful context is replaced.
    All other texts except the benign twins' lose what they share with a harmful one.
    """
    marker = f"{BAR} [{entry.category}]"
    harmless_question = entry.twin is not None and entry.twin.question == entry.question
    unsafe = [text for role, text in entry.options if role in UNSAFE_ROLES]
    harmful = [*entry.needle_texts, entry.unsafe_answer, *unsafe, *([] if harmless_question else [entry.question])]

    before, after = (mask(part, harmful) for part in entry.context_excerpt)
    in_the_open = entry.scenario in ("QH", "PH")
    return dataclasses.replace(
        entry,
        question=entry.question if harmless_question else marker,
        needle_texts=[marker for _ in entry.needle_texts],
        context_excerpt=(before, after) if in_the_open else (marker if before or after else "", ""),
        options=[(role, marker if role in UNSAFE_ROLES else mask(text, harmful)) for role, text in entry.options],
        safe_answer=mask(entry.safe_answer, harmful),
        unsafe_answer=marker if entry.unsafe_answer else "",
    )


def drawn_pieces(bar: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The bar without parts too narrow to see: they are joined with their neighbours, or else left out.

    Needles are always kept. A thousand turns of a dialogue become about two hundred pieces.
    """
    drawn: list[tuple[str, float]] = []
    for kind, share in bar:
        previous, width = drawn[-1] if drawn else ("needle", 0.0)
        if "needle" in (kind, previous) or width >= _NARROW:
            drawn.append((kind, share))
        else:
            drawn[-1] = (kind if share > width else previous, width + share)
    return [(kind, share) for kind, share in drawn if kind == "needle" or share >= _NARROW]


def _caption(name: str, audit: Audit) -> str:
    tasks = list(dict.fromkeys(row["task"] for row in audit.lengths)) if name == "tokens_by_task" else []
    return " ".join(filter(None, [_CAPTIONS.get(name, name), numbers_note(drawn_names(tasks))]))


def _data_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
