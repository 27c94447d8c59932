"""Models that people train, observed in both ways: a full coverage table, training bit for bit as without a monitor."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from models_zoo import ZOO
from torch import nn

import cloudchamber as cc

STEPS = 4
FULL = ["all"]


def monitored(model, case, probe, how):
    options = {"loss": case.loss, "image_samples": 4, "measures": FULL, "images_every": 2}
    if how == "passive":
        return cc.Monitor(model, probe, every=1, passive=True, **options)
    return cc.Monitor(model, probe, every=1, mode=how, **options)


def train(case, how):
    """Train a few steps; return what training left behind, and the monitor."""
    model, probe = case.make(), case.batch(seed=9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    torch.manual_seed(3)
    with monitored(model, case, probe, how) if how else nullcontext() as monitor:
        for step in range(STEPS):
            x, y = case.batch(seed=step)
            classes = y if case.loss is nn.functional.cross_entropy else None
            with monitor.batch(step, classes) if how == "passive" else nullcontext():
                loss = case.loss(model(x), y)
                optimizer.zero_grad()
                loss.backward()
            optimizer.step()
            if how in ("eval", "train"):
                monitor.observe(step + 1)
    left = [*model.state_dict().values(), *(p.grad for p in model.parameters()), torch.get_rng_state()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return left, monitor


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("how", ["eval", "train", "passive"])
def test_training_is_bit_identical_and_every_layer_is_measured(name, how):
    case = ZOO[name]
    quiet, _ = train(case, None)
    seen, monitor = train(case, how)
    for before, after in zip(quiet, seen, strict=True):
        assert torch.equal(before, after)
    record = monitor.record
    assert dict(zip(record.layer.values.tolist(), record.activation.values.tolist(), strict=True)) == case.layers
    skipped = {row.module: row.coverage for row in monitor.coverage if not row.coverage.startswith("measured")}
    named = ("it is a normalization", "uses its own weights (position)", "its output has shape (5, 8)")
    assert all(any(words in why for words in named) for why in skipped.values()), skipped
    assert np.isfinite(record.feature_cosine.values).all()
    if how != "passive":
        assert np.isfinite(record.kernel_trace.values[0])
    assert len(record.step) == (STEPS if how == "passive" else STEPS + 1)


@pytest.mark.parametrize("name", ZOO)
def test_the_batch_shows_what_a_probe_of_the_same_samples_shows(name):
    case = ZOO[name]
    model, batch = case.make(), case.batch(seed=1)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # a probe draws other masks
    classes = batch[1] if case.loss is nn.functional.cross_entropy else None
    options = {"loss": case.loss, "measures": FULL, "image_samples": 4}
    with cc.Monitor(model, batch, mode="train", **options) as probe:
        pass
    passive = cc.Monitor(model, batch, every=1, images_every=1, passive=True, **options)
    with passive, passive.batch(0, classes):
        case.loss(model(batch[0]), batch[1]).backward()
    seen, expected = passive.record, probe.record
    taken = [name for name, item in seen.data_vars.items() if item.dims[:1] in (("step",), ("image_step",))]
    assert {"feature_cosine", "gradient_cosine", "direction_strength", "effective_width"} <= set(taken)
    for quantity in taken:
        there, here = expected[quantity].values, seen[quantity].values
        if quantity == "direction_strength":  # the gradients of logits add up to 0: of a third direction only rounding
            there, here = np.nan_to_num(there), np.nan_to_num(here)
        np.testing.assert_allclose(here, there, rtol=2e-3, atol=2e-5, err_msg=f"{name} {quantity}")
