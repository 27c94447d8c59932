"""Recurrent modules of several layers: each layer's units merge by themselves."""

import pytest
import torch
from reduction.merging_cases import widths
from torch import nn

import cloudchamber as cc
from cloudchamber.reduction.recurrent import StackedRecurrent, taken_apart


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Deep(nn.Module):
    def __init__(self, kind, what, **more):
        super().__init__()
        self.cells, self.what = kind(3, 6, num_layers=2, batch_first=True, **more), what
        self.head = nn.Linear(12 if more.get("bidirectional") else 6, 2)

    def forward(self, x):
        output, states = self.cells(x)
        if self.what == "output":
            return self.head(output[:, -1])
        states = states[0] if isinstance(self.cells, nn.LSTM) or isinstance(states[0], tuple) else states
        return self.head(states[-1] if self.what == "last" else states.transpose(0, 1).mean(1))


def made(kind, what="output", **more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Deep(kind, what, **more).double().eval(), drawn(40, 4, 3)


COPIES = {"cells.layers.0": [1, 2, 1, 1, 3, 1], "cells.layers.1": 2}


@pytest.mark.parametrize(("kind", "what"), [(nn.LSTM, "last"), (nn.GRU, "output"), (nn.RNN, "last")])
def test_units_that_were_split_merge_back_layer_by_layer(kind, what, tmp_path):
    model, x = made(kind, what)
    wide = cc.split_neurons(model, x, COPIES, tie="shares")
    assert isinstance(wide.cells, StackedRecurrent)
    assert torch.allclose(wide(x), model(x), atol=1e-12)
    small, summary = cc.merge_neurons(wide, x, tolerance=0)
    assert widths(small) == widths(model)
    assert summary.error.relative < 1e-13
    cc.save_merged(small, summary, tmp_path)
    again = cc.load_merged(tmp_path, lambda: cc.split_neurons(made(kind, what)[0], x, COPIES))
    assert torch.equal(again(x), small(x))


def test_a_plan_takes_the_module_apart_on_any_checkpoint():
    model, x = made(nn.LSTM, "last")
    with torch.no_grad():  # units 2 and 4 of the first layer are one
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            gates = getattr(model.cells, name).unflatten(0, (4, 6))
            gates[:, 4] = gates[:, 2]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = cc.plan_merge(model, x, tolerance=0)
    assert [(layer.name, layer.after) for layer in plan.layers] == [("cells.layers.0", 5)]
    for small, _ in (plan.apply(model), plan.apply(model, x)):
        assert small.cells.layers[0].hidden_size == 5
        assert torch.allclose(small(x), model(x), atol=1e-12)
    assert isinstance(model.cells, nn.LSTM)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(cc.InvalidInput, match="another checkpoint"):
        plan.apply(Deep(nn.GRU, "last").double())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_the_stack_is_called_as_the_module_is(kind):
    module = kind(3, 5, num_layers=3, dropout=0.5).double()
    stack, x = taken_apart(module), drawn(4, 2, 3)
    first = drawn(3, 2, 5)
    given = (first, -first) if kind is nn.LSTM else first
    for arguments in ((x,), (x, given), (x[:, 0],)):
        torch.manual_seed(0)
        output, states = module(*arguments)
        torch.manual_seed(0)
        ours, last = stack(*arguments)
        assert torch.allclose(ours, output, atol=1e-12)
        pairs = zip(states, last, strict=True) if kind is nn.LSTM else [(states, last)]
        assert all(torch.allclose(torch.stack(b), a, atol=1e-12) for a, b in pairs)


def test_what_has_one_width_is_named():
    model, x = made(nn.LSTM, "output", bidirectional=True)
    assert dict(cc.plan_merge(model, x).skipped)["cells"] == "its directions share one width"
    model, x = made(nn.GRU, "all")
    assert dict(cc.plan_merge(model, x).skipped)["cells"] == "its layers share one width"
