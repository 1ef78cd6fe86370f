"""What the benchmarks share: tokenizers, stores, medians, and how a result is printed."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from longsafety.corpus.corpus import read_documents
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.store import TokenStore
from longsafety.scenarios.made_documents import made_documents
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.settings import Corpus, Length, Scenario, TaskCounts

RESULTS = Path(__file__).with_name("results")
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def median_seconds(runs: Sequence[Callable[[], Any]], repeats: int = 5) -> list[float]:
    """The median time of each, the runs interleaved so that a noisy machine disturbs them alike."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, found in zip(runs, times, strict=True):
            began = time.perf_counter()
            run()
            found.append(time.perf_counter() - began)
    return [statistics.median(found) for found in times]


def tokenizers(texts: Sequence[str], vocabulary: int = 32_000) -> dict[str, Any]:
    """A byte-level BPE and a SentencePiece-style BPE (metaspace, byte fallback), trained on ``texts``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|im_start|>", "<|im_end|>"]
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_level.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    piece = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    piece.pre_tokenizer = pre_tokenizers.Metaspace()
    piece.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    fallback = ["<unk>", *special, *(f"<0x{byte:02X}>" for byte in range(256))]
    piece.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=fallback, show_progress=False)
    )
    build: Any = PreTrainedTokenizerFast
    return {
        name: build(tokenizer_object=core, chat_template=_TEMPLATE, eos_token="<|im_end|>", pad_token="<|im_end|>")
        for name, core in (("byte-level BPE", byte_level), ("SentencePiece-style BPE", piece))
    }


def encoder_over(folder: Path, corpus: str, tokenizer: Any) -> ChatEncoder:
    """An encoder over a corpus and the shipped seed items' texts."""
    documents = read_documents(Corpus(source=corpus)).documents
    TokenStore.build(folder, [*documents, *made_documents(load_seeds("shipped").seeds)], tokenizer)
    return ChatEncoder(tokenizer, TokenStore.open(folder))


def scenario(counts: dict[str, int]) -> Scenario:
    """Training samples of some tasks."""
    return Scenario(name="benchmark", tasks={name: TaskCounts(train=count, bench=0) for name, count in counts.items()})


def length(tokens: int) -> Length:
    return Length(name=str(tokens), max_tokens=tokens)


def tell(name: str, values: dict[str, Any]) -> None:
    """Prints a result and keeps it, with the machine's conditions, in ``results/<name>.json``."""
    import os

    conditions = {"python": platform.python_version(), "processor": _processor(), "cores": os.cpu_count()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({**values, "conditions": conditions}, indent=1) + "\n", "utf-8")
    for key, value in values.items():
        print(f"{key:<52}{value}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
