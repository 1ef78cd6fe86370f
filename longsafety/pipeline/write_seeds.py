"""``stages=[write_seeds]``: a teacher writes a seed file for review. After a kill it goes on from the kept replies.

It loads no tokenizer and makes no stage: the folder that the user names is the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longsafety.chat.spending import Spending
from longsafety.errors import DataError, print_left_out
from longsafety.pipeline.teacher import open_teacher
from longsafety.scenarios.seeds.review import REVIEW
from longsafety.scenarios.write_seeds.folder import PAGE, write_folder
from longsafety.scenarios.write_seeds.sources import read_sources
from longsafety.scenarios.write_seeds.write import Made, write_items
from longsafety.settings import Settings


def write_seed_file(settings: Settings) -> None:
    """Sources → seed items → ``write_seeds.path``, with what was rejected, left out and spent.

    Raises ConfigError or DataError.
    """
    wanted, language = settings.write_seeds, settings.scenario.language
    teacher = open_teacher(settings.teacher, Path(settings.paths.outputs))
    assert teacher is not None and wanted.path is not None
    sources = read_sources(wanted, language, settings.on_bad_row)
    print_left_out(sources.bad)
    kinds = Counter(f"{source.kind} for {source.split}" for source in sources.found)
    print(f"write_seeds: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}", flush=True)
    counts = Counter(sources.counts)
    try:
        made = write_items(sources.found, wanted, teacher, language, counts, tell)
    finally:
        print(f"  {spent(teacher.spent, settings)}", flush=True)
    seeds = [seed for family in made for seed in family.seeds]
    if not seeds:
        listed = "; ".join(f"{reason}: {count}" for reason, count in counts.most_common(10))
        raise DataError(
            f"write_seeds: no seed item was made of {len(sources.found)} sources ({listed}); see what failed"
        )
    lost = write_folder(Path(wanted.path), seeds, card(settings, made, counts, teacher.spent))
    for reason, count in sorted(counts.items()):
        print(f"  {reason}: {count}", flush=True)
    if lost:
        print(f"  decisions on items that are no longer there: {lost}, kept in review.before.csv", flush=True)
    folder = Path(wanted.path)
    print(f"seeds    {len(seeds)} seed items in {folder}, unreviewed but for what {REVIEW} says")
    print(f"review   {folder / PAGE}")
    print(f"build    python -m longsafety stages=[build] scenario.seeds={folder} scenario.only_accepted=true")


def tell(made: Made) -> None:
    """A line for each family once it is written."""
    few = "" if len(made.seeds) == made.wanted else f" of {made.wanted} wanted"
    print(f"  {made.family.name}: {len(made.seeds)} seed items{few}, of {made.sources} sources", flush=True)


def spent(spending: Spending, settings: Settings) -> str:
    """What was sent now, and its cost where a price is known."""
    price = settings.teacher.price
    cost = f", {spending.money(price):.4g} at teacher.price" if price.prompt or price.reply else ""
    return (
        f"teacher: {spending.prompts} prompts sent now, {spending.prompt_tokens} prompt and {spending.reply_tokens} "
        f"reply tokens{cost}; what was written before comes from the cache"
    )


def card(settings: Settings, made: Sequence[Made], counts: Counter[str], spending: Spending) -> dict[str, Any]:
    """How the seed file was made."""
    asked = settings.teacher.model_dump(
        include={"kind", "model", "temperature", "max_reply_tokens", "retries", "price"}
    )
    return {
        "warning": "Harmful requests and statements, for evaluating and training refusals. A teacher wrote them; what "
        "no rule can decide is unreviewed until somebody accepts it.",
        "language": settings.scenario.language,
        "teacher": asked,
        "write_seeds": settings.write_seeds.model_dump(exclude={"path"}),
        "seed_items": {
            item.family.name: {"made": len(item.seeds), "wanted": item.wanted, "sources": item.sources} for item in made
        },
        "licences": dict(Counter(seed.licence for item in made for seed in item.seeds)),
        "counts": dict(sorted(counts.items())),
        "sent_by_the_last_command": {
            "prompts": spending.prompts,
            "prompt_tokens": spending.prompt_tokens,
            "reply_tokens": spending.reply_tokens,
            "cost": round(spending.money(settings.teacher.price), 6),
        },
    }
