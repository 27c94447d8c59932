"""Passive observation through a monitor: micro-batches, precision, labels, misuse."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as fn
from unchecked import refused

import cloudchamber as cc
from cloudchamber.measures import fused, mean_cosine

X, Y = torch.randn(12, 6, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3


def mlp():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


def passive(model, **options):
    given = {"every": 1, "images_every": 1, "measures": ["light", "mlp2024"], "image_samples": 4, **options}
    return cc.Monitor(model, (X, Y), loss=fn.cross_entropy, passive=True, **given)


def close(a, b):
    assert a.data_vars.keys() == b.data_vars.keys()
    for name in a.data_vars:
        np.testing.assert_allclose(a[name].values, b[name].values, rtol=1e-4, atol=1e-6, err_msg=name)


def whole():
    model = mlp()
    with passive(model) as monitor, monitor.batch(0, Y):
        fn.cross_entropy(model(X), Y).backward()
    return monitor.record


@pytest.mark.parametrize("measures", ["light", ["feature_cosine"], ["gradient_cosine"], "mlp2024"])
def test_without_native_code_the_record_is_the_same(measures, monkeypatch):
    def record():
        model = mlp()
        with passive(model, measures=measures, images_every=10) as monitor:
            for step in range(4):
                with monitor.batch(step, Y):
                    fn.cross_entropy(model(X * (step + 1)), Y).backward()
        return monitor.record

    native = record()
    monkeypatch.setattr(fused, "_functions", dict)
    plain = record()
    close(native, plain)
    assert native.step.values.tolist() == [0, 1, 2, 3]


def test_accumulated_gradients_are_one_batch():
    model = mlp()
    with passive(model) as monitor, monitor.batch(0, [Y[:4], Y[4:8], Y[8:]], scale=1 / 3):
        for part in (slice(0, 4), slice(4, 8), slice(8, 12)):
            (fn.cross_entropy(model(X[part]), Y[part]) / 3).backward()
    close(monitor.record, whole())


def test_one_backward_pass_of_several_forward_passes():
    model = mlp()
    with passive(model) as monitor, monitor.batch(0, Y, scale=0.5):
        loss = fn.cross_entropy(model(X[:6]), Y[:6]) / 2 + fn.cross_entropy(model(X[6:]), Y[6:]) / 2
        loss.backward()
    close(monitor.record, whole())


def test_evaluation_inside_the_region_does_not_count():
    model = mlp()
    with passive(model) as monitor, monitor.batch(0, Y):
        with torch.no_grad():
            model(torch.randn(5, 6))
        fn.cross_entropy(model(X), Y).backward()
    close(monitor.record, whole())


def test_a_scaled_loss():
    model = mlp()
    with passive(model) as monitor, monitor.batch(0, Y, scale=1024.0):
        (1024 * fn.cross_entropy(model(X), Y)).backward()
    close(monitor.record, whole())


def test_without_a_backward_pass_nothing_is_recorded(caplog):
    model = mlp()
    with passive(model) as monitor:
        with monitor.batch(0, Y):
            model(X)
        with monitor.batch(1, Y):
            fn.cross_entropy(model(X), Y).backward()
    assert monitor.record.step.values.tolist() == [1]
    assert "Step 0 was not observed: no backward pass" in caplog.text


def test_an_exception_leaves_no_hook_and_no_step():
    model = mlp()
    with passive(model) as monitor:
        region = monitor.batch(0, Y)
        with pytest.raises(ZeroDivisionError), region:
            fn.cross_entropy(model(X), Y) / 0.0 * (1 // 0)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        with monitor.batch(1, Y):
            fn.cross_entropy(model(X), Y).backward()
    assert monitor.record.step.values.tolist() == [1]


def test_only_scheduled_steps_are_seen_and_many_steps_wait_for_one_finish():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with passive(model, every=3, measures=["feature_cosine", "gradient_cosine"]) as monitor:
        for step in range(400):
            with monitor.batch(step, Y) as seen:
                loss = fn.cross_entropy(model(X), Y)
                optimizer.zero_grad()
                loss.backward()
                if seen is not None:
                    seen.train_loss = loss.detach()
            optimizer.step()
    record = monitor.record
    assert record.step.values.tolist() == list(range(0, 400, 3))
    assert record.train_loss.values[-1] < record.train_loss.values[0]
    assert np.isfinite(record.gradient_cosine.values).all()


def test_half_precision_under_autocast():
    model = mlp()
    with passive(model) as monitor, monitor.batch(0, Y):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = fn.cross_entropy(model(X), Y)
        loss.backward()
    np.testing.assert_allclose(monitor.record.feature_cosine, whole().feature_cosine, atol=0.02)
    np.testing.assert_allclose(monitor.record.gradient_cosine, whole().gradient_cosine, atol=0.05)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_misuse_says_what_to_do():
    model = mlp()
    with refused("takes a measure that a training batch's own pass shows"):
        passive(model, measures="theorem1")
    monitor = passive(model)
    with pytest.raises(cc.InvalidInput, match="inside its `with` block"):
        monitor.batch(0, Y)
    with monitor:
        with pytest.raises(cc.InvalidInput, match=r"use `with monitor\.batch"):
            monitor.observe(1)
        with refused("`labels` is a tensor"):
            monitor.batch(0, Y.float())
        with pytest.raises(cc.InvalidInput, match="class of every sample"), monitor.batch(1, Y[:5]):
            fn.cross_entropy(model(X), Y).backward()
        with pytest.raises(cc.InvalidInput, match="`step` is a whole number of at least 2"):
            monitor.batch(1, Y)
    with (
        cc.Monitor(model, (X, Y), loss=fn.cross_entropy) as other,
        pytest.raises(cc.InvalidInput, match="passive=True"),
    ):
        other.batch(0, Y)
    with passive(torch.compile(model)) as compiled, compiled.batch(0, Y):
        fn.cross_entropy(model(X), Y).backward()  # the model itself still calls hooks
    assert len(compiled.record.step) == 1


def test_positions_of_sequences():
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Flatten(), nn.Linear(40, 3))
    x = torch.randn(12, 5, 6, generator=torch.Generator().manual_seed(3))
    options = {"loss": fn.cross_entropy, "measures": ["feature_cosine", "gradient_cosine"], "positions": "last"}
    with cc.Monitor(model, (x, Y), **options) as probe:
        pass
    with cc.Monitor(model, (x, Y), every=1, passive=True, **options) as monitor, monitor.batch(0, Y):
        fn.cross_entropy(model(x), Y).backward()
    last = torch.tanh(model[0](x[:, -1])).detach()
    assert float(monitor.record.feature_cosine[0, 0]) == pytest.approx(float(mean_cosine(last)), abs=1e-6)
    for name in ("feature_cosine", "gradient_cosine"):
        np.testing.assert_allclose(monitor.record[name].values, probe.record[name].values, atol=1e-6)
    with refused("a mask for the samples of the probe"):
        cc.Monitor(model, (x, Y), passive=True, **{**options, "positions": torch.ones(12, 5, dtype=torch.bool)})


def test_features_that_are_overwritten_later_are_taken_in_time():
    model = nn.Sequential(nn.Linear(6, 8), nn.SiLU(), nn.Dropout(0.5, inplace=True), nn.Linear(8, 3))
    with passive(model, measures=["feature_cosine"]) as monitor:
        for step in range(4):
            with monitor.batch(step, Y):
                fn.cross_entropy(model(X), Y).backward()
    seen = monitor.record.feature_cosine.values[:, 0]
    expected = float(mean_cosine(fn.silu(model[0](X)).detach()))
    np.testing.assert_allclose(seen[np.isfinite(seen)], expected, atol=1e-6)
    assert np.isfinite(seen[2:]).all()  # a step may be lost until it is known what is overwritten
