"""A question: a prompt and its continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Question(NamedTuple):
    """A prompt ``[T]`` (int64) and continuations of it, each of one token or more."""

    prompt: np.ndarray
    continuations: Sequence[np.ndarray]
