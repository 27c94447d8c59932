"""A pass along a chain shows what running the model shows; where a model may do more, it is run."""

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

from cloudchamber.anatomy import capture, choose_views
from cloudchamber.anatomy.chain import chain_of
from cloudchamber.anatomy.direct import DIRECT_FIELDS
from cloudchamber.anatomy.plan import Plan
from cloudchamber.models import MLP

X, Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3
SHARED = nn.Linear(4, 4)


def frozen():
    model = MLP(4, 3, depth=3, width=5)
    model.linear1.requires_grad_(False)
    return model


CHAINS = {
    "mlp": lambda: MLP(4, 3, depth=3, width=5, act="tanh"),
    "frozen": frozen,
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 5), nn.GELU()), nn.Identity(), nn.Linear(5, 3)),
    "norm": lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3), nn.Sigmoid()),
    "twice": lambda: nn.Sequential(SHARED, nn.ReLU(), SHARED, nn.Tanh(), nn.Linear(4, 3)),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    ),
}
OTHERS = {
    "dropout": lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout()),
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
    "in place": lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)),
    "own": lambda: type("Own", (nn.Linear,), {})(4, 3),
    "own chain": lambda: type("Own", (nn.Sequential,), {"forward": lambda self, x: self[0](2 * x)})(nn.Linear(4, 3)),
}


def seen_twice(model, fields=DIRECT_FIELDS):
    """What a later pass shows, and whether it was made along a chain."""
    chosen = choose_views(model, None)
    how = {"layers": chosen, "fields": fields}
    loss = lambda out: fn.cross_entropy(out, Y, reduction="sum")  # noqa: E731
    plan = capture(model, X, loss, **how).plan
    return capture(model, X, loss, plan=plan, **how), plan.chain is not None


@pytest.mark.parametrize("fields", [DIRECT_FIELDS, frozenset({"features"}), frozenset({"output_gradients"})], ids=len)
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_shows_what_its_slow_twin_shows(name, fields, monkeypatch):
    torch.manual_seed(0)
    model = CHAINS[name]()
    before = torch.get_rng_state()
    seen, direct = seen_twice(model, fields)
    assert direct == (name != "convolution")  # unflattening is none of the known modules
    assert torch.equal(before, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    monkeypatch.setattr(Plan, "chain", None)
    twin, _ = seen_twice(model, fields)
    assert seen.loss == twin.loss
    assert torch.equal(seen.outputs, twin.outputs)
    assert list(seen.layers) == list(twin.layers)
    for key, layer in seen.layers.items():
        for field in DIRECT_FIELDS:
            a, b = getattr(layer, field), getattr(twin.layers[key], field)
            assert (a is None) == (b is None), (key, field)
            assert a is None or (torch.equal(a, b) and not a.requires_grad), (key, field)


@pytest.mark.parametrize("name", OTHERS)
def test_what_may_do_more_is_no_chain(name):
    assert chain_of(OTHERS[name]()) is None


@pytest.mark.parametrize("touch", ["hook", "forward", "global hook", "compiled"])
def test_a_chain_that_was_touched_is_run_as_it_is(touch):
    model, calls = MLP(4, 3, depth=2, width=5), []
    chosen = choose_views(model, None)
    plan = capture(model, X, torch.sum, layers=chosen, fields={"features"}).plan
    assert plan.chain is not None
    handle = None
    if touch == "hook":
        handle = model.register_forward_hook(lambda *_: calls.append(1))
    elif touch == "global hook":
        handle = nn.modules.module.register_module_forward_hook(lambda *_: calls.append(1))
    elif touch == "forward":
        model.linear2.forward = lambda x: calls.append(1) or fn.linear(x, model.linear2.weight)
    else:
        model.compile(backend="eager")
    try:
        assert plan.chain is None
        if touch != "compiled":
            capture(model, X, torch.sum, layers=chosen, fields={"features"}, plan=plan)
            assert calls
    finally:
        if handle is not None:
            handle.remove()
