"""Every drawing test: no window, nothing global changed, every figure closed."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up import made_up_record


@pytest.fixture(autouse=True)
def _nothing_global_changes():
    before = dict(mpl.rcParams)
    yield
    changed = {name for name, value in before.items() if mpl.rcParams[name] != value}
    plt.close("all")
    assert not changed


@pytest.fixture
def axes():
    figure, ax = plt.subplots()
    yield ax
    figure.canvas.draw()
    plt.close(figure)


@pytest.fixture(scope="session")
def record():
    """A run with a plateau until step 200, features that rise to step 200 and fall, images at three steps."""
    steps = np.arange(0, 401, 10)
    loss = np.log(10.0) / (1 + np.exp((steps - 250) / 15.0))
    depth = np.array([0.3, 0.4, 0.5, 0.6])
    features = depth + 0.35 * np.exp(-(((steps - 220) / 90.0) ** 2))[:, None]
    accuracy = np.clip(np.outer(steps / 400, np.linspace(0.5, 1.0, 10)), 0, 1)
    width = np.where(np.isin(steps, (0, 200, 400))[:, None], 32 - steps[:, None] / 20 * depth, np.nan)
    return made_up_record(
        steps,
        loss,
        feature_cosine=features,
        gradient_cosine=features - 0.2,
        class_accuracy=accuracy,
        effective_width=width,
        train_loss=loss + 0.01,
        image_steps=(0, 200, 400),
    )
