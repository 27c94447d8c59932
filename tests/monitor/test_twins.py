"""Measures of weight gradients through the monitor, against every sample's gradient by autograd, in float64."""

import numpy as np
import pytest
import torch
from models_zoo import ZOO

import cloudchamber as cc

MEASURES = ["gradient_norm", "sample_gradient_norm", "direction_share", "direction_strength"]


def of_parameter(name):
    return lambda model: [model.get_parameter(f"{name}.weight")]


def of_gate(layer, gate):
    """The rows of one gate of an LSTM in both of its weights."""
    number = ["input_gate", "forget_gate", "cell_gate", "output_gate"].index(gate)

    def parameters(model):
        return [model.get_parameter(f"lstm.weight_{kind}_l{layer}") for kind in ("ih", "hh")], number

    return parameters


def sample_gradients(case, model, batch, parameters):
    """Every sample's gradient of a layer's weight, (n, h, d)."""
    found = parameters(model)
    weights, gate = found if isinstance(found, tuple) else (found, None)
    rows = []
    for x, y in zip(*batch, strict=True):
        gradients = torch.autograd.grad(case.loss(model(x[None]), y[None]), weights)
        if gate is not None:
            height = len(gradients[0]) // 4
            gradients = [part[gate * height : (gate + 1) * height] for part in gradients]
        rows.append(torch.cat([part.flatten(1) for part in gradients], 1))
    return torch.stack(rows)


LAYERS = [
    ("MLP", "2", of_parameter("2")),
    ("CNN with batch norm", "4", of_parameter("4")),
    ("ResNet", "block2.conv1", of_parameter("block2.conv1")),
    ("ViT", "blocks.1.attention.qkv", of_parameter("blocks.1.attention.qkv")),
    ("tiny GPT", "block.fc1", of_parameter("block.fc1")),
    ("LSTM", "lstm.l0.cell_gate", of_gate(0, "cell_gate")),
    ("LSTM", "lstm.l1.input_gate", of_gate(1, "input_gate")),
]


@pytest.mark.parametrize(("name", "layer", "parameters"), LAYERS)
def test_measures_of_gradients_are_those_of_the_materialised_gradients(name, layer, parameters):
    case = ZOO[name]
    model, batch = case.make(torch.float64), case.batch(dtype=torch.float64)
    model.eval()
    with cc.Monitor(model, batch, loss=case.loss, measures=MEASURES, image_samples=4) as monitor:
        seen = monitor.record.sel(layer=layer)
    gradients = sample_gradients(case, model, batch, parameters)
    mean = gradients.mean(0)
    left, values, _ = torch.linalg.svd(gradients.permute(1, 0, 2).flatten(1), full_matrices=False)
    expected = {
        "gradient_norm": mean.norm(),
        "sample_gradient_norm": gradients.flatten(1).norm(dim=1).mean(),
        "direction_share": values[0] ** 2 / values.square().sum(),
    }
    for quantity, value in expected.items():
        np.testing.assert_allclose(seen[quantity].values[0], float(value.detach()), rtol=1e-10, err_msg=quantity)
    # s_1 = ‖C_1 C_1ᵀ mean‖ for the direction that single samples share.
    strength = (left[:, 0] @ mean).norm()
    np.testing.assert_allclose(seen["direction_strength"].values[0, 0], float(strength.detach()), rtol=1e-7)
