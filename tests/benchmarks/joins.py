"""Exact joins: assembling a context's ids against tokenising its whole text.

python tests/benchmarks/joins.py CORPUS [--samples 1000] [--tokens 32512]

The gate comes first: the assembled ids equal the tokenizer's on every sample, for a byte-level and a
SentencePiece-style tokenizer.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from setting import encoder_over, length, median_seconds, scenario, tell, tokenizers
from tokenizers import Tokenizer

from longsafety.corpus.corpus import read_documents
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample
from longsafety.scenarios.build import build
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.settings import Corpus


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=32512)
    arguments = parser.parse_args()
    texts = [document.text for document in read_documents(Corpus(source=arguments.corpus)).documents]
    names = [name for name in TASKS if name not in ("HarmfulExtraction", "HarmfulTendency")]
    for name, tokenizer in tokenizers(texts).items():
        with tempfile.TemporaryDirectory() as folder:
            encoder = encoder_over(Path(folder), arguments.corpus, tokenizer)
            counts = dict.fromkeys(names, -(-arguments.samples // len(names)))
            builder = build(
                scenario(counts), length(arguments.tokens), load_seeds("shipped").seeds, encoder, split="train", seed=0
            )
            harmful = (sample for sample in builder.samples() if sample.kind == "harmful")
            samples = [sample for sample, _ in zip(harmful, range(arguments.samples), strict=False)]
            plain = tokenizer.backend_tokenizer
            equal = 0
            for sample in samples:
                parts = (sample.context, sample.question, sample.history, sample.goal)
                whole = plain.encode(encoder.prompt_text(*parts), add_special_tokens=False).ids
                equal += np.array_equal(encoder.prompt_ids(*parts), whole)
            assert equal == len(samples), f"{name}: only {equal} of {len(samples)} samples are equal"
            timed = samples[:: max(len(samples) // 100, 1)]
            texts_of = [encoder.prompt_text(*item.prompt()) for item in timed]

            def assembled(encoder: ChatEncoder = encoder, timed: list[Sample] = timed) -> None:
                for cache in (encoder._between, encoder._ends):
                    cache.cache_clear()  # every join anew
                for item in timed:
                    encoder.prompt_ids(*item.prompt())

            def whole_text(plain: Tokenizer = plain, texts_of: list[str] = texts_of) -> None:
                for text in texts_of:
                    plain.encode(text, add_special_tokens=False)

            ours, theirs = median_seconds([assembled, whole_text])
            tell(
                f"joins-{name.partition(' ')[0].lower()}",
                {
                    "tokenizer": name,
                    "samples equal to tokenising the text": f"{equal} of {len(samples)}",
                    "tokens a sample": arguments.tokens,
                    "assembled, ms a sample": round(ours / len(timed) * 1e3, 3),
                    "whole text tokenised, ms a sample": round(theirs / len(timed) * 1e3, 3),
                    "ratio": round(theirs / ours, 1),
                },
            )


if __name__ == "__main__":
    main()
