"""Where the parameters of a member lie."""

import pytest
import torch
from ensemble_cases import chain, normal, stack
from torch import nn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.training.ensemble.layout import Layout


def test_rows_are_the_parameters_in_their_order():
    models = stack(chain, 3)
    flat = Layout.of(models[0]).flat(models)
    rows = [torch.cat([value.flatten() for value in model.parameters()]) for model in models]
    assert torch.equal(flat, torch.stack(rows))


def test_views_are_the_parameters_and_no_copies():
    models = stack(chain, 3)
    layout = Layout.of(models[0])
    flat = layout.flat(models)
    views = layout.views(flat)
    for k, model in enumerate(models):
        for name, value in model.named_parameters():
            assert torch.equal(views[name][k], value)
    views["2.bias"][1] = 7.0
    assert flat[1, layout.slices["2.bias"]].tolist() == [7.0]
    assert layout.views(flat[1])["2.bias"].tolist() == [7.0]


def test_flat_parameters_are_a_copy():
    model = chain()
    Layout.of(model).flat([model]).zero_()
    assert model[0].weight.abs().min() > 0


def test_frozen_parameters_and_buffers_have_no_place():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[0].weight.requires_grad_(False)
    assert Layout.of(model).names == ("0.bias", "1.weight", "1.bias", "2.weight", "2.bias")
    assert Layout.of(model).size == 3 + 3 + 3 + 3 + 1


def test_a_shared_parameter_has_one_place():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert Layout.of(model).names == ("0.weight", "0.bias", "1.bias")


def test_a_name_stands_for_a_parameter_or_a_module():
    layout = Layout.of(chain())
    assert layout.meant_by("0") == ["0.weight", "0.bias"]
    assert layout.meant_by("0.bias") == ["0.bias"]
    with pytest.raises(InvalidInput, match=r"a name is one of .*0\.weight.*; got '1'\. Remedy"):
        layout.meant_by("1")


def test_a_model_without_free_parameters_is_refused():
    with pytest.raises(InvalidInput, match="requires_grad; got none"):
        Layout.of(nn.Tanh())


def test_another_architecture_is_refused():
    with pytest.raises(InvalidInput, match="one architecture"):
        Layout.of(chain()).flat([chain(), chain(width=9)])


def test_views_keep_every_number():
    layout = Layout.of(chain())
    flat = normal(4, layout.size)
    assert torch.equal(torch.cat([value.flatten(1) for value in layout.views(flat).values()], 1), flat)
