"""Dense chains: linear layers and elementwise functions, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from cloudchamber.models import MLP, DenseNet, ScaledOutput
from cloudchamber.training.ensemble.dense.activations import MODULES
from cloudchamber.training.ensemble.dense.stages import Affine, Computed, Flatten, MemberScale, NotAChain, Stage
from cloudchamber.training.ensemble.dense.tracing import traced

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class DenseChain:
    """What a module does to a batch of samples, in order.

    Attributes:
        stages: linear layers, elementwise functions and scales.
        flattens: whether a sample may have several axes, which become one before the first linear layer.
    """

    stages: tuple[Computed, ...]
    flattens: bool

    @property
    def affine(self) -> tuple[Affine, ...]:
        """The linear layers."""
        return tuple(stage for stage in self.stages if isinstance(stage, Affine))

    @property
    def fixed(self) -> tuple[str, ...]:
        """Names of what each member has beside its parameters."""
        return tuple(stage.name for stage in self.stages if isinstance(stage, MemberScale))


def dense_chain(module: nn.Module) -> DenseChain | str:
    """Return a module as a chain of linear layers and elementwise functions, or the reason why it is none.

    Sequential modules, `MLP`, and modules whose `forward` calls one thing after the other are followed to any depth.
    Neither the module nor a random state is changed.

    Args:
        module: the architecture, in the mode in which it will be trained.

    >>> dense_chain(nn.Sequential(nn.Linear(5, 50), nn.Tanh(), nn.Linear(50, 1))).affine[1].weight
    '2.weight'
    >>> dense_chain(nn.Sequential(nn.Linear(5, 50), nn.PReLU(), nn.Linear(50, 1)))
    '1 is a PReLU, neither a linear layer nor a known elementwise function'
    """
    try:
        _refuse_hooks(module)
        stages = list(_stages(module, ""))
        _refuse_buffers(module, stages)
        _refuse_parameters(module, [stage for stage in stages if isinstance(stage, Affine)])
    except NotAChain as reason:
        return str(reason)
    return DenseChain(tuple(stage for stage in stages if not isinstance(stage, Flatten)), _flattens_first(stages))


def _flattens_first(stages: list[Stage]) -> bool:
    first = next(place for place, stage in enumerate(stages) if isinstance(stage, Affine))
    return any(isinstance(stage, Flatten) for stage in stages[:first])


def _stages(module: nn.Module, name: str) -> Iterator[Stage]:
    kind = type(module)
    if isinstance(module, nn.Linear) and kind is nn.Linear:
        yield _affine(module, name)
    elif kind in MODULES:
        yield MODULES[kind](module)
    elif isinstance(module, nn.Flatten):
        yield _flatten(module)
    elif isinstance(module, nn.Dropout) and not (module.training and module.p > 0):
        return
    elif kind.forward is nn.Sequential.forward:
        yield from _each(module, name, list(module._modules))
    elif kind is MLP or kind is DenseNet:
        if getattr(module, "residual", False):
            raise NotAChain("its residual connections take more than the result before them")
        yield Flatten()
        yield from _each(module, name, [child for child, _ in module.named_children()])
    elif kind is ScaledOutput:
        yield from _each(module, name, ["network"])
        yield MemberScale(f"{name}.scale" if name else "scale")
    elif kind.__module__.startswith("torch.nn"):
        raise NotAChain(f"{name or 'it'} is a {kind.__name__}, neither a linear layer nor a known elementwise function")
    else:
        yield from _own_forward(module, name)


def _each(module: nn.Module, name: str, children: list[str]) -> Iterator[Stage]:
    for child in children:
        yield from _stages(module.get_submodule(child), f"{name}.{child}" if name else child)


def _own_forward(module: nn.Module, name: str) -> Iterator[Stage]:
    for call in traced(module):
        if isinstance(call, str):
            yield from _each(module, name, [call])
        else:
            yield call


def _affine(layer: nn.Linear, name: str) -> Affine:
    prefix = f"{name}." if name else ""
    bias = None if layer.bias is None else f"{prefix}bias"
    return Affine(f"{prefix}weight", bias, layer.in_features, layer.out_features)


def _flatten(module: nn.Flatten) -> Flatten:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise NotAChain(f"it flattens axes {module.start_dim} to {module.end_dim} instead of all of a sample")
    return Flatten()


def _refuse_hooks(module: nn.Module) -> None:
    hooked = [name or "it" for name, part in module.named_modules() if any(getattr(part, hook) for hook in _HOOKS)]
    if hooked:
        raise NotAChain(f"hooks may change what these do: {', '.join(hooked)}")


def _refuse_buffers(module: nn.Module, stages: list[Stage]) -> None:
    scales = {stage.name for stage in stages if isinstance(stage, MemberScale)}
    buffers = [name for name, _ in module.named_buffers() if name not in scales]
    if buffers:
        raise NotAChain(f"it has buffers: {', '.join(buffers)}")


def _refuse_parameters(module: nn.Module, affine: list[Affine]) -> None:
    """Refuse parameters that are frozen, shared or not used: each must be that of one linear layer."""
    parameters = dict(module.named_parameters())
    frozen = [name for name, value in parameters.items() if not value.requires_grad]
    if frozen:
        raise NotAChain(f"these parameters are frozen: {', '.join(frozen)}")
    if not affine:
        raise NotAChain("it has no linear layer")
    used = Counter(name for layer in affine for name in (layer.weight, layer.bias) if name)
    shared = [name for name, times in used.items() if times > 1 or name not in parameters]
    if shared:
        raise NotAChain(f"these parameters are used in more than one place: {', '.join(shared)}")
    idle = [name for name in parameters if name not in used]
    if idle:
        raise NotAChain(f"no linear layer uses these parameters: {', '.join(idle)}")
