"""How the time of building grows with the number of samples and with the length of the context; a PNG.

python tests/benchmarks/scaling.py CORPUS

A sample here is an item with all its twins, as they are built; one process. Rendering is shown beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
from setting import RESULTS, encoder_over, length, median_seconds, scenario, tell, tokenizers

from longsafety.corpus.corpus import read_documents
from longsafety.samples.recipe import Sample
from longsafety.scenarios.build import build
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.settings import Corpus

COUNTS = (250, 500, 1000, 2000, 4000)
LENGTHS = (1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000)
TASKS = ("HarmfulNIAH", "CountingCrimes", "KeywordRAG", "ManyShotJailbreak")
AT_ONCE = 8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    corpus = parser.parse_args().corpus
    texts = [document.text for document in read_documents(Corpus(source=corpus)).documents]
    tokenizer = tokenizers(texts)["byte-level BPE"]
    seeds = load_seeds("shipped").seeds
    with tempfile.TemporaryDirectory() as folder:
        encoder = encoder_over(Path(folder), corpus, tokenizer)

        def seconds(tokens: int, task: str, first: int, stop: int) -> float:
            builder = build(scenario({task: stop}), length(tokens), seeds, encoder, split="train", seed=0)
            _ = builder.pool.passages, builder.pool.chapters
            list(builder.task(task).items(0, 1))
            return median_seconds([lambda: list(builder.task(task).items(first, stop))], 3)[0] / (stop - first)

        by_count = []
        builder = build(
            scenario(dict.fromkeys(TASKS, COUNTS[-1] // len(TASKS))), length(32_512), seeds, encoder,
            split="train", seed=0,
        )  # fmt: skip
        _ = builder.pool.passages, builder.pool.chapters
        for count in COUNTS:
            began = time.perf_counter()
            for task in TASKS:
                for _ in builder.task(task).items(0, count // len(TASKS)):
                    pass
            by_count.append(time.perf_counter() - began)
        by_length = {task: [seconds(tokens, task, 1, 1 + AT_ONCE) * 1e3 for tokens in LENGTHS] for task in TASKS}
        rendering = []
        for tokens in LENGTHS:
            builder = build(scenario({"HarmfulNIAH": AT_ONCE}), length(tokens), seeds, encoder, split="train", seed=0)
            items = [item for item in builder.samples() if item.kind == "harmful"]

            def render(items: list[Sample] = items) -> None:
                for item in items:
                    encoder.prompt_text(item.context, item.question)

            rendering.append(median_seconds([render], 3)[0] / len(items) * 1e3)
    _plot(by_count, by_length, rendering)
    tell(
        "scaling",
        {
            "samples": list(COUNTS),
            "seconds (32,512 tokens, four tasks)": [round(value, 2) for value in by_count],
            "tokens": list(LENGTHS),
            **{f"{task}, ms a sample with twins": [round(value, 2) for value in by_length[task]] for task in TASKS},
            "rendering a context to text, ms": [round(value, 2) for value in rendering],
        },
    )


def _plot(by_count: list[float], by_length: dict[str, list[float]], rendering: list[float]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    left.plot(COUNTS, by_count, marker="o")
    left.plot(COUNTS, [by_count[-1] * count / COUNTS[-1] for count in COUNTS], linestyle=":", color="grey")
    left.set(xlabel="samples of 32,512 tokens", ylabel="seconds", title="Time grows with the samples (dotted: linear)")
    for task, values in by_length.items():
        right.plot(LENGTHS, values, marker="o", label=task)
    right.plot(LENGTHS, rendering, linestyle="--", color="black", label="rendering to text")
    right.set(xscale="log", yscale="log", xlabel="tokens a context", ylabel="ms a sample with its twins")
    right.set_title("… and with the parts of a context, not its tokens")
    right.legend(frameon=False)
    figure.tight_layout()
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "scaling.png", dpi=120)


if __name__ == "__main__":
    main()
