"""The data that ships: what scikit-learn has, split without overlap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from intsim.demo.digits import calibration, digits, evaluation

pytestmark = pytest.mark.torchless


def test_the_splits_are_the_digits_of_scikit_learn_each_once():
    images, labels = load_digits(return_X_y=True)
    parts = [digits("train"), digits("test")]
    ours = np.concatenate([part[0].reshape(-1, 64) * 16 for part in parts])
    our_labels = np.concatenate([part[1] for part in parts])
    order, expected = np.lexsort(np.c_[ours, our_labels].T), np.lexsort(np.c_[images, labels].T)
    assert np.array_equal(ours[order], images[expected])
    assert np.array_equal(our_labels[order], labels[expected])


def test_calibration_sees_no_test_image():
    seen, test = ({image.tobytes() for image in images} for images, _ in (calibration(), evaluation()))
    assert len(seen) == 256
    assert len(test) == 500
    assert not seen & test
    assert calibration()[0].dtype == np.float32
