"""Made-up records with known answers, for tests that need a record but no training."""

import math

import numpy as np

import cloudchamber.measures  # noqa: F401  (registers the quantities)
from cloudchamber._core.record import Observation, RecordBuffer
from cloudchamber._core.registry import quantities
from cloudchamber._core.schema import CoverageRow, Frame, LayerInfo

LOG_10 = math.log(10.0)


def made_up_record(
    steps,
    probe_loss,
    *,
    feature_cosine=None,
    gradient_cosine=None,
    class_accuracy=None,
    effective_width=None,
    width=32,
    constant_loss=LOG_10,
    layers=("linear1", "linear2", "linear3", "linear4"),
    activations=None,
    image_steps=(),
    classes=10,
    skipped=(("norm", "BatchNorm1d", "skipped, because it is a normalization: it has no neurons of its own"),),
    **more,
):
    """Build a record from curves: (step,) or (step, layer) arrays; None = not measured."""
    steps = np.asarray(steps)
    activations = activations or ["relu"] * (len(layers) - 1) + ["none"]
    infos = [LayerInfo(name, "Linear", width, 64, act) for name, act in zip(layers, activations, strict=True)]
    rows = [CoverageRow(name, "Linear", "measured") for name in layers] + [CoverageRow(*row) for row in skipped]
    samples = 2 * classes
    frame = Frame(
        layers=tuple(infos),
        coverage=tuple(rows),
        classes=classes,
        quantities=quantities(),
        sample_classes=tuple(np.repeat(np.arange(classes), 2).tolist()),
        neuron_ids=tuple(tuple(range(min(width, 16))) for _ in layers),
        constants={
            "constant_predictor_loss": float(constant_loss),
            "effective_width_null": [float(width)] * len(layers),
        },
        recipe=more.pop("recipe", "# a made-up record\n"),
        environment={"cloudchamber": "test", "threads": 1},
    )
    curves = {
        "probe_loss": probe_loss,
        "feature_cosine": _per_layer(feature_cosine, steps, layers),
        "gradient_cosine": _per_layer(gradient_cosine, steps, layers),
        "effective_width": _per_layer(effective_width, steps, layers),
        "class_accuracy": class_accuracy,
        **more,
    }
    buffer = RecordBuffer(frame)
    random = np.random.default_rng(0)
    for index, step in enumerate(steps):
        values = {name: _measured(curve[index]) for name, curve in curves.items() if curve is not None}
        if step in image_steps:
            values["sample_cosine"] = _cosines(random, len(layers), samples, frame.sample_classes)
            values["neuron_cosine"] = _cosines(random, len(layers), min(width, 16), np.arange(min(width, 16)) % 3)
        buffer.append(Observation(int(step), values))
    return buffer.dataset()


def _per_layer(curve, steps, layers):
    if curve is None:
        return None
    curve = np.asarray(curve, dtype=float)
    return curve if curve.ndim == 2 else np.repeat(curve[:, None], len(layers), axis=1)


def _measured(value):
    return np.ma.MaskedArray(np.asarray(value, dtype=float), mask=False)


def _cosines(random, layers, n, groups):
    groups = np.asarray(groups)
    block = np.where(groups[:, None] == groups[None, :], 0.9, 0.2)
    noise = random.normal(0, 0.05, (layers, n, n))
    matrix = np.clip(block + (noise + noise.transpose(0, 2, 1)) / 2, -1, 1)
    matrix[:, range(n), range(n)] = 1.0
    return np.ma.MaskedArray(matrix.astype(np.float32), mask=False)
