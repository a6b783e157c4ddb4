"""Scores of a quantized network against counting by hand, and the table that medians of seeds make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from intsim.backends import load_backend
from intsim.benchmark.scores import print_table, score
from intsim.errors import InputError
from intsim.frontend.capture import capture
from intsim.verbs import quantize


def test_a_network_is_scored_image_by_image() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    images = torch.randn(150, 1, 8, 8)
    with torch.no_grad():
        labels = network(images).argmax(1)
    labels[:30] = (labels[:30] + 1) % 3  # wrong
    model = quantize(network, (images, labels), weight_bits=8, act_bits=8)
    scored = score(model, capture(network, images[:2]), images.numpy(), labels.numpy())
    (output,) = model.graph.outputs
    logits = load_backend("reference", model.graph).run(images.numpy(), wanted=(output,))[output].reals
    right = logits.argmax(1) == labels.numpy()
    assert scored["top1"] == right.mean() <= 0.8
    assert scored["right"] == np.packbits(right).tobytes().hex()
    assert scored["float_right"] == np.packbits(np.arange(150) >= 30).tobytes().hex()
    assert (scored["images"], scored["verified_images"], scored["mismatches"], scored["proved"]) == (150, 100, 0, True)
    assert set(scored["sqnr_db"]) == {"0", "3"}
    json.dumps(scored)
    with pytest.raises(InputError, match=r"labels: 3 at \[7\], expected 0..2: the network has 3 outputs"):
        score(model, capture(network, images[:2]), images.numpy(), np.where(np.arange(150) == 7, 3, labels.numpy()))


def run_of(right: int, **changed: Any) -> dict[str, Any]:
    """A run that gets the first `right` of 40 images right, as floating point gets 36."""
    bits = {"right": right, "float_right": 36}
    packed = {key: np.packbits(np.arange(40) < count).tobytes().hex() for key, count in bits.items()}
    run = {"top1": right / 40, "images": 40, "seconds": 2.0, "resumed": False, "peak_bytes": 2**30}
    return {**run, **packed, "mismatches": 0, "verified_images": 10, "proved": True, **changed}


def test_the_table_has_the_median_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = [run_of(30), run_of(34, resumed=True, seconds=5.0), run_of(32, mismatches=1, proved=False)]
    peers = [run_of(20), run_of(20), run_of(28)]
    for name, runs in (("ours", ours), ("peer", peers)):
        for seed, run in enumerate(runs):
            (tmp_path / f"{name}.{seed}.json").write_text(json.dumps(run))
    print_table([("ours", "peer"), ("peer", ""), ("other", "peer")], (0, 1, 2), tmp_path)
    _, row, peer, other = capsys.readouterr().out.splitlines()
    # 32 of 40; 4 images more than the peer with the same seed, 4 fewer than float: 2 / 2**4 each.
    assert row.split() == ["ours", "3", "80.00", "0.12", "0.12", "5+", "1.0", "1", "30", "NO"]
    assert peer.split()[:3] == ["peer", "3", "50.00"]
    assert other == "other not run"
