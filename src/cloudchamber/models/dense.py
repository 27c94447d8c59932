"""Dense networks whose layers differ in width and activation, with or without residual connections."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.models.activations import ActivationName, activation
from cloudchamber.models.network import NetworkConfig


class DenseConfig(NetworkConfig):
    """Hidden layers, each with a width and an activation of its own, and a linear output."""

    name: Literal["dense"] = "dense"
    widths: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = (50,)
    """neurons of the hidden layers, from the first"""
    activations: Annotated[tuple[ActivationName, ...], Field(strict=False)] = ("tanh",)
    """of the hidden layers, as many as widths"""
    residual: bool = False
    """whether hidden layers from the second on add their input to their output; widths are then equal"""
    bias: bool = True

    @property
    def words(self) -> str:
        """The network in a few words."""
        layers = ", ".join(f"{width} {name}" for width, name in zip(self.widths, self.activations, strict=True))
        return f"dense net of {layers}{', residual' if self.residual else ''}"

    @model_validator(mode="after")
    def _fitting(self) -> DenseConfig:
        misfit = _misfit(self.widths, self.activations, self.residual)
        if misfit:
            raise ValueError(misfit)
        return self


class DenseNet(nn.Module):
    """Linear layers, called linear1, linear2, …, with activations of their own; (n, ...) → (n, outputs).

    Equation: h₁ = σ₁(W₁ x + b₁), h_l = σ_l(W_l h_{l−1} + b_l) (+ h_{l−1} with residual connections), and as output
    W_L h_{L−1} + b_L.

    Args:
        inputs: of the network.
        outputs: of the network.
        widths: neurons of the hidden layers.
        activations: of the hidden layers, by name.
        residual: whether hidden layers from the second on add their input to their output.
        bias: whether layers have biases.

    Raises:
        InvalidInput: if there is not an activation for each width, or widths differ with residual connections.

    Source: zhou2022, Eq. (2) and Section 4.3.

    >>> import torch
    >>> DenseNet(3, 1, widths=(18, 18), activations=("xtanh", "tanh"), residual=True)(torch.zeros(5, 3)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        widths: Sequence[int],
        activations: Sequence[ActivationName],
        residual: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        misfit = _misfit(widths, activations, residual)
        rule, _, received = (misfit or "widths and activations fit; got ").partition("; got ")
        require(misfit is None, rule, received, "name an activation for each width")
        self.hidden, self.residual = len(widths), residual
        for number, (fan_in, fan_out) in enumerate(pairwise([inputs, *widths, outputs]), start=1):
            self.add_module(f"linear{number}", nn.Linear(fan_in, fan_out, bias=bias))
            if number <= len(widths):
                self.add_module(f"activation{number}", activation(activations[number - 1]))

    def forward(self, x: Tensor) -> Tensor:
        """Flatten each sample and apply the layers."""
        h = x.flatten(1)
        for number in range(1, self.hidden + 1):
            value = self.get_submodule(f"activation{number}")(self.get_submodule(f"linear{number}")(h))
            h = value + h if self.residual and number > 1 else value
        return self.get_submodule(f"linear{self.hidden + 1}")(h)


def _misfit(widths: Sequence[int], activations: Sequence[str], residual: bool) -> str | None:
    """Say what does not fit, if anything."""
    if not widths or len(widths) != len(activations):
        return f"there is an activation for each hidden layer; got {len(activations)} for {len(widths)}"
    if residual and len(set(widths)) > 1:
        return f"with residual connections hidden layers have one width; got {list(widths)}"
    return None
