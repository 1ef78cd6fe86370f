"""Which of a benchmark's items are evaluated; what is left out is counted by the setting that left it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from longsafety.errors import ConfigError
from longsafety.evaluation.asking.system import system_tokens, with_system
from longsafety.evaluation.asking.trials import controls_of, letter_question, max_reply_tokens, with_twins
from longsafety.evaluation.asking.truncation import FittedItems, fit_items
from longsafety.evaluation.scorers import NEEDS_NO_OPTIONS, READS_REPLY, SHOWS_OPTIONS
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.samples.system import folded
from longsafety.samples.template import End
from longsafety.settings import OPTION_ROOM_TOKENS, Evaluation, Select


class Selection(NamedTuple):
    """Items, each with its twins after it; and ``setting = value`` → number of items left out."""

    items: list[Sample]
    left_out: dict[str, int]


def select_items(items: Sequence[Sample], evaluation: Evaluation) -> Selection:
    """The items that ``evaluation`` names.

    Rules about the task, the language, the length and the depth look at an item and apply to its twins too; so does the
    limit. Raises ``ConfigError`` for a task without items, a rule that leaves nothing, and scorers that need options
    where an item has none.
    """
    known = sorted({item.task for item in items})
    if unknown := [task for task in evaluation.select.tasks if task not in known]:
        raise _wrong(f"tasks = [{', '.join(unknown)}]", f"no item is of it; choose from {', '.join(known)}")
    left_out: dict[str, int] = {}
    controlled = [*items, *controls_of(items, evaluation.controls)]
    chosen = with_twins(controlled, [*evaluation.twins, *evaluation.controls])
    families = [list(members) for _, members in groupby(chosen, key=lambda item: item.pair_id)]
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
    needy = [scorer for scorer in evaluation.scorers if scorer not in NEEDS_NO_OPTIONS]
    bare = [item for item in chosen if not item.choices]
    if bare and needy:
        raise ConfigError([
            f"evaluation.scorers = [{', '.join(evaluation.scorers)}]: {bare[0].id} (of {len(bare)} such items) has no "
            f"options, which {', '.join(needy)} read; set evaluation.scorers=[{', '.join(sorted(NEEDS_NO_OPTIONS))}]"
        ])  # fmt: skip
    return Selection(chosen, left_out)


_Family = list[Sample]
_Keep = Callable[[_Family], _Family]


def _rules(select: Select) -> list[tuple[str, _Keep]]:
    """``setting = value``, and a function that returns what the rule keeps of a family."""
    rules: list[tuple[str, _Keep]] = []

    def rule(name: str, keep: Callable[[Sample], bool]) -> None:
        value = getattr(select, name)
        if value not in ([], None):
            shown = f"[{', '.join(value)}]" if isinstance(value, list) else f"{value}"
            rules.append((f"{name} = {shown}", lambda family: family if keep(family[0]) else []))

    rule("tasks", lambda item: item.task in select.tasks)
    rule("scenarios", lambda item: item.scenario in select.scenarios)
    rule("languages", lambda item: item.language in select.languages)
    rule("min_tokens", lambda item: item.num_tokens >= (select.min_tokens or 0))
    rule("max_tokens", lambda item: item.num_tokens <= (select.max_tokens or 0))
    rule("min_depth", lambda item: item.depth is not None and item.depth >= (select.min_depth or 0))
    rule("max_depth", lambda item: item.depth is not None and item.depth <= (select.max_depth or 0))
    if select.kinds:
        name = f"kinds = [{', '.join(select.kinds)}]"
        rules.append((name, lambda family: [item for item in family if item.kind in select.kinds]))
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


def select_and_fit(
    items: Sequence[Sample],
    encoder: ChatEncoder,
    evaluation: Evaluation,
    *,
    max_tokens: int,
    window: int,
    fold_system: bool = False,
) -> FittedItems:
    """The items to evaluate. Each fits ``max_tokens`` (plus room for a longer question, and the system message) and,
    with the options that are shown and the text that is scored or generated after it, the model's window.

    ``counts``: what was left out or cut, by reason. Raises as :func:`select_items` and :func:`fit_items`.
    """
    chosen = select_items(items, evaluation)
    asked, counts = with_system(chosen.items, encoder, evaluation, fold=fold_system)
    room = max_tokens + OPTION_ROOM_TOKENS + system_tokens(encoder, evaluation)
    measurable = bool(encoder.template.system_role)

    def excess(item: Sample) -> int:
        measured = item if measurable else folded(item)
        sizes = [_sizes(measured, scorer, encoder, evaluation) for scorer in evaluation.scorers]
        own = encoder.prompt_length(*measured.prompt())
        return max(own - room, *(prompt + reply - window for prompt, reply in sizes))

    fitted = fit_items(asked, encoder, excess, how=evaluation.truncation)
    left_out = {f"left out by evaluation.{setting}": count for setting, count in chosen.left_out.items()}
    return fitted._replace(counts={**left_out, **fitted.counts, **counts})


def _sizes(item: Sample, scorer: str, encoder: ChatEncoder, evaluation: Evaluation) -> tuple[int, int]:
    """Tokens of the prompt, and of the longest text that is scored or generated after it."""
    question = letter_question(item, item.order) if scorer in SHOWS_OPTIONS else item.question
    end: End = "reply" if scorer in READS_REPLY else "options"
    prompt = encoder.prompt_length(*item.prompt(question), end=end)
    if scorer in ("likelihood", "calibrated"):
        return prompt, max(len(encoder.reply_ids(text)) for wordings in item.choices for text in wordings)
    if scorer == "letter":
        return prompt, len(encoder.reply_ids("A"))
    return prompt, max_reply_tokens(scorer, evaluation, thinks=encoder.template.thinks())
