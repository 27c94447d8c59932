"""Wrappers are seen through: the record is that of the model inside."""

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import cloudchamber as cc

X, Y = torch.randn(12, 6, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


class Nested(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def record_of(model):
    with cc.Monitor(model, probe=(X, Y), loss=fn.cross_entropy, every=1, image_samples=6) as monitor:
        monitor.observe(1)
    return monitor.record


def assert_same_values(first, second):
    assert first.activation.values.tolist() == second.activation.values.tolist()
    for name in first.data_vars:
        assert first[name].equals(second[name].assign_coords(first[name].coords)), name


class OptimizedModule(nn.Module):
    """What torch.compile returns, without compiling."""

    def __init__(self, inner):
        super().__init__()
        self._orig_mod = inner

    def forward(self, x):
        raise AssertionError("the compiled function does not call hooks")


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        OptimizedModule,
        lambda m: OptimizedModule(nn.DataParallel(m)),
        lambda m: nn.DataParallel(OptimizedModule(m)),
    ],
)
def test_wrappers_are_seen_through(wrap):
    assert record_of(wrap(mlp())).identical(record_of(mlp()))


def compiled_before(model):
    compiled = torch.compile(model, backend="eager")
    compiled(X)
    return compiled


def compiled_in_place(model):
    model = Nested(model)
    model.compile(backend="eager")
    model(X)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [compiled_before, compiled_in_place, lambda m: Nested(compiled_before(m))])
def test_compiled_models_are_observed_uncompiled(build):
    model = build(mlp())
    record = record_of(model)
    assert_same_values(record_of(mlp()), record)
    assert set(record.coverage.values) == {"measured"}
    torch.testing.assert_close(model(X), mlp()(X))


@pytest.mark.filterwarnings("ignore")
def test_observing_compiles_nothing():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    model = Nested(torch.compile(mlp(), backend=backend))
    before = model(X)
    compiled = len(graphs)
    record_of(model)
    assert torch.equal(model(X), before)
    assert len(graphs) == compiled > 0


class FullyShardedDataParallel(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.module = inner


def test_sharded_models_are_refused():
    with pytest.raises(cc.Unsupported, match="spread over processes"):
        cc.Monitor(FullyShardedDataParallel(mlp()), probe=(X, Y), loss=fn.cross_entropy)


def test_the_probe_follows_the_model_to_its_device_when_entering():
    model = mlp()
    monitor = cc.Monitor(model, probe=(X, Y), loss=fn.cross_entropy)
    with monitor:
        assert monitor._observer.target.probe.inputs.device == next(model.parameters()).device
