"""The layer types that can be observed. A new type is one entry here, or one call of `register_layer_type`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.anatomy.convolutions import (
    CONVOLUTIONS,
    TRANSPOSED_CONVOLUTIONS,
    convolution_view,
    transposed_convolution_view,
)
from cloudchamber.anatomy.view import MAX_ROW_NUMBERS, ONE_SAMPLE, LayerView, position_rows, read_weight, weight_rows

View = Callable[[str, Any], LayerView]


@dataclass(frozen=True)
class LayerType:
    """How to see the neurons of one type of module.

    Attributes:
        module_type: the class; its subclasses count as the same type.
        view: maps the qualified name of a module and the module to its view.
    """

    module_type: type[nn.Module]
    view: View

    @property
    def name(self) -> str:
        """The class name, as the record shows it."""
        return self.module_type.__name__


def linear_view(name: str, module: Any) -> LayerView:
    """View `nn.Linear`, on (n, d) or at all positions of (n, ..., d).

    >>> linear_view("fc", nn.Linear(3, 8)).neurons().shape
    torch.Size([8, 4])
    """
    biased = module.bias is not None
    return LayerView(
        name,
        module=name,
        layer_type=type(module).__name__,
        width=module.out_features,
        fan_in=module.in_features,
        bias=biased,
        neurons=lambda: weight_rows(read_weight(module, "weight"), read_weight(module, "bias") if biased else None),
        input_rows=position_rows,
        output_rows=position_rows,
        why_no_rows=ONE_SAMPLE,
        positions_axis=1,
    )


def embedding_view(name: str, module: Any) -> LayerView:
    """View `nn.Embedding`: a neuron is a token, its weights are the token's vector.

    The gradient of the weight is `Σ e_token gᵀ` over all positions, so X holds the gradients g and G the one-hot
    tokens, zero where the token is the padding. They are made up to `MAX_ROW_NUMBERS` numbers, and not with
    `scale_grad_by_freq`, for which torch returns something else than the gradient of the loss.

    >>> view = embedding_view("tokens", nn.Embedding(10, 4))
    >>> X, G = view.factors(torch.tensor([[3, 1]]), torch.ones(1, 2, 4))
    >>> X.shape, G.argmax(-1)
    (torch.Size([1, 2, 4]), tensor([[3, 1]]))
    """
    scaled = "`scale_grad_by_freq` makes its gradient another one than that of the loss"
    too_many = f"its one-hot tokens would take more than {MAX_ROW_NUMBERS} numbers"
    return LayerView(
        name,
        module=name,
        layer_type=type(module).__name__,
        width=module.num_embeddings,
        fan_in=module.embedding_dim,
        bias=False,
        neurons=lambda: read_weight(module, "weight"),
        input_rows=lambda tokens: None if module.scale_grad_by_freq else _one_hot(module, tokens),
        output_rows=position_rows,
        why_no_rows=scaled if module.scale_grad_by_freq else too_many,
        neuron_axis=None,
        positions_axis=1,
        exchanged=True,
    )


def transposed_linear_view(name: str, module: Any) -> LayerView:
    """View `transformers.pytorch_utils.Conv1D`, the linear layer of GPT-2: `z = x W + b` with W (d, h)."""
    return dense_view(
        name,
        module,
        neurons=lambda: weight_rows(read_weight(module, "weight").T, read_weight(module, "bias")),
        bias=True,
    )


def _one_hot(module: Any, tokens: Tensor) -> Tensor | None:
    if not tokens.ndim or tokens.numel() * module.num_embeddings > MAX_ROW_NUMBERS:
        return None
    rows = tokens.flatten(1) if tokens.ndim > 1 else tokens[:, None]
    dtype = read_weight(module, "weight").dtype
    one_hot = torch.zeros(*rows.shape, module.num_embeddings, dtype=dtype, device=tokens.device)
    one_hot.scatter_(2, rows[..., None].long(), 1)
    if module.padding_idx is not None:
        one_hot[..., module.padding_idx] = 0
    return one_hot


LAYER_TYPES: tuple[LayerType, ...] = (
    LayerType(nn.Linear, linear_view),
    *(LayerType(module_type, convolution_view) for module_type in CONVOLUTIONS),
    *(LayerType(module_type, transposed_convolution_view) for module_type in TRANSPOSED_CONVOLUTIONS),
    LayerType(nn.Embedding, embedding_view),
)
# Types of libraries that are not imported here, by the name of the class.
FOREIGN_TYPES: dict[str, View] = {"transformers.pytorch_utils.Conv1D": transposed_linear_view}

_by_class: dict[type, LayerType] = {entry.module_type: entry for entry in LAYER_TYPES}


def layer_type_of(module: nn.Module) -> LayerType | None:
    """Return the entry for a module, the one of its nearest class; None if its type has no entry."""
    return next((entry for cls in type(module).__mro__ if (entry := _entry(cls)) is not None), None)


def _entry(cls: type) -> LayerType | None:
    if cls in _by_class:
        return _by_class[cls]
    view = FOREIGN_TYPES.get(f"{cls.__module__}.{cls.__qualname__}")
    return None if view is None else LayerType(cls, view)


def layer_type_names() -> list[str]:
    """Return the names of all types that have an entry."""
    return [entry.name for entry in _by_class.values()]


def register_layer_type(module_type: type[nn.Module], view: View) -> LayerType:
    """Make a type of module known: from then on it is observed, and every measure works on it.

    The view says what its neurons are and turns what it receives and computes into rows X (n, P, d) and G (n, P, h)
    with `Σ_x G_xᵀ X_x` the gradient of its weight (see `LayerView`; `dense_view` makes the usual one).

    Args:
        module_type: the class; subclasses count too, except where they have an entry of their own. The module takes
            one tensor (its first argument) and returns one, both (n, ...). A second entry replaces the first.
        view: maps the qualified name of a module and the module to its view.

    Returns:
        The new entry.

    Raises:
        InvalidInput: if `module_type` is no class of modules, or `view` cannot be called.

    >>> class Transposed(nn.Module):  # computes x W, with W (d, h)
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = nn.Parameter(torch.ones(3, 8))
    ...     def forward(self, x):
    ...         return x @ self.weight
    >>> _ = register_layer_type(
    ...     Transposed, lambda name, module: dense_view(name, module, neurons=lambda: module.weight.detach().T)
    ... )
    >>> layer_type_of(Transposed()).view("own", Transposed()).width
    8
    """
    require(
        isinstance(module_type, type) and issubclass(module_type, nn.Module),
        "a layer type is a class of modules",
        repr(module_type),
        "give the class, not one of its modules",
    )
    require(callable(view), "`view` maps a name and a module to a LayerView", repr(view), "give a function")
    _by_class[module_type] = LayerType(module_type, view)
    return _by_class[module_type]


def dense_view(name: str, module: nn.Module, *, neurons: Callable[[], Tensor], bias: bool = False) -> LayerView:
    """View an own layer that computes `z = W x (+ b)` on the last dimension of (n, d) or (n, ..., d).

    Args:
        name: qualified name, as `register_layer_type` hands it on.
        module: the module.
        neurons: returns the weight now, (h, d), or (h, d + 1) with the bias as last column.
        bias: whether the last column is a bias.

    >>> layer = nn.Linear(3, 8, bias=False)
    >>> dense_view("own", layer, neurons=lambda: layer.weight.detach()).fan_in
    3
    """
    width, columns = neurons().shape
    return LayerView(
        name,
        module=name,
        layer_type=type(module).__name__,
        width=width,
        fan_in=columns - bias,
        bias=bias,
        neurons=neurons,
        input_rows=position_rows,
        output_rows=position_rows,
        why_no_rows=ONE_SAMPLE,
        positions_axis=1,
    )
