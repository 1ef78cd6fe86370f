"""At which depths of their contexts needles stand."""

from __future__ import annotations

import numpy as np


def depth_grid(depths: list[float] | str, num_depths: int) -> list[float]:
    """The depths that items are assigned round-robin: given, or a grid of ``num_depths``.

    ``sigmoid`` is the needle-in-a-haystack test's: the logistic function of evenly spaced places, steepness 10.
    """
    if not isinstance(depths, str):
        return depths
    places = np.linspace(0.1, 0.9, num_depths) if num_depths > 1 else np.array([0.5])
    if depths == "sigmoid":
        places = 1 / (1 + np.exp(-10 * (places - 0.5)))
    return [float(place) for place in np.round(places, 4)]
