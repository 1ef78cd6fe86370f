"""Depths in equal parts of the context, cut alike wherever they are counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDING = 9
"""Decimals that count: a depth of three tenths is computed in several ways."""


def depth_bins(depths: ArrayLike, bins: int) -> NDArray[np.int64]:
    """The part, from 0, of ``bins`` equal ones that each depth (0 to 1) lies in. A part holds its upper edge, not its
    lower one; the first holds both. nan gives 0."""
    scaled = np.round(np.asarray(depths, dtype=float) * bins, _ROUNDING)
    parts: NDArray[np.int64] = np.clip(np.ceil(np.nan_to_num(scaled)).astype(np.int64) - 1, 0, bins - 1)
    return parts
