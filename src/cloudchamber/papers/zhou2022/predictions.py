"""What theory predicts of a layer from its inputs and residuals at hand, beside the neurons that were trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor, nn

from cloudchamber.models import ActivationName, DenseConfig, activation
from cloudchamber.papers.zhou2022.nets import network
from cloudchamber.theory import CondensedDirections, condensed_directions, multiplicity


@dataclass(frozen=True)
class Layer:
    """The hidden layer of a two-layer network, as theory sees it.

    Attributes:
        inputs: (n, d), samples with a last entry 1.
        residuals: (n,), e = f − y.
        weights: (h, d), of the neurons, biases last.
        output_weights: (h,).
        activation: σ.
        predicted: the directions that attract.
    """

    inputs: Tensor
    residuals: Tensor
    weights: Tensor
    output_weights: Tensor
    activation: nn.Module
    predicted: CondensedDirections


def layer_of(result: xr.Dataset, member: int, epoch: int) -> Layer:
    """Return the hidden layer of a two-layer network of one output at an epoch, with what theory predicts then."""
    model = network(result, member, epoch)
    x, y = (torch.from_numpy(result[name].values[member]).double() for name in ("x", "y"))
    held = {name: value.detach() for name, value in model.named_parameters()}
    with torch.no_grad():
        residuals = (model(x) - y)[:, 0]
    inputs = torch.cat([x, x.new_ones(len(x), 1)], 1)
    weights = torch.cat([held["linear1.weight"], held["linear1.bias"][:, None]], 1)
    function = activation(_name(result))
    predicted = condensed_directions(inputs, residuals, multiplicity(function))
    return Layer(inputs, residuals, weights, held["linear2.weight"][0], function, predicted)


def _name(result: xr.Dataset) -> ActivationName:
    return DenseConfig.model_validate_json(result.attrs["config"]).activations[0]


def line_angles(weights: Tensor, lines: Tensor) -> Tensor:
    """Return the angle of every neuron to the nearest line, 0 to 90 degrees.

    >>> line_angles(torch.tensor([[1.0, 1.0]]), torch.tensor([[-1.0, 0.0]])).round()
    tensor([45.])
    """
    units, axes = (nn.functional.normalize(rows, dim=1) for rows in (weights, lines))
    return torch.rad2deg((units @ axes.T).abs().clamp(max=1).acos()).amin(1)
