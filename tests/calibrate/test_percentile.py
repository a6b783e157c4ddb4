"""The percentile method: what its grids reach and clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from intsim.calibrate import Settings, quantize_graph
from intsim.calibrate.observers import Observation
from intsim.calibrate.percentile import activation_grid
from intsim.dtypes import IntType
from intsim.errors import CalibrationError
from tests.calibrate.networks import residual_network

U8 = IntType(False, 8)


def observed(*outliers: float) -> Observation:
    values = np.concatenate([np.linspace(0, 1, 10_001), outliers]).astype(np.float32)
    return Observation(float(values.min()), float(values.max()), values)


@pytest.mark.parametrize(("share", "reach"), [(100.0, 1.0), (99.0, 0.995), (90.0, 0.95)])
def test_half_of_what_is_clipped_is_at_the_upper_end(share: float, reach: float) -> None:
    grid = activation_grid(share, observed(), U8, power_of_two=False)
    assert grid.scale.array[0] * 255 == pytest.approx(reach, rel=1e-3)


def test_one_outlier_changes_nothing() -> None:
    grids = [activation_grid(99.9, observed(*outliers), U8, power_of_two=False) for outliers in ((), (1e4,))]
    assert grids[0].scale.array[0] == pytest.approx(grids[1].scale.array[0], rel=1e-3)


def test_all_of_it_is_minmax() -> None:
    images = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    full = quantize_graph(residual_network(), images, Settings(method="percentile", options={"act": "100"}))
    minmax = quantize_graph(residual_network(), images, Settings(method="minmax"))
    for name, quantizer in minmax.quantizers.items():
        assert full.quantizers[name].grid.zero_point == quantizer.grid.zero_point
        assert full.quantizers[name].grid.scale.array == pytest.approx(quantizer.grid.scale.array)
    assert all((full.weights[n].weight.codes == w.weight.codes).all() for n, w in minmax.weights.items())


def test_less_than_half_is_refused() -> None:
    settings = Settings(method="percentile", options={"act": "20"})
    with pytest.raises(CalibrationError, match="act: expected a percentage from 50 to 100, got 20.0"):
        quantize_graph(residual_network(), torch.randn(2, 3, 4, 4), settings)
