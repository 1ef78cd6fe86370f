"""From a mix to token batches: a Lightning data module whose order is fixed and that can begin at any step."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from longsafety.scenarios.encode import ChatEncoder
from longsafety.scenarios.recipe import Sample
from longsafety.settings import Training

Batch = dict[str, torch.Tensor]
Entry = tuple[int, float]
"""A sample's index and its weight in the loss of its optimiser step."""


@dataclass(frozen=True)
class Encoded:
    """Token ids ``[T]`` of a whole chat; the last ``num_answer`` of them are supervised."""

    ids: np.ndarray
    num_answer: int
    weight: float


class Chats(Dataset[Encoded]):
    """Samples, encoded when they are asked for by ``(index, weight)``."""

    def __init__(self, samples: Sequence[Sample], encoder: ChatEncoder) -> None:
        self.samples, self.encoder = samples, encoder

    def __getitem__(self, key: Entry) -> Encoded:
        index, weight = key
        ids, num_answer = self.encoder.sample_ids(self.samples[index])
        return Encoded(ids, num_answer, weight)


@dataclass(frozen=True)
class Schedule:
    """Which samples make which optimiser step: all epochs in one list, so that any step can be gone to.

    ``steps[s][r]`` are the micro-batches of rank ``r`` in step ``s``. The weights of a step sum to 1 over all ranks.
    """

    steps: list[list[list[list[Entry]]]]

    @classmethod
    def plan(cls, answer_tokens: Sequence[int], training: Training, *, ranks: int, seed: int) -> Schedule:
        """Shuffles each epoch. The last step may be smaller; samples of weight 0 fill it where ranks must keep pace."""
        order: list[int] = []
        for epoch in range(training.epochs):
            indices = list(range(len(answer_tokens)))
            random.Random(f"{seed}/epoch/{epoch}").shuffle(indices)
            order += indices
        steps = []
        for start in range(0, len(order), training.batch_size):
            members = order[start : start + training.batch_size]
            sizes = [answer_tokens[index] if training.loss_reduction == "token" else 1 for index in members]
            entries = [(index, size / sum(sizes)) for index, size in zip(members, sizes, strict=True)]
            if ranks > 1:
                entries += [(members[0], 0.0)] * (-len(entries) % (training.micro_batch_size * ranks))
            size = training.micro_batch_size
            micro = [entries[first : first + size] for first in range(0, len(entries), size)]
            steps.append([micro[rank::ranks] for rank in range(ranks)])
        return cls(steps)


class _FromStep(Sampler[list[Entry]]):
    """A rank's micro-batches from a step on; its length is the whole schedule's, which Lightning counts."""

    def __init__(self, schedule: Schedule, *, rank: int, start_step: int) -> None:
        self.before = sum(len(step[rank]) for step in schedule.steps[:start_step])
        self.batches = [batch for step in schedule.steps for batch in step[rank]]

    def __iter__(self) -> Iterator[list[Entry]]:
        return iter(self.batches[self.before :])

    def __len__(self) -> int:
        return len(self.batches)


class MixModule(L.LightningDataModule):
    """Batches of left-padded chats.

    A batch holds ``input_ids``, ``attention_mask``, ``labels`` (−100 where nothing is supervised), each ``[B, T]``
    int64, and ``weights [B]``: what each sample's mean loss counts in its optimiser step.
    """

    def __init__(self, chats: Chats, schedule: Schedule, *, pad_id: int, start_step: int = 0) -> None:
        super().__init__()
        self.chats, self.schedule, self.pad_id, self.start_step = chats, schedule, pad_id, start_step

    def train_dataloader(self) -> DataLoader[Any]:
        rank = self.trainer.global_rank if self.trainer else 0
        sampler = _FromStep(self.schedule, rank=rank, start_step=self.start_step)
        return DataLoader(self.chats, batch_sampler=sampler, collate_fn=self.collate)

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        width = max(len(chat.ids) for chat in encoded)
        shape = (len(encoded), width)
        ids = torch.full(shape, self.pad_id, dtype=torch.int64)
        mask = torch.zeros(shape, dtype=torch.int64)
        labels = torch.full(shape, -100, dtype=torch.int64)
        for row, chat in enumerate(encoded):
            tokens = torch.from_numpy(chat.ids)
            ids[row, width - len(tokens) :] = tokens
            mask[row, width - len(tokens) :] = 1
            labels[row, width - chat.num_answer :] = tokens[-chat.num_answer :]
        weights = torch.tensor([chat.weight for chat in encoded])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "weights": weights}
