"""The weights behind the views, to be written: which blocks of which parameters are a layer's neurons and biases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber.anatomy.attention import PROJECTIONS
from cloudchamber.anatomy.choice import ChosenModule
from cloudchamber.anatomy.recurrent import Gate, gates_of, places_of
from cloudchamber.anatomy.view import ROOT, LayerView

_KINDS = {"x": "ih", "h": "hh", "m": "hr"}


@dataclass(frozen=True)
class Block:
    """A layer's weights and biases, as parts of the model's parameters: writing into them changes the model.

    Attributes:
        view: the layer.
        owner: the qualified name of the module that computes it.
        module: that module.
        weights: tensors that share memory with parameters; each number is one weight of the layer.
        biases: the same for its biases; a recurrent gate has two.
    """

    view: LayerView
    owner: str
    module: nn.Module
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The qualified names of the module's parameters."""
        prefix = "" if self.owner == ROOT else f"{self.owner}."
        return tuple(f"{prefix}{name}" for name, _ in self.module.named_parameters())

    @property
    def fan_in(self) -> int:
        """The inputs of a neuron; 1 for an embedding, which sees one word at a time."""
        return 1 if self.view.exchanged else self.view.fan_in

    @property
    def fan_out(self) -> int:
        """How many outputs an input has, as torch counts them: those of a convolution at each place of the kernel."""
        if self.view.exchanged:
            return self.view.fan_in
        if isinstance(self.module, nn.modules.conv._ConvNd):
            return self.view.width * self.weights[0][0, 0].numel()
        return self.view.width


def blocks_of(chosen: ChosenModule) -> Iterator[Block]:
    """Yield the weights of each view of a module.

    >>> from cloudchamber.anatomy import choose_views
    >>> lstm = choose_views(nn.Sequential(nn.LSTM(3, 4)), None)["0"]
    >>> [[tuple(weight.shape) for weight in block.weights] for block in blocks_of(lstm)][0]
    [(4, 3), (4, 4)]
    """
    module: Any = chosen.module
    for view in chosen.views:
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            yield Block(view, chosen.name, module, *_gate(module, view.part))
        elif isinstance(module, nn.MultiheadAttention):
            yield Block(view, chosen.name, module, *_projection(module, view.part))
        else:
            own = [parameter.detach() for parameter in module.parameters(recurse=False)]
            weights, biases = ([one for one in own if (one.ndim > 1) == many] for many in (True, False))
            yield Block(view, chosen.name, module, tuple(weights), tuple(biases))


def _gate(module: Any, part: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    gates = {place.part(gate): (place, gate) for place in places_of(module) for gate in gates_of(module)}
    place, gate = gates[part]
    rows = _rows(module, gate)

    def parts(kind: str) -> tuple[Tensor, ...]:
        return tuple(
            getattr(module, f"{kind}_{_KINDS[source]}{place.suffix}").detach()[rows] for source in gate.sources
        )

    return parts("weight"), parts("bias") if module.bias and gate.sources != "m" else ()


def _rows(module: Any, gate: Gate) -> slice:
    if gate.sources == "m":
        return slice(None)
    return slice(gate.block * module.hidden_size, (gate.block + 1) * module.hidden_size)


def _projection(module: Any, part: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    if part == "out_proj":
        bias = module.out_proj.bias
        return (module.out_proj.weight.detach(),), () if bias is None else (bias.detach(),)
    number = PROJECTIONS.index(part)
    fused = module._qkv_same_embed_dim
    weight: Tensor = (
        module.in_proj_weight.detach().chunk(3)[number] if fused else getattr(module, f"{part[0]}_proj_weight").detach()
    )
    bias = module.in_proj_bias
    return (weight,), () if bias is None else (torch.chunk(bias.detach(), 3)[number],)
