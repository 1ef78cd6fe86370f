"""Batches begin at any step, are padded on the left or packed, and supervise the answers alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins import DeepSpeedPrecision, HalfPrecision

from longsafety.data.module import Batch, MixModule, _Chats, packed, part
from longsafety.data.schedule import FILLER, Schedule
from longsafety.data.tokens import TokenRows
from longsafety.data.trie import Node
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample, Span
from longsafety.settings import Training

PACKINGS = ("none", "length_sorted", "packed")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    plain: dict[str, Any] = dict.fromkeys(("task", "scenario", "kind", "category", "seed_id", "licence"), "x")
    return [
        Sample(
            id=str(number), pair_id=str(number), **plain, context=(Span(number // 2, 0, 90 + 7 * (number // 2)),),
            question=f"What is {number}?", answer="word " * (number % 4) + f"number {number}.",
            goal="before" if number % 3 else "after",
            history=(("First?", "Yes."), ("Then?", f"No {number}."))[: number % 3],
        )
        for number in range(20)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def rows(samples: list[Sample], tiny_encoder: ChatEncoder, tmp_path_factory: pytest.TempPathFactory) -> TokenRows:
    return TokenRows.write(tmp_path_factory.mktemp("rows"), samples, tiny_encoder)


def module(rows: TokenRows, packing: str, start: int = 0, **changes: Any) -> MixModule:
    training = Training(batch_size=8, micro_batch_size=2, epochs=2, packing=packing, **changes)  # type: ignore[arg-type]
    chats = [rows[number].ids for number in range(len(rows))]
    schedule = Schedule.plan(chats, rows.num_answers.tolist(), training, ranks=1, seed=0, longest=300)
    return MixModule(rows, schedule, training, pad_id=2, start_step=start)


def same(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(
        one[name] == other[name] if name == "nodes" else np.array_equal(one[name], other[name]) for name in one
    )


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("start", [0, 1, 2, 4, 5])
def test_beginning_at_a_step_gives_exactly_the_remaining_batches(rows: TokenRows, packing: str, start: int) -> None:
    whole = module(rows, packing)
    everything, rest = list(whole.train_dataloader()), list(module(rows, packing, start).train_dataloader())
    before = sum(len(step[0]) for step in whole.schedule.steps[:start])
    assert len(whole.schedule.steps) == 5
    assert len(rest) == len(everything) - before
    assert all(same(one, other) for one, other in zip(everything[before:], rest, strict=True))


def test_the_loader_tells_the_length_of_the_whole_schedule(rows: TokenRows) -> None:
    """Lightning, which counts the batches that a checkpoint has behind it, is to come out at the end."""
    assert len(module(rows, "none", start=2).train_dataloader()) == 20


KEYS = [(3, 0.5), (0, 0.25), (19, 0.25)]


def text(sample: Sample, encoder: ChatEncoder) -> str:
    prompt = encoder.prompt_text(*sample.prompt())
    return prompt + sample.answer + "<|im_end|>"


def supervised(batch: Batch, samples: list[Sample], encoder: ChatEncoder) -> None:
    """Each target is an answer's token, and stands one behind the position whose logits predict it."""
    answers = [encoder.answer_ids(samples[index].question, samples[index].answer).tolist() for index, _ in KEYS]
    assert batch["targets"].tolist() == [token for answer in answers for token in answer]
    weights = [weight / len(answer) for (_, weight), answer in zip(KEYS, answers, strict=True) for _ in answer]
    assert batch["weights"].tolist() == pytest.approx(weights)
    assert batch["num_tokens"] == sum(
        len(encoder.tokenizer(text(samples[index], encoder), add_special_tokens=False)["input_ids"])
        for index, _ in KEYS
    )


def test_padded_on_the_left(rows: TokenRows, samples: list[Sample], tiny_encoder: ChatEncoder) -> None:
    batch = module(rows, "none").collate([(rows[index], weight) for index, weight in KEYS])
    width = max(len(rows[index].ids) for index, _ in KEYS)
    assert {batch[name].shape for name in ("input_ids", "attention_mask", "position_ids")} == {(3, width)}
    for number, (index, _) in enumerate(KEYS):
        mask = batch["attention_mask"][number].bool()
        size = int(mask.sum())
        assert mask[width - size :].all()
        assert batch["position_ids"][number, mask].tolist() == list(range(size))
        ids = tiny_encoder.tokenizer(text(samples[index], tiny_encoder), add_special_tokens=False)["input_ids"]
        assert batch["input_ids"][number, mask].tolist() == ids
    supervised(batch, samples, tiny_encoder)
    following = batch["input_ids"].flatten()[batch["positions"] + 1]
    assert torch.equal(following, batch["targets"])


def test_packed_without_sharing_is_chat_after_chat(
    rows: TokenRows, samples: list[Sample], tiny_encoder: ChatEncoder
) -> None:
    batch = module(rows, "packed", share_prefixes=False).collate([(rows[index], weight) for index, weight in KEYS])
    ids = [token for index, _ in KEYS for token in rows[index].ids.tolist()]
    assert batch["input_ids"].tolist() == [ids]
    assert batch["position_ids"][0].tolist() == [place for index, _ in KEYS for place in range(len(rows[index].ids))]
    assert [node.num_tokens for node in batch["nodes"]] == [len(rows[index].ids) for index, _ in KEYS]
    supervised(batch, samples, tiny_encoder)
    assert torch.equal(batch["input_ids"][0, batch["positions"] + 1], batch["targets"])


def test_packed_chats_keep_what_they_share_once(rows: TokenRows) -> None:
    """Twice the same chat is there once."""
    whole = module(rows, "packed").collate([(rows[0], 0.5), (rows[0], 0.5)])
    assert whole["input_ids"].shape[1] == len(rows[0].ids)
    assert whole["targets"].tolist() == 2 * rows[0].ids[-rows[0].num_answer :].tolist(), "supervised twice"
    assert whole["positions"].tolist()[: rows[0].num_answer] == whole["positions"].tolist()[rows[0].num_answer :]


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_the_parts_of_a_pack(rows: TokenRows, parts: int) -> None:
    """Joined they are the pack, filled up by tokens that are nobody's, and each supervises what it holds."""
    whole = module(rows, "packed").collate([(rows[index], weight) for index, weight in KEYS])
    split = [part(whole, number, parts, pad_id=2) for number in range(parts)]
    size, tokens = split[0]["input_ids"].shape[1], whole["input_ids"].shape[1]
    assert {each["input_ids"].shape for each in split} == {(1, size)} == {each["position_ids"].shape for each in split}
    fill = size * parts - tokens
    assert 0 <= fill < parts
    for name, filling in (("input_ids", 2), ("position_ids", 0)):
        joined = torch.cat([each[name] for each in split], dim=1)[0]
        assert torch.equal(joined[:tokens], whole[name][0]) and joined[tokens:].tolist() == [filling] * fill
    for each in split:
        assert each["nodes"] == whole["nodes"] + ([Node(fill)] if fill else [])
        assert len(each["positions"]) == 0 or 0 <= int(each["positions"].min()) <= int(each["positions"].max()) < size
    where = torch.cat([each["positions"] + number * size for number, each in enumerate(split)])
    order = whole["positions"].argsort(stable=True)
    for name in ("targets", "weights"):
        found = torch.cat([torch.as_tensor(each[name]) for each in split])
        assert torch.equal(found[where.argsort(stable=True)], torch.as_tensor(whole[name])[order])
    assert sum(each["num_tokens"] for each in split) == pytest.approx(whole["num_tokens"])


@pytest.mark.parametrize("packing", ["packed", "none"])
def test_what_fills_a_rank_s_micro_batches_is_short_and_counts_nothing(rows: TokenRows, packing: str) -> None:
    made = module(rows, packing)
    member = _Chats(rows)[(FILLER, 0.0)]
    batch = made.collate([member])
    assert batch["input_ids"].shape == (1, 16) and batch["num_tokens"] == 0
    assert batch["weights"].tolist() == [0] and len(batch["targets"]) == 1


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_no_precision_rounds_what_a_token_counts(rows: TokenRows, precision: str) -> None:
    """Lightning casts a batch's float tensors, for ``bf16-true`` and for DeepSpeed."""
    batch = module(rows, "packed").collate([(rows[0], 1 / 3), (rows[1], 2 / 3)])
    plugins = {"bf16-true": HalfPrecision("bf16-true"), "bf16-mixed": DeepSpeedPrecision("bf16-mixed")}
    cast = plugins[precision].convert_input({**batch, "another": torch.ones(1)})
    assert cast["another"].dtype == torch.bfloat16
    assert cast["weights"].dtype == np.float32
    assert cast["weights"].sum() == pytest.approx(1, abs=1e-6)


def test_ranks_that_share_packs_have_those_of_their_group(rows: TokenRows) -> None:
    training = Training(batch_size=8, micro_batch_size=2, epochs=2)
    chats = [rows[number].ids for number in range(len(rows))]
    schedule = Schedule.plan(chats, rows.num_answers.tolist(), training, ranks=2, seed=0, longest=300)
    loaded = []
    for rank in range(4):
        made = MixModule(rows, schedule, training, pad_id=2, sharing=2)
        made.trainer = SimpleNamespace(global_rank=rank)  # type: ignore[assignment]
        loaded.append(list(made.train_dataloader()))
    for group in (0, 1):
        for first, second, entries in zip(
            *loaded[2 * group : 2 * group + 2], [batch for step in schedule.steps for batch in step[group]], strict=True
        ):
            whole = packed([(rows[index], weight) for index, weight in entries], share=True)
            both = torch.cat([first["input_ids"], second["input_ids"]], dim=1)
            assert torch.equal(both[:, : whole["input_ids"].shape[1]], whole["input_ids"])
