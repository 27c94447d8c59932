"""The gradient flow of any modules of one architecture, through `torch.func`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, jacrev, stack_module_state, vmap

from cloudchamber._core.errors import InvalidInput, Unsupported, require
from cloudchamber.training.flow.state import Linearization, Members, Point, Theta, Values

LossFunction = Callable[[Tensor, Tensor], Tensor]
SQUARED = {"mse": 2.0, "half_mse": 1.0}
Rates = Float[Tensor, "k s"]


@dataclass(frozen=True)
class JacobianLinearization(Linearization):
    """A linearization that holds the Jacobian."""

    jacobian: Float[Tensor, "k v p"]
    weighted: Float[Tensor, "k v p"]

    def pull(self, values: Values) -> Theta:
        """Return `c D Jᵀ v`."""
        return torch.einsum("kvp,kv->kp", self.weighted, values)

    def push(self, theta: Theta) -> Values:
        """Return `J b`."""
        return torch.einsum("kvp,kp->kv", self.jacobian, theta)


class ModuleField:
    """The right-hand side for a stack of modules; the modules are not changed."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        data: tuple[Tensor, Tensor],
        loss: str | LossFunction,
        rates: Mapping[str, float | Tensor],
        dtype: torch.dtype,
    ) -> None:
        moving, self._fixed = _states(modules, dtype)
        self._module = copy.deepcopy(modules[0])
        self.names, self.shapes = list(moving), [value.shape[1:] for value in moving.values()]
        sizes = [shape.numel() for shape in self.shapes]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.segments = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.layers = _layers(self.names)
        self.start: Theta = torch.cat([value.flatten(1) for value in moving.values()], 1)
        self._rates = rates_of(rates, self.names, len(modules), dtype)
        self._x, self._y = (_cast(value, dtype) for value in data)
        self._loss = loss
        self._check()

    def parts(self, theta: Shaped[Tensor, "... p"]) -> dict[str, Tensor]:
        """Return parameters by name from flat ones."""
        pairs = zip(self.names, self.segments, self.shapes, strict=True)
        return {name: theta[..., segment].reshape(*theta.shape[:-1], *shape) for name, segment, shape in pairs}

    def evaluate(self, theta: Theta, members: Members) -> Point:
        """Return loss and velocity."""
        gradient, loss = vmap(grad_and_value(self._loss_of))(theta, self._fixed_of(members))
        return Point(theta, loss, -self._weighted(gradient, members))

    def linearize(self, theta: Theta, members: Members) -> Point:
        """Return loss, velocity and linearization; takes values × parameters of memory per member."""
        factor = self._squared_weight()
        jacobian, outputs = vmap(jacrev(self._outputs_twice, has_aux=True))(theta, self._fixed_of(members))
        residual = (outputs - self._y).flatten(1)
        jacobian = jacobian.reshape(*residual.shape, -1)
        weighted = factor * self._weighted(jacobian, members)
        kernel = jacobian @ weighted.mT
        linear = JacobianLinearization(residual, kernel, jacobian, weighted)
        return Point(theta, factor / 2 * residual.square().sum(1), -linear.pull(residual), linear)

    def _fixed_of(self, members: Members) -> dict[str, Tensor]:
        return {name: value[members] for name, value in self._fixed.items()}

    def _outputs(self, theta: Tensor, fixed: dict[str, Tensor]) -> Tensor:
        return functional_call(self._module, {**self.parts(theta), **fixed}, (self._x,))

    def _outputs_twice(self, theta: Tensor, fixed: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        outputs = self._outputs(theta, fixed)
        return outputs, outputs

    def _loss_of(self, theta: Tensor, fixed: dict[str, Tensor]) -> Tensor:
        outputs = self._outputs(theta, fixed)
        if isinstance(self._loss, str):
            return SQUARED[self._loss] / 2 * (outputs - self._y).square().mean()
        return self._loss(outputs, self._y)

    def _weighted(self, gradient: Tensor, members: Members) -> Tensor:
        """Multiply by the rates, parameter tensor by parameter tensor."""
        rates = self._rates[members].reshape(len(members), *[1] * (gradient.ndim - 2), -1)
        parts = [gradient[..., segment] * rates[..., place, None] for place, segment in enumerate(self.segments)]
        return torch.cat(parts, -1)

    def _squared_weight(self) -> float:
        if not isinstance(self._loss, str):
            raise InvalidInput(
                "this method needs a squared loss; got a function. "
                "Remedy: pass loss='mse' or 'half_mse', or use method=DormandPrince()."
            )
        return SQUARED[self._loss] / self._y.numel()

    def _check(self) -> None:
        """Call it once, so that what does not fit is said at once."""
        first = self._fixed_of(torch.zeros(1, dtype=torch.long))
        try:
            outputs = vmap(self._outputs)(self.start[:1], first)[0]
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise Unsupported(
                f"a gradient flow calls the model through torch.func, with nothing random in it; got {reason!r}. "
                "Remedy: model.eval(), or replace what torch.func cannot do; check the shape of the samples."
            ) from error
        if isinstance(self._loss, str):
            rule, received = f"targets have the outputs' shape, {tuple(outputs.shape)}", tuple(self._y.shape)
            require(outputs.shape == self._y.shape, rule, received, "reshape them: y[:, None] for one output")
        else:
            received = tuple(self._loss(outputs, self._y).shape)
            require(received == (), "a loss is one number", f"shape {received}", "take its mean over samples")


def _layers(names: Sequence[str]) -> list[list[int]]:
    """The places of each parameter tensor, a "bias" with the "weight" of the same module."""
    layers: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        module, _, last = name.rpartition(".")
        layers.setdefault(f"{module}.weight" if last == "bias" else f"{module}.{last}", []).append(place)
    return list(layers.values())


def rates_of(rates: Mapping[str, float | Tensor], names: Sequence[str], members: int, dtype: torch.dtype) -> Rates:
    """Return the rate of each parameter tensor of each member, 1 where none is given.

    Raises:
        InvalidInput: if a key names no parameter, two name the same, or a rate is not positive or not finite.
    """
    table = torch.ones(members, len(names), dtype=dtype)
    claimed: set[str] = set()
    for key, rate in rates.items():
        meant = [name for name in names if name == key or name.startswith(key + ".")]
        require(len(meant) > 0, f"a rate is for one of {list(names)}, or a module of theirs", repr(key), "name one")
        twice = sorted(claimed.intersection(meant))
        require(not twice, "a parameter has one rate", f"several for {twice}", "name each parameter once")
        claimed.update(meant)
        values = torch.as_tensor(rate, dtype=dtype)
        require(
            values.shape in ((), (members,)),
            f"a rate is one number, or one per member: {members}",
            tuple(values.shape),
            "pass a float, or a tensor with one entry per model",
        )
        valid = bool(((values > 0) & values.isfinite()).all())
        require(valid, "rates are positive and finite", rate, "freeze a parameter with requires_grad_(False)")
        table[:, [names.index(name) for name in meant]] = values.reshape(-1, 1)
    return table


def _states(modules: Sequence[nn.Module], dtype: torch.dtype) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Copies of the parameters that move, and of parameters and buffers that do not, stacked."""
    require(len(modules) > 0, "there is a model", "none", "pass one, or a sequence of models of one architecture")
    shapes = [{name: value.shape for name, value in module.state_dict().items()} for module in modules]
    require(
        all(shape == shapes[0] for shape in shapes),
        "the models of a stack have one architecture",
        "different names or shapes",
        "flow them apart",
    )
    try:
        parameters, buffers = stack_module_state(list(modules))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(
            f"the models of a stack are of one kind and mode; got {reason!r}. Remedy: flow them apart."
        ) from error
    frozen = {name for name, value in modules[0].named_parameters() if not value.requires_grad}
    held = {name: _cast(value, dtype) for name, value in {**parameters, **buffers}.items()}
    moving = {name: held[name] for name in parameters if name not in frozen}
    require(len(moving) > 0, "a model has parameters with requires_grad", "none", "leave some free to move")
    return moving, {name: value for name, value in held.items() if name not in moving}


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.detach().cpu().clone()
    return value.to(dtype) if value.is_floating_point() else value
