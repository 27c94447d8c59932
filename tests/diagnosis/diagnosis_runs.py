"""Curves of real runs, thinned, for tests that need no training.

All are ReLU networks with zero biases after Xavier normal initialization, plain SGD, batch 100, probe of 20 samples
a class; features and gradients of the hidden layers 1, 5 and 8 of 9 (both, of 3), as integers of 1e-4 (the loss: 1e-5).

- digits0, 1, 2: scikit-learn digits, 9 layers of 512, lr 0.01, seeds 0, 1, 2: the settings of the default
  recipe in a plain torch loop, with weights and batches of its own.
- slow_rate: the same with lr 0.001. three_layers: the same with 3 layers.
- stuck: variance scale 0.3, lr 0.1, 1000 steps. escapes: the same for 2000 steps: it leaves by itself.
- rate1: variance scale 0.3, lr 1.
- cifar: 20 000 images of CIFAR-10, 9 layers of 512, PyTorch's default initialization, lr 0.1.
"""

from pathlib import Path

import numpy as np
from made_up import made_up_record

_RUNS = np.load(Path(__file__).parent / "diagnosis_runs.npz")
DIGITS = ("digits0", "digits1", "digits2")


def real_record(name, until=None, **more):
    """The record of a run, up to and including step `until`."""
    step = _RUNS[f"{name}_step"]
    keep = step <= (step[-1] if until is None else until)
    features, gradients = (_RUNS[f"{name}_{kind}"][keep] / 1e4 for kind in ("features", "gradients"))
    numbers = (1, 5, 8) if features.shape[1] == 3 else (1, 2)
    if f"{name}_classes" in _RUNS:
        more["class_accuracy"] = _RUNS[f"{name}_classes"][keep] / 100
    output = np.full((keep.sum(), 1), 0.1)
    return made_up_record(
        step[keep],
        _RUNS[f"{name}_loss"][keep] / 1e5,
        feature_cosine=np.hstack([features, output]),
        gradient_cosine=np.hstack([gradients, output]),
        layers=tuple(f"linear{number}" for number in (*numbers, numbers[-1] + 1)),
        **more,
    )
