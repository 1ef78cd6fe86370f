"""From token rows to batches: a Lightning data module with a fixed order that can start at any step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, Sampler

from longsafety.data.schedule import FILLER, Entry, Schedule
from longsafety.data.tokens import TokenRow, TokenRows
from longsafety.data.trie import Node, Trie
from longsafety.settings import Training

Batch = dict[str, Any]
"""``input_ids``, ``position_ids`` ``[B, T]``; padded batches an ``attention_mask [B, T]``, packed ones (B = 1) the
``nodes`` of their trie. ``positions [N]``: where, in B·T, the logits of a supervised token stand; ``targets [N]``: that
token; ``weights [N]`` (float32, NumPy): its weight in the optimiser step. ``rows`` (NumPy): the distinct positions,
ascending. ``num_tokens``: tokens of all chats, shared
ones counted in each."""

Member = tuple[TokenRow, float]
_FILLER_TOKENS = 16
"""Enough that each of eight devices that share a pack has some."""


class _Chats(Dataset[Member]):
    """Token rows by ``(index, weight)``; a filler is the beginning of the first."""

    def __init__(self, rows: TokenRows) -> None:
        self.rows = rows

    def __getitem__(self, key: Entry) -> Member:
        index, weight = key
        if index == FILLER:
            return TokenRow(self.rows[0].ids[:_FILLER_TOKENS], 1), weight
        return self.rows[index], weight


class _FromStep(Sampler[list[Entry]]):
    """A rank's micro-batches from a step on; its length is that of the whole schedule, as Lightning expects."""

    def __init__(self, schedule: Schedule, *, rank: int, start_step: int) -> None:
        self.before = sum(len(step[rank]) for step in schedule.steps[:start_step])
        self.batches = [batch for step in schedule.steps for batch in step[rank]]

    def __iter__(self) -> Iterator[list[Entry]]:
        return iter(self.batches[self.before :])

    def __len__(self) -> int:
        return len(self.batches)


class MixModule(L.LightningDataModule):
    """Batches of chats, padded or packed by ``training.packing``; ``sharing`` neighbouring ranks each get a part of the
    same packs."""

    def __init__(
        self,
        rows: TokenRows,
        schedule: Schedule,
        training: Training,
        *,
        pad_id: int,
        start_step: int = 0,
        sharing: int = 1,
    ) -> None:
        super().__init__()
        self.rows, self.schedule, self.training = rows, schedule, training
        self.pad_id, self.start_step, self.sharing = pad_id, start_step, sharing

    @property
    def rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def train_dataloader(self) -> DataLoader[Any]:
        sampler = _FromStep(self.schedule, rank=self.rank // self.sharing, start_step=self.start_step)
        return DataLoader(_Chats(self.rows), batch_sampler=sampler, collate_fn=self.collate)

    def collate(self, members: Sequence[Member]) -> Batch:
        if self.training.packing != "packed":
            return padded(members, self.pad_id)
        whole = packed(members, share=self.training.share_prefixes)
        if self.sharing == 1:
            return whole
        return part(whole, self.rank % self.sharing, self.sharing, self.pad_id)


def packed(members: Sequence[Member], *, share: bool) -> Batch:
    """One row of all chats' tokens; with ``share``, shared prefixes appear once.

    A token that several chats share keeps the supervision of each.
    """
    trie = Trie.of([chat.ids for chat, _ in members], share=share)
    places = [trie.places(number) for number in range(len(members))]
    return {
        "input_ids": torch.from_numpy(trie.ids.astype(np.int64))[None],
        "position_ids": torch.from_numpy(trie.positions)[None],
        "nodes": trie.nodes,
        **_supervision(members, places),
    }


def part(batch: Batch, number: int, parts: int, pad_id: int) -> Batch:
    """The ``number``-th of equal parts of a packed batch, with its supervision.

    ``nodes`` describe all tokens; the padding of the last part is a node of its own, which no token sees.
    """
    size = -(-batch["input_ids"].shape[1] // parts)
    fill = size * parts - batch["input_ids"].shape[1]
    start, stop = number * size, (number + 1) * size
    mine = (batch["positions"] >= start) & (batch["positions"] < stop)
    return {
        "input_ids": pad(batch["input_ids"], (0, fill), value=pad_id)[:, start:stop],
        "position_ids": pad(batch["position_ids"], (0, fill))[:, start:stop],
        "nodes": [*batch["nodes"], Node(fill)] if fill else batch["nodes"],
        "positions": batch["positions"][mine] - start,
        "rows": np.unique(batch["positions"][mine].numpy() - start),
        "targets": batch["targets"][mine],
        "weights": batch["weights"][mine.numpy()],
        "num_tokens": batch["num_tokens"] / parts,
    }


def padded(members: Sequence[Member], pad_id: int) -> Batch:
    """One row per chat, padded on the left."""
    width = max(len(chat.ids) for chat, _ in members)
    ids = torch.full((len(members), width), pad_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, (chat, _) in enumerate(members):
        ids[row, width - len(chat.ids) :] = torch.from_numpy(chat.ids.astype(np.int64))
        mask[row, width - len(chat.ids) :] = 1
    places = [np.arange((row + 1) * width - len(chat.ids), (row + 1) * width) for row, (chat, _) in enumerate(members)]
    return {
        "input_ids": ids,
        "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
        "attention_mask": mask,
        **_supervision(members, places),
    }


def _supervision(members: Sequence[Member], places: Sequence[np.ndarray]) -> Batch:
    before = np.concatenate([at[-chat.num_answer - 1 : -1] for (chat, _), at in zip(members, places, strict=True)])
    targets = np.concatenate([chat.ids[-chat.num_answer :] for chat, _ in members])
    weights = np.concatenate([np.full(chat.num_answer, weight / chat.num_answer) for chat, weight in members])
    return {
        "positions": torch.from_numpy(before),
        "rows": np.unique(before),  # known on the host, so that no pass waits for the device to tell them
        "targets": torch.from_numpy(targets.astype(np.int64)),
        "weights": weights.astype(np.float32),  # not a tensor, which Lightning would round to the training's bfloat16
        "num_tokens": sum(len(chat.ids) for chat, weight in members if weight),
    }
