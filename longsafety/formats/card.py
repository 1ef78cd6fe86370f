"""The Hugging Face dataset card of an export: what is in it, under which licence, and how it was made."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from longsafety.formats.layouts import Format
from longsafety.formats.schemas import SCHEMAS
from longsafety.samples.licence import GATED_ODC_BY, LICENCE_ORDER, SORRY_BENCH, licences, restriction, strictest
from longsafety.samples.recipe import Sample, Span
from longsafety.samples.store import TokenStore

_REJECTED = "rejected: "
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass
class Lengths:
    """Samples and their tokens."""

    samples: int = 0
    tokens: int = 0
    least: int = 0
    most: int = 0

    def add(self, tokens: int) -> None:
        """Counts one sample of ``tokens`` tokens."""
        self.least = min(self.least, tokens) if self.samples else tokens
        self.most = max(self.most, tokens)
        self.samples += 1
        self.tokens += tokens

    @property
    def mean(self) -> float:
        return self.tokens / self.samples


@dataclass
class Summary:
    """The card's figures about the samples, counted one by one without rendering any."""

    corpus_licence: str
    rejected: bool = False
    """Whether the rejected answers are written."""
    by_task: dict[tuple[str, str], Lengths] = field(default_factory=dict)
    """(Task, kind) → lengths."""
    all: Lengths = field(default_factory=Lengths)
    kinds: dict[str, str] = field(default_factory=dict)
    """Split → kind (of its first sample)."""
    splits: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    """Language of questions, answers and options → samples."""
    document_languages: set[str] = field(default_factory=set)
    licences: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(Part, licence) → samples that have it."""
    writers: Counter[str] = field(default_factory=Counter)
    with_history: int = 0
    question_first: int = 0

    def add(self, sample: Sample, split: str, store: TokenStore) -> None:
        """Counts a sample."""
        self.by_task.setdefault((sample.task, sample.kind), Lengths()).add(sample.num_tokens)
        self.all.add(sample.num_tokens)
        self.kinds.setdefault(split, sample.kind)
        self.splits[split] += 1
        self.languages[sample.language] += 1
        self.document_languages |= {store.languages[part.document] for part in sample.context if isinstance(part, Span)}
        self.licences.update(licences(sample, self.corpus_licence).items())
        self.writers.update(who for who in sample.writers if self.rejected or not who.startswith(_REJECTED))
        self.with_history += bool(sample.history)
        self.question_first += sample.goal == "before" and bool(sample.context)

    @property
    def licence(self) -> str:
        return strictest(licence for _, licence in self.licences)


def render_card(summary: Summary, form: Format, facts: Mapping[str, Any]) -> str:
    """The text of ``README.md``: YAML header and Markdown body."""
    environment = Environment(
        loader=PackageLoader("longsafety", "formats"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    return environment.get_template("card.md.j2").render(
        header=_yaml(_header(summary, form, facts)),
        summary=summary,
        in_turns=form.in_turns,
        rejected=form.rejected,
        columns=form.columns.replace("{name}", facts["name"]),
        usage=form.usage,
        facts=facts,
        settings=_yaml(facts["settings"]),
        published={name: schema.published for name, schema in SCHEMAS.items()},
        restrictions={name: told for name in {name for _, name in summary.licences} if (told := restriction(name))},
        audit=None if facts["audit"] is None else _yaml(facts["audit"]),
    )


def _header(summary: Summary, form: Format, facts: Mapping[str, Any]) -> dict[str, Any]:
    files = [{"split": split, "path": form.file(split)} for split in summary.splits]
    return {
        **_hub_licence(summary.licence),
        "language": sorted({*summary.languages, *summary.document_languages}),
        "pretty_name": facts["name"],
        "size_categories": [_size(summary.all.samples)],
        "task_categories": [form.task_category],
        "tags": ["safety", "long-context", "longsafety", "refusal", "not-for-all-audiences"],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"features": [dict(column) for column in form.features]},
    }


def _hub_licence(licence: str) -> dict[str, str]:
    """The hub's identifier of a known licence; ``other`` with a name for the rest."""
    if licence.upper() == "ODC-BY-1.0":
        return {"license": "odc-by"}
    unknown_to_it = {SORRY_BENCH.lower(), GATED_ODC_BY.lower()}
    if licence.lower() in {known.lower() for known in LICENCE_ORDER[1:]} - unknown_to_it:
        return {"license": licence.lower()}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-") or "unknown"}


def _size(samples: int) -> str:
    return next((name for limit, name in _SIZES if samples < limit), "1M<n<10M")


def _yaml(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Block YAML; a value without a YAML type is written as its text."""
    plain = json.loads(json.dumps(value, default=str))
    return yaml.dump(plain, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000)


class _Plain(yaml.SafeDumper):
    """Writes repeated values in full, without anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
