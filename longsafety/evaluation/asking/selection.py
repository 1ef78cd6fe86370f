"""Which of a benchmark's items are asked; what is left out is counted, by the setting that left it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from longsafety.errors import ConfigError
from longsafety.evaluation.asking.ask import SHOWN, letter_question, reply_tokens, selected
from longsafety.evaluation.asking.truncation import Fitting, fit
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.settings import OPTION_ROOM_TOKENS, Evaluation, Select

NEED_NO_OPTIONS = frozenset({"open"})
"""Scorers that read what a model writes of its own accord."""


class Selected(NamedTuple):
    """Items beside their twins, those with the item's context first; and ``setting = value`` → items left out."""

    items: list[Sample]
    left_out: dict[str, int]


def select(items: Sequence[Sample], evaluation: Evaluation) -> Selected:
    """The items that ``evaluation`` asks for.

    Rules about the task, the language, the length and the depth look at an item and apply to its twins too; so does the
    limit. Raises ``ConfigError`` for a task that no item is of, a rule that leaves nothing, and scorers that need
    options where an item has none.
    """
    known = sorted({item.task for item in items})
    if unknown := [task for task in evaluation.select.tasks if task not in known]:
        raise _wrong(f"tasks = [{', '.join(unknown)}]", f"no item is of it; choose from {', '.join(known)}")
    left_out: dict[str, int] = {}
    families = [list(members) for _, members in groupby(selected(items, evaluation), key=lambda item: item.pair_id)]
    if not families:
        twins = ", ".join(evaluation.twins)
        raise ConfigError([f"evaluation.twins = [{twins}]: leaves none of {len(items)} items; name the twins they are"])
    for setting, keep in _rules(evaluation.select):
        before = sum(map(len, families))
        families = [kept for family in families if (kept := keep(family))]
        _note(left_out, setting, before, families)
    if evaluation.select.limit is not None:
        before = sum(map(len, families))
        families = _limited(families, evaluation.select.limit)
        _note(left_out, f"limit = {evaluation.select.limit}", before, families)
    chosen = [item for family in families for item in family]
    needy = [scorer for scorer in evaluation.scorers if scorer not in NEED_NO_OPTIONS]
    bare = [item for item in chosen if not item.choices]
    if bare and needy:
        raise ConfigError([
            f"evaluation.scorers = [{', '.join(evaluation.scorers)}]: {bare[0].id} (of {len(bare)} such items) has no "
            f"options, which {', '.join(needy)} read; set evaluation.scorers=[{', '.join(sorted(NEED_NO_OPTIONS))}]"
        ])  # fmt: skip
    return Selected(chosen, left_out)


_Family = list[Sample]
_Keep = Callable[[_Family], _Family]


def _rules(wanted: Select) -> list[tuple[str, _Keep]]:
    """``setting = value`` and what it keeps of a family."""
    rules: list[tuple[str, _Keep]] = []

    def rule(name: str, keep: Callable[[Sample], bool]) -> None:
        value = getattr(wanted, name)
        if value not in ([], None):
            shown = f"[{', '.join(value)}]" if isinstance(value, list) else f"{value}"
            rules.append((f"{name} = {shown}", lambda family: family if keep(family[0]) else []))

    rule("tasks", lambda item: item.task in wanted.tasks)
    rule("scenarios", lambda item: item.scenario in wanted.scenarios)
    rule("languages", lambda item: item.language in wanted.languages)
    rule("min_tokens", lambda item: item.num_tokens >= (wanted.min_tokens or 0))
    rule("max_tokens", lambda item: item.num_tokens <= (wanted.max_tokens or 0))
    rule("min_depth", lambda item: item.depth is not None and item.depth >= (wanted.min_depth or 0))
    rule("max_depth", lambda item: item.depth is not None and item.depth <= (wanted.max_depth or 0))
    if wanted.kinds:
        name = f"kinds = [{', '.join(wanted.kinds)}]"
        rules.append((name, lambda family: [item for item in family if item.kind in wanted.kinds]))
    return rules


def _limited(families: Sequence[_Family], limit: int) -> list[_Family]:
    """The first of each task, then the second of each, and so on, in their own order."""
    seen: dict[str, int] = {}
    turns = []
    for place, family in enumerate(families):
        task = family[0].task
        seen[task] = seen.get(task, 0) + 1
        turns.append((seen[task], place))
    return [families[place] for place in sorted(place for _, place in sorted(turns)[:limit])]


def _note(left_out: dict[str, int], setting: str, before: int, families: Sequence[_Family]) -> None:
    after = sum(map(len, families))
    if not after:
        raise _wrong(setting, f"leaves none of {before} items; relax it")
    if after < before:
        left_out[f"select.{setting}"] = before - after


def _wrong(setting: str, rule: str) -> ConfigError:
    return ConfigError([f"evaluation.select.{setting}: {rule}"])


def asked(
    items: Sequence[Sample], encoder: ChatEncoder, evaluation: Evaluation, *, max_tokens: int, window: int
) -> Fitting:
    """The items that are asked, each made to fit ``max_tokens`` (and room for the options) and, with what is scored
    behind it, the model's window. ``counts``: what was left out or cut, by reason. Raises as ``select`` and ``fit``."""
    chosen = select(items, evaluation)
    room = max_tokens + OPTION_ROOM_TOKENS

    def excess(item: Sample) -> int:
        sizes = [_sizes(item, scorer, encoder, evaluation) for scorer in evaluation.scorers]
        return max(max(prompt - room, prompt + reply - window) for prompt, reply in sizes)

    fitting = fit(chosen.items, encoder, excess, how=evaluation.truncation)
    left_out = {f"left out by evaluation.{setting}": count for setting, count in chosen.left_out.items()}
    return fitting._replace(counts={**left_out, **fitting.counts})


def _sizes(item: Sample, scorer: str, encoder: ChatEncoder, evaluation: Evaluation) -> tuple[int, int]:
    """Tokens of the prompt, and of the longest that is scored or written behind it."""
    question = letter_question(item, item.order) if scorer in SHOWN else item.question
    prompt = encoder.prompt_length(*item.prompt(question))
    if scorer in ("likelihood", "calibrated"):
        return prompt, max(len(encoder.literal_ids(text)) for wordings in item.choices for text in wordings)
    return prompt, 1 if scorer == "letter" else reply_tokens(scorer, evaluation)
