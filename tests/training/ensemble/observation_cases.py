"""Ensembles beside a monitor of each member alone, and the comparison of their records."""

import itertools

import numpy as np
import torch
from torch import nn

from cloudchamber import Monitor
from cloudchamber._core.members import one_member
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.observation import EnsembleObserver
from cloudchamber.training.ensemble.watch import Watch


def mlp(seed=0, sizes=(5, 12, 8, 3), activation=nn.Tanh, dtype=torch.float64):
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b, dtype=dtype) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*(part for layer in layers[:-1] for part in (layer, activation())), layers[-1])


def data(n=20, inputs=5, classes=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, inputs, generator=random, dtype=torch.float64), torch.arange(n) % classes


def scattered(make, members, seed=1):
    """Models that differ in all their numbers, buffers included."""
    random = torch.Generator().manual_seed(seed)
    models = [make() for _ in range(members)]
    for model in models:
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                noise = 0.3 * torch.randn(tensor.shape, generator=random, dtype=tensor.dtype)
                tensor.data += noise.abs()
    return models


def step(models, seed):
    """Move all weights."""
    random = torch.Generator().manual_seed(seed)
    for model in models:
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
                parameter.data += 0.05 * noise


def fixed(models, layout):
    """Buffers and frozen parameters, stacked."""
    held = [dict(model.named_parameters()) | dict(model.named_buffers()) for model in models]
    return {name: torch.stack([each[name].detach() for each in held]) for name in held[0] if name not in layout.names}


class Twins:
    """An ensemble that is observed together, and a monitor of each member.

    Models move by themselves: what is compared is observing, not training.
    """

    def __init__(self, models, probe, loss, *, own=False, monitor=None, observer=None, **watch):
        self.models, self.layout = models, Layout.of(models[0])
        given = {"every": 1, "images_every": 2, **watch}
        probes = [tuple(part[k] for part in probe) for k in range(len(models))] if own else [probe] * len(models)
        self.observer = EnsembleObserver(
            models[0],
            self.layout,
            Watch(probe=probe, probe_per_member=own, **given),
            loss,
            len(models),
            **(observer or {}),
        )
        self.monitors = [
            Monitor(model, of_model, loss=loss, **given, **(monitor or {}))
            for model, of_model in zip(models, probes, strict=True)
        ]
        for one in self.monitors:
            one.__enter__()
        self.observe(0)

    def observe(self, number, members=None, **options):
        members = range(len(self.models)) if members is None else members
        some = [self.models[k] for k in members]
        return self.observer.observe(number, self.layout.flat(some), fixed(some, self.layout), members, **options)

    def step(self, number, members=None, **options):
        """Move and observe in both ways."""
        step(self.models, number)
        for k in range(len(self.models)) if members is None else members:
            self.monitors[k].observe(number, **options)
        return self.observe(number, members, **options)

    def assert_same(self, tolerance=1e-10):
        record = self.observer.record
        for k, monitor in enumerate(self.monitors):
            assert_same_record(one_member(record, k), monitor.record, tolerance)
        return record


def assert_same_record(one, other, tolerance=1e-10):
    """Equal names, dimensions, types, attributes and coordinates; numbers to `tolerance` of the largest."""
    assert set(one.variables) == set(other.variables)
    assert one.attrs == other.attrs
    for name in other.variables:
        assert (one[name].dims, one[name].dtype, one[name].attrs) == (
            other[name].dims,
            other[name].dtype,
            other[name].attrs,
        )
        if one[name].dtype.kind == "f":
            largest = np.abs(other[name].values[np.isfinite(other[name].values)]).max(initial=1e-300)
            single = 1e-6 if one[name].dtype == np.float32 else 0.0
            np.testing.assert_allclose(
                one[name].values, other[name].values, rtol=0, atol=max(tolerance, single) * largest, err_msg=str(name)
            )
        else:
            np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=str(name))
