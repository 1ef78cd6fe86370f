"""The record of a finished run: one JSON file in its folder, which tables, the report and MLflow are made from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longsafety.files import write_text
from longsafety.settings import Settings

RECORD = "record.json"


@dataclass(frozen=True)
class Example:
    """One benchmark item to show. Harmful text stands here as it is: :mod:`longsafety.reporting.redact` hides it."""

    task: str
    scenario: str
    category: str
    question: str
    context_excerpt: str
    """A few words before the needle, or at the end of a context without one."""
    needle: str
    safe: str
    unsafe: str
    benign_question: str


@dataclass(frozen=True)
class RunRecord:
    """A finished run: one arm, evaluated at one length."""

    name: str
    label: str
    key: str
    """Content address of the run: the same settings give the same key."""
    varied: dict[str, Any]
    """Swept key → this run's value."""
    settings: dict[str, Any]
    stages: dict[str, str]
    """Stage → content address of its result."""
    seconds: dict[str, float]
    """Stage → seconds it took in this run; a stage whose result existed already is absent."""
    corpus: dict[str, Any] = field(default_factory=dict)
    """source, documents, tokens, licence, fingerprint."""
    mix: list[dict[str, Any]] = field(default_factory=list)
    """A row a source: source, samples, tokens, supervised_tokens, share, licence, fingerprint, and the columns of
    ``data.length_table.length_rows``."""
    counts: dict[str, int] = field(default_factory=dict)
    """What was built, left out or filled in: reason → count."""
    training: dict[str, Any] = field(default_factory=dict)
    """steps, samples, tokens, supervised_tokens, seconds, tokens_per_second, final_loss, precision, attention, device,
    parameters, trainable_parameters; empty for the untrained arm."""
    history: list[dict[str, float]] = field(default_factory=list)
    """A row an optimiser step: step, loss, lr, seconds (since the start), tokens."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """A row a point of the safety curve: step, items, the headline metrics that were scored, safe_and_helpful."""
    evaluation: dict[str, Any] = field(default_factory=dict)
    """items, answers, seconds, precision, device."""
    environment: dict[str, str] = field(default_factory=dict)
    """python, platform, processor, and the versions of the packages that decide results."""
    benchmark: str = ""
    """Version and fingerprint of the shipped benchmark; empty for items of other seeds."""
    gate: list[dict[str, Any]] = field(default_factory=list)
    """What words alone tell of the benchmark's items: rows of ``scenarios.audit.gate.gate``."""
    capability: list[dict[str, Any]] = field(default_factory=list)
    """A row a metric of a capability suite: suite, task, metric, value, stderr, n."""
    examples: list[Example] = field(default_factory=list)

    def resolved(self) -> Settings:
        return Settings.model_validate(self.settings)

    def save(self, folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)
        write_text(folder / RECORD, text)

    @classmethod
    def load(cls, folder: Path) -> RunRecord:
        values = json.loads((folder / RECORD).read_text("utf-8"))
        values["examples"] = [Example(**example) for example in values["examples"]]
        return cls(**values)
