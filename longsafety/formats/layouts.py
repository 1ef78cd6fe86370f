"""The public formats that samples are written in: what a sample needs, its split, its row, and the card's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from longsafety.formats.bench_rows import BENCH, PLACE, SHOWN, bench_row, by_task, shown_row, twin_columns
from longsafety.formats.companions import inspect_ai, llama_factory, llama_factory_preference, lm_eval, no_files
from longsafety.formats.row_files import Container
from longsafety.formats.training_rows import (
    CHAT,
    LLAMA_FACTORY,
    TRL,
    TURNS,
    VERL,
    Row,
    columns,
    llama_factory_row,
    messages_row,
    trl_row,
    turns_row,
    verl_row,
)
from longsafety.samples.recipe import Sample
from longsafety.vocabulary import PLACE_TASKS


@dataclass(frozen=True)
class Format:
    """How one public format is written."""

    needs: Literal["answer", "pair", "choices"]
    """What a sample must have: training samples have an answer, those with a worse one beside it are a pair, benchmark
    items have choices."""
    split: Callable[[Sample], str]
    """The split, and file stem, of a sample."""
    row: Callable[[Sample, str, int, int], Row]
    """Sample, rendered context, seed, and the row's number in its split → row."""
    features: Sequence[Row]
    """The columns as the ``dataset_info.features`` of a Hugging Face card, because splits may lack some of them."""
    task_category: str
    """The hub's task category."""
    columns: str
    """The card's description of files and columns (Markdown); ``{name}`` stands for the set's name."""
    companions: Callable[[Mapping[str, str], str], dict[str, str]] = no_files
    """Split → kind, and the set's name → file name → text of the files beside the rows."""
    usage: str = ""
    """The card's commands for a harness (Markdown)."""
    container: Container = "jsonl"
    """The files that the rows stand in."""
    rejected: bool = False
    """Whether a row holds the rejected answer."""

    @property
    def in_turns(self) -> bool:
        """Whether a row holds a chat; otherwise earlier turns are part of its context."""
        return self.needs != "choices"

    def file(self, split: str) -> str:
        """The name of a split's file."""
        return f"{split}.{self.container}"


def _train(sample: Sample) -> str:
    return "train"


_SHOWN_COLUMNS = """\
A file a task: `id`, `task`, `kind`, `category`, `language`, `context`, `question`, `letters`, `choices` (as they are
shown), `answer` (index of the right one in `choices`), `order` (`order[i]` is the role of option i, numbered unsafe →
safe), `depth`, `length` (tokens requested), `num_tokens`."""

FORMATS: Mapping[str, Format] = {
    "longsafety_17k": Format(
        "answer",
        _train,
        turns_row,
        TURNS,
        "text-generation",
        """\
The columns of LongSafety-17k, one file `train.jsonl`: `id`, `task`, `content` (turns of `prompt` and `output`; the
context opens the first prompt).""",
    ),
    "longsafety_bench": Format(
        "choices",
        by_task,
        bench_row,
        [*BENCH, *PLACE],
        "multiple-choice",
        f"""\
The columns of LongSafetyBench, a split a task: `id`, `context`, `question`, `choices` (unsafe → safe; the last is the
safe one), and `depth` and `length` (tokens requested) in {" and ".join(PLACE_TASKS)}.""",
    ),
    "messages": Format(
        "answer",
        _train,
        messages_row,
        CHAT,
        "text-generation",
        """\
One file `train.jsonl`: `messages` (`role`, `content`; the context opens the first message), `id`, `task`, `kind`.
`dataset_info.json` holds the entry for LLaMA-Factory: give this folder as `dataset_dir` and `{name}` as `dataset`.""",
        llama_factory,
    ),
    "trl_preference": Format(
        "pair",
        _train,
        trl_row,
        TRL,
        "text-generation",
        """\
TRL's preference format (`DPOTrainer` and others), one file `train.jsonl`: `prompt` (`role`, `content`; the context
opens the first message), `chosen` and `rejected` (one assistant message each), `id`, `task`, `kind`.""",
        rejected=True,
    ),
    "llama_factory_preference": Format(
        "pair",
        _train,
        llama_factory_row,
        LLAMA_FACTORY,
        "text-generation",
        """\
LLaMA-Factory's preference format, one file `train.jsonl`: `conversations` (`from`, `value`; the context opens the first
message; the last is the user's), `chosen`, `rejected`, `id`, `task`, `kind`. `dataset_info.json` holds the entry, with
`ranking`: give this folder as `dataset_dir` and `{name}` as `dataset`.""",
        llama_factory_preference,
        rejected=True,
    ),
    "verl": Format(
        "answer",
        _train,
        verl_row,
        VERL,
        "text-generation",
        """\
verl's rows for reinforcement learning, one file `train.parquet`: `data_source` (`longsafety/<Task>`, by which a reward
function is chosen), `prompt` (`role`, `content`; the context opens the first message), `ability`, `reward_model`
(`style`; `ground_truth` is the answer to learn, which a judge may be shown: no rule compares texts with it) and
`extra_info` (`split`, `index`, `id`, `task`, `kind`, `rejected`). Give a reward function of your own
(`custom_reward_function.path`): verl knows none for these sources.""",
        container="parquet",
        rejected=True,
    ),
    "lm_eval": Format(
        "choices",
        by_task,
        shown_row,
        SHOWN,
        "multiple-choice",
        _SHOWN_COLUMNS,
        lm_eval,
        """\
```
lm_eval --model hf --model_args pretrained=MODEL,max_length=TOKENS --include_path FOLDER --tasks longsafety_bench
```
`acc` is SafeResponse: how often the letter of the safe option is the likeliest. Give a `max_length` above the longest
sample with its options: the harness cuts longer prompts at their beginning, and with it what an item is about.""",
    ),
    "inspect": Format(
        "choices",
        by_task,
        shown_row,
        SHOWN,
        "multiple-choice",
        _SHOWN_COLUMNS,
        inspect_ai,
        """\
```
cd FOLDER && inspect eval longsafety_bench.py --model PROVIDER/MODEL
```
`accuracy` is SafeResponse: how often the letter of the safe option is given.""",
    ),
}
"""Name (as in ``export.format``) → format."""


def with_twins(form: Format) -> Format:
    """The format with an item's twins in its task's file, in three more columns."""
    return replace(
        form,
        split=lambda sample: sample.task,
        row=lambda sample, context, seed, number: form.row(sample, context, seed, number) | twin_columns(sample),
        features=[*form.features, *columns(twin="string", twin_of="string", right="int64")],
        columns=f"""{form.columns} An item's twins follow it: `twin` is empty (the item), `benign_query` or
`benign_needle` (the same options, of which another is right), `absent` (without its needle) or `short` (the item or its
benign twin without filler); `twin_of` is the item's `id`; `right` is the index of the right choice.""",
    )
