"""What could not be made as meant is counted; and every training sample has a rejected answer."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import EXCHANGE, Sample, SampleFile, Span
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.build import build
from longsafety.scenarios.made_documents import made_documents
from longsafety.scenarios.notes import BENIGN_EXCHANGES, NO_EXCHANGES, TEMPLATE_REJECTED
from longsafety.scenarios.seeds.seed import Seed
from longsafety.scenarios.tasks.registry import TASKS
from longsafety.scenarios.tasks.task import UNKNOWN_WORDS
from longsafety.scenarios.write import write
from longsafety.settings import Length, Scenario, TaskCounts

LAW = "The plaintiff asks the court, the judge hears the witness, and the tenant reads the verdict of case {}. "
MEDICINE = "A patient with a fever sees a doctor in the hospital, and the infection is gone in {} days. "
PLAIN = "The gardener waters the roses near the old bridge, and in the evening number {} walks home. "


def told(
    tokenizer: Any, folder: Path, seeds: list[Seed], task: str, texts: list[str], *, count: int = 4, tokens: int = 700,
    workers: int = 1, **more: Any,
) -> tuple[dict[str, int], list[Sample], TokenStore]:  # fmt: skip
    """The notes on the training items of a task over documents of these sentences."""
    documents = [
        Document(f"d-{number}", "".join(text.format(10 * number + at) for at in range(40)))
        for number, text in enumerate(texts)
    ]
    TokenStore.build(folder / "store", [*documents, *made_documents(seeds)], tokenizer)
    store = TokenStore.open(folder / "store")
    scenario = Scenario(name="s", tasks={task: TaskCounts(train=count, bench=0)}, **more)
    builder = build(
        scenario, Length(name="x", max_tokens=tokens), seeds, ChatEncoder(tokenizer, store), split="train", seed=0
    )
    notes: Counter[str] = Counter()
    write(builder, folder / "samples.parquet", workers=workers, told=notes)
    return dict(notes), list(SampleFile(folder / "samples.parquet")), store


def of(seeds: list[Seed], task: str) -> list[Seed]:
    return [seed for seed in seeds if seed.task == task and seed.split != "bench"][:8]


def test_a_question_of_which_no_word_is_known_is_counted(
    tiny_tokenizer: Any, tmp_path: Path, tiny_seeds: list[Seed]
) -> None:
    one, other, *_ = of(tiny_seeds, "LawQA")
    seeds = [dataclasses.replace(one, request="Xyzzy plugh?"), dataclasses.replace(other, request="Who waters roses?")]
    notes, *_ = told(tiny_tokenizer, tmp_path, seeds, "LawQA", [LAW, PLAIN] * 6, count=6)
    assert notes[f"LawQA: {UNKNOWN_WORDS}"] == 3


@pytest.mark.parametrize(("task", "prose", "sentence"), [("LawQA", "legal", LAW), ("MedicalQuiz", "medical", MEDICINE)])
def test_a_corpus_without_the_prose_of_a_task_is_told(
    tiny_tokenizer: Any, tmp_path: Path, tiny_seeds: list[Seed], task: str, prose: str, sentence: str
) -> None:
    seeds = of(tiny_seeds, task)
    for name in ("none", "much", "little"):
        (tmp_path / name).mkdir()
    none, *_ = told(tiny_tokenizer, tmp_path / "none", seeds, task, [PLAIN] * 12)
    key = f"{task}: no {prose} prose in the documents: the passages nearest to the question are used"
    assert none[key] == 4
    much, samples, store = told(tiny_tokenizer, tmp_path / "much", seeds, task, [PLAIN, sentence] * 6, tokens=500)
    assert not any(f"{prose} prose" in note for note in much)
    for item in samples:  # and it is what the question is asked over
        spans = [part for part in item.context if isinstance(part, Span)]
        assert all(int(store.ids[span.document][2:]) % 2 for span in spans)
    few = [PLAIN] * 9 + [sentence] * 2
    little, *_ = told(tiny_tokenizer, tmp_path / "little", seeds, task, few, tokens=6000)
    assert [count for note, count in little.items() if "fills less than half of the context" in note] == [4]


def test_documents_in_another_language_are_told_unless_they_were_asked_for(
    tiny_tokenizer: Any, tmp_path: Path, seeds_in: dict[str, list[Seed]]
) -> None:
    seeds = of(seeds_in["zh"], "LawQA")
    for name in ("any", "asked"):
        (tmp_path / name).mkdir()
    notes, *_ = told(tiny_tokenizer, tmp_path / "any", seeds, "LawQA", [LAW] * 12, language="zh")
    assert notes["LawQA: no document in zh: those in en are used"] == 4
    asked, *_ = told(
        tiny_tokenizer, tmp_path / "asked", seeds, "LawQA", [LAW] * 12, language="zh", context_language="en"
    )
    assert not any("no document in" in note for note in asked)


def test_dialogues_that_end_short_and_those_with_benign_exchanges_are_counted(
    tiny_tokenizer: Any, tmp_path: Path, tiny_seeds: list[Seed]
) -> None:
    seeds = [dataclasses.replace(seed, split="train") for seed in tiny_seeds if not seed.task][:12]
    for name in ("short", "long"):
        (tmp_path / name).mkdir()
    notes, samples, store = told(
        tiny_tokenizer, tmp_path / "long", seeds, "ManyShotJailbreak", [PLAIN] * 4, tokens=6000, count=6
    )
    assert notes[f"ManyShotJailbreak: {NO_EXCHANGES}"] == notes[f"ManyShotJailbreak: {BENIGN_EXCHANGES}"] == 6
    for item in samples:
        if item.kind == "harmful":
            texts = [store.text(*part) for part in item.context if isinstance(part, Span)]
            assert len({*texts}) == len(texts) == 2 * (len(samples_seeds(seeds)) - 1)
            assert item.num_tokens < item.target_tokens and all(text.startswith("User: ") for text in texts)
    plenty, samples, _ = told(
        tiny_tokenizer, tmp_path / "short", seeds, "ManyShotJailbreak", [PLAIN] * 4, tokens=300, count=6
    )
    assert [*plenty] == [f"ManyShotJailbreak: {TEMPLATE_REJECTED}"]
    assert all(name.startswith(EXCHANGE) for item in samples for name in item.documents)


def samples_seeds(seeds: list[Seed]) -> list[Seed]:
    """Those whose requests are not the short arm's."""
    from longsafety.scenarios.splits import seed_parts

    return [seed for seed in seed_parts(seeds, bench_fraction=0.3, seed=0)["train"] if seed.request]


@pytest.mark.slow
def test_notes_are_the_same_for_any_number_of_processes(
    tiny_tokenizer: Any, tmp_path: Path, tiny_seeds: list[Seed]
) -> None:
    found = []
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        notes, *_ = told(
            tiny_tokenizer, tmp_path / str(workers), of(tiny_seeds, "LawQA"), "LawQA", [PLAIN] * 8, count=300,
            tokens=300, workers=workers,
        )  # fmt: skip
        found.append(notes)
    assert found[0] == found[1]
    assert found[0][f"LawQA: {TEMPLATE_REJECTED}"] == 300


# The rejected side of a preference pair


def test_every_training_sample_has_a_rejected_answer_and_no_benchmark_item_one(made: dict[str, list[Sample]]) -> None:
    assert not any(sample.rejected for sample in made["bench"])
    assert {sample.task for sample in made["train"]} == {*TASKS}
    items = {sample.pair_id: sample for sample in made["train"] if sample.kind == "harmful"}
    for sample in made["train"]:
        item = items[sample.pair_id]
        assert sample.rejected.strip() and sample.rejected != sample.answer and "{" not in sample.rejected
        if "benign" in sample.kind:  # the other way round
            assert sample.rejected == item.answer and "rejected: template" not in sample.writers
        else:
            assert sample.rejected == item.rejected and "rejected: template" in sample.writers
            assert sample.rejected != items[sample.pair_id].answer


def test_a_seed_items_own_stub_is_the_rejected_answer(
    tiny_tokenizer: Any, tmp_path: Path, tiny_seeds: list[Seed]
) -> None:
    seeds = [dataclasses.replace(seed, compliant_stub="Sure: ...") for seed in of(tiny_seeds, "LawQA")]
    notes, samples, _ = told(tiny_tokenizer, tmp_path, seeds, "LawQA", [LAW] * 8)
    assert {sample.rejected for sample in samples if sample.kind == "harmful"} == {"Sure: ..."}
    assert not any(TEMPLATE_REJECTED in note for note in notes)
    assert not any("rejected" in writer for sample in samples for writer in sample.writers)
