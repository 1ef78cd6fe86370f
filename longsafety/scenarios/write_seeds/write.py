"""Writes the seed items of every family from the sources, field by field, all sources of a field at once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from longsafety import settings
from longsafety.chat.cached import Written
from longsafety.scenarios.operational import operational
from longsafety.scenarios.seeds.review import UNREVIEWED
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.stubs import compliant_stub
from longsafety.scenarios.teacher.ask import ask, texts
from longsafety.scenarios.teacher.teacher import Teacher
from longsafety.scenarios.write_seeds.families import Family, Step, families, roles_of
from longsafety.scenarios.write_seeds.kinds import KINDS, UNFIT, reply_problem, tidy
from longsafety.scenarios.write_seeds.near import Seen
from longsafety.scenarios.write_seeds.sources import Source

RULE = "rule"
"""The writer of what is made without a teacher."""


@dataclass(frozen=True)
class Made:
    """The seed items of one family, and how many sources they took."""

    family: Family
    seeds: list[Seed]
    wanted: int
    sources: int
    """Those that were tried."""


@dataclass
class _Draft:
    """A seed item in the making."""

    source: Source
    values: dict[str, Any] = field(default_factory=dict)
    writers: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """A field as prompts show it: of several texts, each on its line."""
        if name == "source":
            return self.source.text
        value = self.values[name]
        return value if isinstance(value, str) else "\n".join(value)


def write_items(
    sources: Sequence[Source],
    wanted: settings.WriteSeeds,
    teacher: Teacher,
    language: str,
    counts: Counter[str],
    tell: Callable[[Made], None] = lambda made: None,
) -> list[Made]:
    """The seed items of every family that ``wanted.tasks`` need, as many as wanted or as the sources give.

    A source whose reply does not pass its validator in ``teacher.retries`` more tries, or which a reply says to be
    unfit, is left out of the family and counted, and the next takes its place. Raises DataError from the teacher.
    """
    writer = _Writer(teacher, language, wanted.answers, counts)
    done = []
    for split, number in (("train", wanted.train_items), ("bench", wanted.bench_items)):
        for family in families(wanted.tasks, split) if number else ():
            done.append(writer.family(family, [item for item in sources if item.split == split], number))
            tell(done[-1])
    return done


class _Writer:
    def __init__(self, teacher: Teacher, language: str, answers: int, counts: Counter[str]) -> None:
        self.teacher, self.language, self.answers, self.counts = teacher, language, answers, counts
        self.parts = prompts(language)
        self.names: set[str] = set()
        self.seen: dict[tuple[str, str], Seen] = {}
        """Split and first field → what stands there already, in all families."""

    def family(self, family: Family, sources: Sequence[Source], number: int) -> Made:
        usable = [source for source in sources if source.kind in family.sources]
        usable.sort(key=lambda source: (source.kind != family.as_is, _hash(family.name, source.id)))
        own = Seen(self.language)
        made: list[Seed] = []
        tried = 0
        while len(made) < number and tried < len(usable):
            batch = usable[tried : tried + number - len(made)]
            tried += len(batch)
            drafts = list(self._distinct(family, self._begun(family, batch), own))
            for step in family.steps:
                drafts = self._written(step, family, drafts)
                for _ in range(self.answers - 1 if step.more and family.split == "train" else 0):
                    self._more(step, drafts)
            made += [self._seed(family, draft) for draft in drafts]
        return Made(family, made, number, tried)

    def _begun(self, family: Family, sources: Sequence[Source]) -> list[_Draft]:
        """Drafts with their first field: the source itself, or written from it."""
        first, drafts, given = family.first, [], []
        own = {name for step in family.steps for name in (step.field, step.more) if name}
        for source in sources:
            draft = _Draft(source)
            if source.kind != family.as_is:
                drafts.append(draft)
            elif reason := operational(source.text, self.language):
                self.counts[f"{source.kind}: left out, because one {reason}"] += 1
            else:
                row = source.given
                draft.values = {name: getattr(row, name) for name in own if getattr(row, name, None)} if row else {}
                draft.values[first.field] = source.text
                given.append(draft)
        return [*given, *self._written(first, family, drafts)]

    def _distinct(self, family: Family, drafts: Sequence[_Draft], own: Seen) -> Iterator[_Draft]:
        """Without near-duplicates in the family, and of what the other split has."""
        name, other = family.first.field, "bench" if family.split == "train" else "train"
        everywhere = self.seen.setdefault((family.split, name), Seen(self.language))
        apart = self.seen.setdefault((other, name), Seen(self.language))
        for draft in drafts:
            text = draft.text(name)
            if own.has(text):
                self.counts[f"{family.name}: left out, {name} nearly as in another item"] += 1
            elif apart.has(text):
                self.counts[f"{family.name}: left out, {name} nearly as in an item of the other split"] += 1
            else:
                own.add(text)
                everywhere.add(text)
                if name == "crimes":
                    draft.values["name"] = self._name(draft.source)
                yield draft

    def _written(self, step: Step, family: Family, drafts: Sequence[_Draft]) -> list[_Draft]:
        """Those of the drafts whose field is there, or was written."""
        lacking = [draft for draft in drafts if not draft.values.get(step.field)]
        replies = self._ask(step, lacking, [{} for _ in lacking])
        lost = set()
        for draft, reply in zip(lacking, replies, strict=True):
            if reply is None:
                self.counts[f"{family.name}: left out, no valid {step.field}"] += 1
                lost.add(id(draft))
                continue
            draft.writers.append(f"{step.field}: {reply.writer}")
            self._set(step, family, draft, reply.text)
        return [draft for draft in drafts if id(draft) not in lost]

    def _more(self, step: Step, drafts: Sequence[_Draft]) -> None:
        """One more answer in other words for each draft; a failure is counted, and the draft stays."""
        texts = [(draft.values[step.field], *draft.values.get(step.more, ())) for draft in drafts]
        replies = self._ask(step, drafts, [{"earlier": "\n".join(earlier)} for earlier in texts])
        for draft, earlier, reply in zip(drafts, texts, replies, strict=True):
            if reply is None:
                self.counts[f"seed items with fewer {step.more} than asked for"] += 1
            else:
                draft.values[step.more] = (*earlier[1:], reply.text)
                draft.writers.append(f"{step.more}: {reply.writer}")

    def _ask(self, step: Step, drafts: Sequence[_Draft], besides: Sequence[Mapping[str, str]]) -> list[Written | None]:
        about = [
            {**{name: draft.text(given) for name, given in step.given.items()}, **extra}
            for draft, extra in zip(drafts, besides, strict=True)
        ]

        def check(kind: str, text: str, given: Mapping[str, str]) -> str | None:
            return reply_problem(kind, text, given, self.language, self.parts["unfit"])

        return ask(step.kind, about, self.teacher, self.parts, self.counts, check=check, clean=tidy, final=UNFIT)

    def _set(self, step: Step, family: Family, draft: _Draft, text: str) -> None:
        name, _, task = step.field.partition(".")
        kind = KINDS.get(step.kind)
        if name == "options":
            lines, roles = text.split("\n"), roles_of(step, family)
            options = {role: tuple(lines[2 * at : 2 * at + 2]) for at, role in enumerate(roles)}
            draft.values["options"] = {**draft.values.get("options", {}), task: options} if task else options
        elif name == "turns":
            one, two, three, four = text.split("\n")
            draft.values["turns"] = ((one, two), (three, four))
        else:
            draft.values[name] = tuple(text.split("\n")) if kind and kind.lines else text

    def _name(self, source: Source) -> str:
        """A made-up name that no other item has."""
        names = self.parts["names"]
        joint = "" if self.language == "zh" else " "
        order = ("last", "first") if self.language == "zh" else ("first", "last")
        every = [joint.join((one, two)) for one in names[order[0]] for two in names[order[1]]]
        at = int(_hash(source.id)[:8], 16)
        turned = [every[(at + step) % len(every)] for step in range(len(every))]
        found = next((name for name in turned if name not in self.names), f"{turned[0]}{joint}{len(self.names)}")
        self.names.add(found)
        return found

    def _seed(self, family: Family, draft: _Draft) -> Seed:
        source = draft.source
        seed = Seed(
            id=f"{family.task or family.tasks[0]}-{family.split}-{_hash(family.name, source.id, source.text)[:10]}",
            category=source.category,
            task=family.task,
            split=family.split,
            language=self.language,
            licence=source.licence,
            made_of=source.id,
            review_state=UNREVIEWED,
            writers=tuple(draft.writers),
            **draft.values,
        )
        if seed.task == "ManyShotJailbreak" and not seed.compliant_stub:  # it stands in the histories of the others
            return replace(
                seed,
                compliant_stub=compliant_stub(seed, "withheld"),
                writers=(*seed.writers, f"compliant_stub: {RULE}"),
            )
        return seed


@cache
def prompts(language: str) -> dict[str, Any]:
    """What a teacher is told: ``seed_prompts.yaml`` of a language, over what it is told for completing seeds."""
    loaded = yaml.safe_load((files("longsafety.scenarios.write_seeds") / "seed_prompts.yaml").read_text("utf-8"))
    own: dict[str, Any] = loaded[language]
    return {**own, "prompts": {**texts(language)["prompts"], **own["prompts"]}}


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
