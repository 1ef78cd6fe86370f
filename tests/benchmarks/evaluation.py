"""Asking about a long context: a family of questions in one pass, beside the usual ways.

python tests/benchmarks/evaluation.py options|letters|smollm2|orders|twins [--repeats 3]   (lm_eval for the first three)

options, letters: four continuations of 12 to 24 tokens, or of one, after a context of 8,192 tokens, beside
lm-evaluation-harness' ``HFLM``; a 4-layer Llama with a vocabulary of 32,000. smollm2: both with SmolLM2-135M at 2,048
tokens. orders: 4 and 24 orders of the options beside a loop with ``logits_to_keep=1``, and how the cost of 4 orders
over one falls with the context's length (drawn). twins: an item with its benign twins beside the item alone. Every side
runs in a process of its own, in turns; a row counts only if the log-probabilities agree within 1e-4 and the choices are
the same. The harness is given token ids (``_loglikelihood_tokens``): what it tokenises is not in its time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from setting import RESULTS, tell

from longsafety.evaluation.asking.backend import Question
from longsafety.evaluation.backends.transformers import TransformersBackend

CASES = ("options", "letters", "smollm2", "orders", "twins")
ITEMS = 2
TOLERANCE = 1e-4
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
QUESTION_TOKENS = 120
"""Of a question with its options: what the orders of the options do not share."""


def network(case: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    if case.startswith("smollm2"):
        from longsafety.model.load import load_model
        from longsafety.settings import Model

        return load_model(
            Model(name="smollm2", source="smollm2", window=8192), Path.home() / ".cache" / "longsafety", seed=0
        )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32_000, hidden_size=128, intermediate_size=448, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=1, max_position_embeddings=131_072, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()  # type: ignore[no-untyped-call]


def questions(case: str, tokens: int) -> list[list[Question]]:
    """A family of questions an item. ``twins3/0.7``: an item with two twins, one a needle's at depth .7."""
    generator = np.random.default_rng(0)

    def ids(size: int) -> np.ndarray:
        return generator.integers(3, 32_000, size)

    letters = [np.array([letter]) for letter in (310, 311, 312, 313)]
    if "letters" in case or "options" in case:
        answers = letters if "letters" in case else None
        return [
            [Question(ids(tokens), answers or [ids(int(size)) for size in generator.integers(12, 25, 4)])]
            for _ in range(ITEMS)
        ]
    context = ids(tokens - QUESTION_TOKENS)
    if case.startswith("orders"):
        return [[Question(np.concatenate([context, ids(QUESTION_TOKENS)]), letters) for _ in range(int(case[6:]))]]
    options = [ids(20) for _ in range(4)]
    needle, question = ids(30), ids(QUESTION_TOKENS)
    place = int(len(context) * float(case[7:] or 0.5))
    item = np.concatenate([context, question])
    asked_else = np.concatenate([context, ids(QUESTION_TOKENS)])
    harmless = np.concatenate([context[:place], needle, context[place + 30 :], question])
    family = [Question(prompt, options) for prompt in (item, asked_else, harmless)]
    return [family[: int(case[5])]]


def ours(case: str, families: list[list[Question]], model: Any) -> Any:
    backend = TransformersBackend(model, precision="32-true", accelerator="cpu")

    def run() -> list[list[float]]:
        return [[float(v) for v in found] for family in families for found in backend.loglikelihoods(family)]

    return run


def harness(case: str, families: list[list[Question]], model: Any) -> Any:
    """lm-evaluation-harness, with the model as it is."""
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>"
    )
    peer = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=131_072, device="cpu")
    asked = [
        (("", ""), question.prompt.tolist(), answer.tolist())
        for family in families
        for question in family
        for answer in question.continuations
    ]

    def run() -> list[list[float]]:
        with torch.inference_mode():
            found = [value for value, _ in peer._loglikelihood_tokens(asked, disable_tqdm=True)]
        read: list[list[float]] = np.reshape(found, (-1, 4)).tolist()
        return read

    return run


def loop(case: str, families: list[list[Question]], model: Any) -> Any:
    """One pass an order, the last position's logits only."""

    def run() -> list[list[float]]:
        rows = []
        with torch.inference_mode():
            for question in (question for family in families for question in family):
                ids = torch.from_numpy(question.prompt)[None]
                logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].float()
                read = torch.log_softmax(logits, dim=-1)
                rows.append([float(read[int(answer[0])]) for answer in question.continuations])
        return rows

    return run


SIDES = {"ours": ours, "lm_eval": harness, "loop": loop}


def measure(side: str, case: str, tokens: int) -> None:
    """In this process: prints the log-likelihoods, the median seconds and the growth of the peak memory."""
    torch.set_num_threads(2)
    run = SIDES[side](case, questions(case, tokens), network(case))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = run()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"found": found, "seconds": median(seconds), "peak_kib": grown}))


def sides(case: str, tokens: int, names: tuple[str, ...], repeats: int) -> dict[str, dict[str, Any]]:
    """Each side's medians over ``repeats`` processes, in turns."""
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, runs in told.items():
            command = [sys.executable, __file__, case, "--side", name, "--tokens", str(tokens)]
            runs.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]))
    return {
        name: {"found": runs[0]["found"], **{key: median(run[key] for run in runs) for key in ("seconds", "peak_kib")}}
        for name, runs in told.items()
    }


def beside(case: str, tokens: int, peer: str, repeats: int) -> dict[str, Any]:
    done = sides(case, tokens, ("ours", peer), repeats)
    mine, theirs = (np.array(done[name]["found"]) for name in ("ours", peer))
    off = float(np.abs(mine - theirs).max())
    assert off < TOLERANCE, f"{case}: log-probabilities differ by {off:.1e}"
    assert (mine.argmax(1) == theirs.argmax(1)).all(), f"{case}: the choices differ"
    return {
        "tokens of a prompt": tokens,
        "questions": len(mine),
        "largest difference of log-probabilities": f"{off:.1e}",
        "seconds": {name: round(values["seconds"], 3) for name, values in done.items()},
        "ratio of time": round(done[peer]["seconds"] / done["ours"]["seconds"], 2),
        "peak memory, growth in MB": {name: round(values["peak_kib"] / 1e3, 1) for name, values in done.items()},
        "ratio of memory": round(done[peer]["peak_kib"] / max(done["ours"]["peak_kib"], 1), 2),
    }


def costs(cases: tuple[str, str], tokens: int, repeats: int) -> float:
    """Seconds of the first over seconds of the second, both ours: the median over turns of both."""
    turns = [[sides(case, tokens, ("ours",), 1)["ours"]["seconds"] for case in cases] for _ in range(repeats)]
    ratio: float = round(median(first / second for first, second in turns), 3)
    return ratio


def draw(ratios: dict[int, float], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([str(tokens) for tokens in ratios], list(ratios.values()), marker="o", color="#0072b1")
    axes.axhline(1, color="#888888", linewidth=0.8)
    axes.set(xlabel="tokens of the prompt", ylabel="cost of four orders, in that of one", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--tokens", type=int, default=8192)
    arguments = parser.parse_args()
    case, repeats = arguments.case, arguments.repeats
    if arguments.side:
        measure(arguments.side, case, arguments.tokens)
    elif case in ("options", "letters"):
        tell(f"evaluation-{case}", beside(case, 8192, "lm_eval", repeats))
    elif case == "smollm2":
        for what in ("options", "letters"):
            tell(f"evaluation-smollm2-{what}", beside(f"smollm2-{what}", 2048, "lm_eval", repeats))
    elif case == "orders":
        for count in (4, 24):
            tell(f"evaluation-orders-{count}", beside(f"orders{count}", 8192, "loop", repeats))
        ratios = {tokens: costs(("orders4", "orders1"), tokens, repeats) for tokens in LENGTHS}
        tell("evaluation-orders-lengths", {f"four orders over one, {tokens} tokens": r for tokens, r in ratios.items()})
        draw(ratios, RESULTS / "evaluation-orders-lengths.png")
    elif case == "twins":
        told = {
            "with the benign query": ("twins2", "twins1"),
            "and the benign needle at half": ("twins3", "twins1"),
            "and the benign needle at 0.7": ("twins3/0.7", "twins1"),
        }
        tell("evaluation-twins", {what: costs(pair, 8192, repeats) for what, pair in told.items()})
    else:
        parser.error(f"case must be one of {', '.join(CASES)}")


if __name__ == "__main__":
    main()
