"""Norms put between the layers of a model, before their activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat
from torch import nn

from cloudchamber._core.config import Config
from cloudchamber._core.errors import InvalidInput, Unsupported, require
from cloudchamber.anatomy import ChosenModule, choose_views
from cloudchamber.interventions.batch_norm import BatchNorm, CenteringNorm
from cloudchamber.interventions.phase_norm import PhaseNorm, Statistics, Watched
from cloudchamber.interventions.places import Place, place_of

Cosine = Annotated[float, Field(ge=-1, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _NormConfig(Config):
    after: Annotated[list[str], Field(min_length=1)] | None = None
    """names or patterns of the layers after which a norm stands, before the activation; null = all but the last"""
    momentum: Share = 0.1
    """weight of a batch in the running averages"""
    eps: PositiveFloat = 1e-5
    """what is added to the variance"""


class BatchNormConfig(_NormConfig):
    """Batch norm (mlp2024, Appendix I.2); the baseline of Appendix K has `affine: false`."""

    name: Literal["batch_norm"] = "batch_norm"
    affine: bool = True
    """whether a scale and a shift per neuron are trained"""


class CenteringNormConfig(_NormConfig):
    """norm₁: batch norm without scale and shift (mlp2024, Appendix I.2)."""

    name: Literal["centering_norm"] = "centering_norm"


class PhaseNormConfig(_NormConfig):
    """Normalized by the batch in the first phase, by constants afterwards (mlp2024, Appendix K)."""

    name: Literal["phase_norm"] = "phase_norm"
    threshold: Cosine = 0.3
    """τ: the first phase is over once the smoothed mean cosine of the features is at most this"""
    start: Cosine = 1.0
    """a₀, where the smoothed mean cosine starts"""
    smoothing: Share = 0.99
    """weight of the smoothed mean cosine so far"""
    watched: Watched = "output"
    """whose mean cosine: what the layer computed (output), the same normalized, or ReLU of that (rectified)"""
    statistics: Statistics = "batch"
    """what the first phase normalizes by: mean and variance of the batch, or their running averages as constants"""
    once: bool = True
    """whether the end of the first phase is final"""


NormKind = BatchNormConfig | CenteringNormConfig | PhaseNormConfig
NormsConfig = Annotated[NormKind, Field(discriminator="name")]

_MODULES: dict[type[NormKind], type[nn.Module]] = {
    BatchNormConfig: BatchNorm,
    CenteringNormConfig: CenteringNorm,
    PhaseNormConfig: PhaseNorm,
}


def insert_norms(model: nn.Module, config: NormKind) -> dict[str, nn.Module]:
    """Put a norm after each of some layers of `model`, in place, so that activations take its output.

    In a module that runs its children in their order (`nn.Sequential`, `MLP`) the layers keep their names; the norm of
    the layer `linear3` is called `linear3_norm` and stands beside it. Anywhere else the layer `fc` becomes a
    `NormedLayer`, which holds it as `fc.layer` and its norm as `fc.norm`. Both are modules: they are in the
    `state_dict`, survive `copy.deepcopy`, and `remove_norms` takes them out again. What a layer computes, its gradient
    and its weight are observed as without the norm, and its feature is the activation of the normalized output.

    Phase and centering norms have nothing to train. Batch norm's scales and shifts are to be given to the optimizer.

    Args:
        model: any model whose layers are known; layers inside of torch's own composite modules (attention, LSTM,
            `nn.TransformerEncoderLayer`) get none.
        config: the kind of norm, its settings, and after which layers.

    Returns:
        The new norms by the name that their layer had, in the precision, on the device and in the mode of the layer.

    Raises:
        InvalidInput: if an entry of `after` matches no layer, or a layer has a norm already; the model stays as it was.
        Unsupported: if a norm cannot stand after a layer; likewise.

    >>> from cloudchamber.models import MLP
    >>> model = MLP(4, 3, depth=3, width=8)
    >>> _ = insert_norms(model, PhaseNormConfig(after=["linear1"]))
    >>> [name for name, _ in model.named_children()]
    ['linear1', 'linear1_norm', 'activation1', 'linear2', 'activation2', 'linear3']
    """
    norms = {name: _norm_after(chosen, config) for name, chosen in _layers(model, config.after).items()}
    places = {name: place_of(model, name) for name in norms}
    done: list[Place] = []
    try:
        for name, norm in norms.items():
            places[name].put(norm)
            done.append(places[name])
    except BaseException:
        for place in reversed(done):
            place.take()
        raise
    return norms


def normable_layers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the layers after which a norm can stand and none does, but for the last such layer.

    >>> normable_layers(nn.Sequential(nn.Linear(4, 3), nn.LSTM(3, 3), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)))
    ('0', '2')
    """
    able = [name for name, chosen in choose_views(model, None).items() if _able(chosen) and _has_place(model, name)]
    return tuple(able[:-1])


def _layers(model: nn.Module, after: Sequence[str] | None) -> dict[str, ChosenModule]:
    if after is not None:
        return choose_views(model, after)
    able = {name: chosen for name, chosen in choose_views(model, None).items() if _able(chosen)}
    hidden = dict(list(able.items())[:-1])
    require(len(hidden) > 0, "a model with norms has two layers or more", f"{len(able)}", "give it more layers")
    return hidden


def _has_place(model: nn.Module, name: str) -> bool:
    try:
        place_of(model, name)
    except (InvalidInput, Unsupported):
        return False
    return True


def _able(chosen: ChosenModule) -> bool:
    view = chosen.views[0]
    return chosen.composite is None and not view.exchanged and view.neuron_axis in (1, -1)


def _norm_after(chosen: ChosenModule, config: NormKind) -> nn.Module:
    if not _able(chosen):
        raise Unsupported(
            "a norm stands after a layer that computes one tensor of neurons (Linear, Conv); got "
            f"{chosen.name}, {type(chosen.module).__name__}. Remedy: leave it out of `after`."
        )
    view, settings = chosen.views[0], config.model_dump(exclude={"name", "after"})
    norm = _MODULES[type(config)](view.width, view.neuron_axis, **settings)
    return norm.to(next(chosen.module.parameters())).train(chosen.module.training)
