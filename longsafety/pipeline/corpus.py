"""Stage ``corpus``: documents, tokenised once; every context is cut from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from longsafety.corpus.corpus import read_documents
from longsafety.errors import DataError, print_left_out
from longsafety.model.tokenizer import load_tokenizer
from longsafety.pipeline.run import Run, once, read_json, write_json
from longsafety.pipeline.seeds import CONTEXT_SEEDS, COUNTS, SEEDS, seeds
from longsafety.samples.control import ControlTokens
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.store import TokenStore
from longsafety.samples.template import ChatTemplate
from longsafety.scenarios.made_documents import made_documents
from longsafety.scenarios.seeds.seed import Seed, read_seeds


@once
def tokenizer(run: Run) -> PreTrainedTokenizerBase:
    """The model's."""
    return load_tokenizer(run.settings.model, run.cache)


@once
def control(run: Run) -> ControlTokens:
    """The model's control tokens, which no text that is not ours may hold."""
    return ControlTokens(tokenizer(run))


@dataclass(frozen=True)
class SeedItems:
    """The seed items that this model can be trained on and asked, and those in the contexts' language."""

    items: list[Seed]
    context: list[Seed]
    counts: dict[str, int]


@once
def seed_items(run: Run) -> SeedItems:
    """The seed items without those that hold a control token of the model, which are counted.

    The stage ``seeds`` knows no model.
    """
    folder, special = seeds(run), control(run)
    read = {name: read_seeds(folder / name) for name in (SEEDS, CONTEXT_SEEDS)}
    kept = {name: [seed for seed in found if special.found_in(asdict(seed)) is None] for name, found in read.items()}
    lost = sum(map(len, read.values())) - sum(map(len, kept.values()))
    counts = {"seed items left out: hold a special token of the model": lost} if lost else {}
    return SeedItems(kept[SEEDS], kept[CONTEXT_SEEDS], counts)


def corpus(run: Run) -> Path:
    """A token store of the documents and of the texts that are made of seed items; and what is known of them."""

    def make(folder: Path) -> None:
        items = seeds(run)
        ChatTemplate(tokenizer(run), control(run))  # what the template refuses is told before anything is made
        read = read_documents(run.settings.corpus, run.settings.on_bad_row)
        print_left_out(read.bad)
        # A document with such a token could close the user's turn and speak in another's place.
        special = control(run)
        documents = [item for item in read.documents if special.found(item.text) is None]
        if not documents:
            raise DataError(
                f"corpus.source = {run.settings.corpus.source}: each of its {len(read.documents)} documents holds a "
                f"special token of the model, such as {special.found(read.documents[0].text)!r}; remove them, or give "
                "other documents"
            )
        counts = {
            **read.counts,
            "left out: holds a special token of the model": len(read.documents) - len(documents),
        }
        usable = seed_items(run)
        made = made_documents(usable.context or usable.items, run.settings.scenario.stubs)
        TokenStore.build(folder, [*documents, *made], tokenizer(run))
        store = TokenStore.open(folder)
        facts = {
            "source": run.settings.corpus.source,
            "documents": len(documents),
            "tokens": sum(store.num_tokens(number) for number in range(len(documents))),
            "licence": read.licence,
            "fingerprint": read.fingerprint,
            "counts": {
                **{f"corpus: {reason}": count for reason, count in counts.items() if count},
                **read_json(items / COUNTS),
                **usable.counts,
            },
        }
        write_json(folder / COUNTS, facts)

    return run.stage("corpus", make)


@once
def facts(run: Run) -> dict[str, Any]:
    """What is known of the corpus: source, documents, tokens, licence, fingerprint, counts."""
    found: dict[str, Any] = read_json(corpus(run) / COUNTS)
    return found


@once
def encoder(run: Run) -> ChatEncoder:
    """Renders and tokenises samples whose contexts lie in the corpus."""
    return ChatEncoder(tokenizer(run), TokenStore.open(corpus(run)), thoughts=run.settings.training.thoughts)
