"""From documents to packed token rows: ours against the usual way, on the same samples.

python tests/benchmarks/end_to_end.py CORPUS [--samples 500] [--tokens 41000]     (needs trl; not a dependency)

Ours: fit the recipe to its length, encode, write ids and the answer's length, plan the packs. The usual way:
``Dataset.from_generator`` over texts that are already assembled, ``map`` with the tokenizer and a label mask,
``trl.pack_dataset``. The gate: the same ids and the same supervised tokens on every sample. Tokenising the corpus,
which ours does once for every set that is made of it, is timed apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from setting import encoder_over, length, median_seconds, scenario, tell, tokenizers

from longsafety.corpus.corpus import read_documents
from longsafety.data.pack import best_fit_decreasing
from longsafety.data.tokens import TokenRows
from longsafety.scenarios.build import build
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.settings import Corpus


def main() -> None:
    from trl import pack_dataset

    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=41_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    count, budget = arguments.samples, 2 * arguments.tokens
    texts = [document.text for document in read_documents(Corpus(source=arguments.corpus)).documents]
    tokenizer = tokenizers(texts)["byte-level BPE"]
    tasks = ("HarmfulNIAH", "KeywordRAG", "CountingCrimes", "MedicalQuiz", "LawQA")
    with tempfile.TemporaryDirectory() as temporary:
        root, run = Path(temporary), iter(range(10_000))
        began = time.perf_counter()
        encoder = encoder_over(root / "store", arguments.corpus, tokenizer)
        corpus_seconds = time.perf_counter() - began
        per_task = dict.fromkeys(tasks, -(-count // len(tasks)))
        builder = build(
            scenario(per_task), length(arguments.tokens), load_seeds("shipped").seeds, encoder, split="train", seed=0
        )
        _ = builder.pool.passages

        def ours() -> TokenRows:
            for cache in (encoder._between, encoder._ends):
                cache.cache_clear()
            made = (
                next(builder.task(name).item(index, arguments.tokens))
                for name, number in per_task.items()
                for index in range(number)
            )
            rows = TokenRows.write(root / f"rows-{next(run)}", made, encoder)
            best_fit_decreasing(rows.lengths, budget)
            return rows

        samples = [
            next(builder.task(name).item(index, arguments.tokens))
            for name, number in per_task.items()
            for index in range(number)
        ]
        rendered = [
            {
                "prompt": encoder.prompt_text(*item.prompt()),
                "reply": encoder.answer_text(item.question, item.answer),
            }
            for item in samples
        ]

        def mask(row: dict[str, Any]) -> dict[str, Any]:
            prompt = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
            reply = tokenizer(row["reply"], add_special_tokens=False)["input_ids"]
            return {"input_ids": prompt + reply, "labels": [-100] * len(prompt) + reply}

        def usual(pack: bool = True) -> datasets.Dataset:
            cache = str(root / f"hf-{next(run)}")
            made = datasets.Dataset.from_generator(lambda: iter(rendered), cache_dir=cache)
            encoded = made.map(mask, remove_columns=["prompt", "reply"], load_from_cache_file=False)
            if pack:
                pack_dataset(encoded, budget, "bfd", map_kwargs={"load_from_cache_file": False})
            return encoded

        rows, peer = ours(), usual(pack=False)
        for index in range(len(rows)):
            row, other = rows[index], peer[index]
            assert np.array_equal(row.ids, other["input_ids"]), f"sample {index}: other ids"
            assert row.num_answer == sum(label != -100 for label in other["labels"]), f"sample {index}: other mask"
        ours_seconds, usual_seconds = median_seconds([ours, usual], arguments.repeats)

        numpy_rows = peer.with_format("numpy")
        chosen = list(range(0, len(rows), 5))

        def read_ours() -> None:
            for index in chosen:
                torch.from_numpy(rows[index].ids.astype(np.int64))

        def read_usual() -> None:
            for index in chosen:
                torch.as_tensor(numpy_rows[index]["input_ids"])

        read_seconds = median_seconds([read_ours, read_usual], arguments.repeats)
        tell(
            "end_to_end",
            {
                "samples, equal in ids and mask": len(rows),
                "tokens a sample": arguments.tokens,
                "ours, s": round(ours_seconds, 2),
                "from_generator + map + pack_dataset, s": round(usual_seconds, 2),
                "ratio": round(usual_seconds / ours_seconds, 1),
                "tokenising the corpus once, s": round(corpus_seconds, 2),
                "ratio with the corpus counted": round(usual_seconds / (ours_seconds + corpus_seconds), 1),
                "reading a row as a tensor, us": round(read_seconds[0] / len(chosen) * 1e6, 1),
                "datasets in numpy format, us": round(read_seconds[1] / len(chosen) * 1e6, 1),
                "ratio of reading": round(read_seconds[1] / read_seconds[0], 1),
            },
        )


if __name__ == "__main__":
    main()
