"""The 8×8 handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

from typing import Literal

import torch

from cloudchamber._core.config import Config
from cloudchamber.data.dataset import Dataset


class DigitsConfig(Config):
    """1797 grey images of 8×8 pixels in 10 classes, pixels divided by 16 (range 0 … 1, not standardised)."""

    name: Literal["digits"] = "digits"


def load_digits() -> Dataset:
    """Load the digits; inputs (1797, 64) float32.

    Source: UCI "Optical Recognition of Handwritten Digits", test set, as bundled with scikit-learn.
    """
    from sklearn.datasets import load_digits as bundled

    images, labels = bundled(return_X_y=True)
    return Dataset(
        "digits", torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64), 10
    )
