"""Stage ``corpus``: documents, tokenised once; every context is cut from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from longsafety.corpus.corpus import read_documents
from longsafety.model.tokenizer import load_tokenizer
from longsafety.pipeline.run import Run, once, read_json, write_json
from longsafety.pipeline.seeds import CONTEXT_SEEDS, COUNTS, SEEDS, seeds
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.store import TokenStore
from longsafety.scenarios.made_documents import made_documents
from longsafety.scenarios.seeds.seed import read_seeds


@once
def tokenizer(run: Run) -> PreTrainedTokenizerBase:
    """The model's."""
    return load_tokenizer(run.settings.model, run.cache)


def corpus(run: Run) -> Path:
    """A token store of the documents and of the texts that are made of seed items; and what is known of them."""

    def make(folder: Path) -> None:
        items = seeds(run)
        read = read_documents(run.settings.corpus)
        # A document with a special token could close the user's turn and speak in another's place.
        special = set(tokenizer(run).all_special_tokens)
        documents = [item for item in read.documents if not any(token in item.text for token in special)]
        counts = {
            **read.counts,
            "left out: holds a special token of the model": len(read.documents) - len(documents),
        }
        told = read_seeds(items / CONTEXT_SEEDS) or read_seeds(items / SEEDS)
        made = made_documents(told, run.settings.scenario.stubs)
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
    return ChatEncoder(tokenizer(run), TokenStore.open(corpus(run)))
