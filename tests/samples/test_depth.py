from __future__ import annotations

import numpy as np

from longsafety.samples.depth import depth_bins


def test_depths_are_cut_evenly_however_they_were_computed() -> None:
    middles = np.arange(5, 100, 10) / 100
    assert depth_bins(middles, 10).tolist() == list(range(10)) and depth_bins(middles, 5).tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
    ]
    edges = [tenth * 0.1 for tenth in range(1, 11)]  # .1 * 3 is above .3
    assert depth_bins(edges, 10).tolist() == list(range(10)) == depth_bins([n / 10 for n in range(1, 11)], 10).tolist()
    assert depth_bins([0.0, 1e-12, 1.0, float("nan")], 10).tolist() == [0, 0, 9, 0]
