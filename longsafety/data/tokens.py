"""Encoded chats on disk: written once, read as views of a memory map."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from longsafety.errors import DataError
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.recipe import Sample

_TOKENS, _BOUNDS, _ANSWERS = "tokens.bin", "bounds.npy", "answers.npy"


class TokenRow(NamedTuple):
    """Token ids ``[T]`` (int32) of a whole chat; the last ``num_answer`` of them are supervised."""

    ids: np.ndarray
    num_answer: int


class TokenRows:
    """The rows in a folder that :meth:`write` has filled."""

    def __init__(self, folder: Path) -> None:
        try:
            self._bounds = np.load(folder / _BOUNDS)
            self.num_answers = np.load(folder / _ANSWERS)
        except OSError:
            raise DataError(f"{folder}: no complete token rows; delete the folder, and it is built again") from None
        size = int(self._bounds[-1])
        empty = np.zeros(0, dtype=np.int32)
        self._tokens = np.memmap(folder / _TOKENS, dtype=np.int32, mode="c").view(np.ndarray) if size else empty
        if len(self._tokens) != size:
            raise DataError(f"{folder}: {len(self._tokens)} tokens, {size} are listed; delete the folder")

    @staticmethod
    def complete(folder: Path) -> bool:
        return (folder / _BOUNDS).is_file()

    @classmethod
    def write(cls, folder: Path, samples: Iterable[Sample], encoder: ChatEncoder) -> TokenRows:
        """Encodes the samples in order; the bounds are written last, and without them the folder is not complete."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _BOUNDS).unlink(missing_ok=True)
        bounds, answers = [0], []
        with (folder / _TOKENS).open("wb") as file:
            for sample in samples:
                ids, num_answer = encoder.sample_ids(sample)
                file.write(ids.astype(np.int32).data)
                bounds.append(bounds[-1] + len(ids))
                answers.append(num_answer)
        np.save(folder / _ANSWERS, np.array(answers, dtype=np.int32))
        np.save(folder / _BOUNDS, np.array(bounds, dtype=np.int64))
        return cls(folder)

    def __len__(self) -> int:
        return len(self.num_answers)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64."""
        return np.diff(self._bounds)

    def __getitem__(self, row: int) -> TokenRow:
        """A view; writes to it do not reach the file."""
        return TokenRow(self._tokens[self._bounds[row] : self._bounds[row + 1]], int(self.num_answers[row]))
