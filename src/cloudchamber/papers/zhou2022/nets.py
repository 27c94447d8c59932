"""Small dense networks at initial training, many seeds as one stack: what is trained, and what is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.data import DigitsConfig, ImagesConfig, SinesConfig, load_data
from cloudchamber.interventions import NormalConfig, initialize
from cloudchamber.models import DenseConfig, DenseNet, build_model
from cloudchamber.papers.study import Study
from cloudchamber.training import Adam, LossRatio, Steps, TwoLayerNets, gradient_flow, train_ensemble

Pair = tuple[Tensor, Tensor]
_LOSSES_SHOWN = 400
_MOST_SAMPLES = 1000
_MOST_STEPS = 20_000


def wave(samples: int, seed: int) -> Pair:
    """Return x uniform in [−1, 1.5] and sin(3x) + sin(6x)/2 (zhou2022, Figure 5).

    >>> wave(40, 0)[1].shape
    torch.Size([40, 1])
    """
    x = -1 + 2.5 * torch.rand(samples, 1, dtype=torch.float32, generator=generator(seed, "data"))
    return x, torch.sin(3 * x) + torch.sin(6 * x) / 2


def samples_of(data: Mapping[str, Any], seed: int) -> Pair:
    """Return inputs and values: sines, the wave of Figure 5, or labels as vectors with a single 1 (MNIST, digits)."""
    said = dict(data)
    kind = said.pop("name")
    if kind == "wave":
        return wave(said["samples"], seed)
    if kind == "sines":
        set_ = load_data(SinesConfig.model_validate(dict(data)), seed)
        return set_.inputs, set_.targets
    images = (
        ImagesConfig.model_validate({"name": kind, "normalization": "scaled", **said}) if kind != "digits" else None
    )
    set_ = load_data(images or DigitsConfig(), seed)
    return set_.inputs.flatten(1), nn.functional.one_hot(set_.targets, set_.classes).float()


def trained_nets(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    data: Mapping[str, Any],
    activations: Sequence[str],
    width: int,
    std: float,
    lr: float,
    epochs: Sequence[int],
    seeds: int,
    residual: bool = False,
    first_seed: int = 0,
) -> xr.Dataset:
    """Train networks with Adam, full batch and squared error, one per seed; return their weights at some epochs.

    Data and initial weights are drawn anew for every seed; an epoch is an update.

    Args:
        folder: of the study.
        data: as `samples_of` takes it.
        activations: of the hidden layers.
        width: neurons of each.
        std: standard deviation of all weights and biases at the start.
        lr: learning rate.
        epochs: at which weights are kept, rising.
        seeds: how many.
        residual: whether hidden layers from the second on add their input.
        first_seed: the seeds are this and the next ones.
    """
    config, models, pairs = started(data, activations, width, std, range(first_seed, first_seed + seeds), residual)
    trained = train_ensemble(
        models, pairs, loss="mse", optimizer=Adam(lr=lr), steps=epochs[-1], snapshot_steps=tuple(epochs)
    )
    every = max(1, epochs[-1] // _LOSSES_SHOWN)
    kept = _kept(trained.snapshots, epochs, config, pairs)
    loss = xr.DataArray(trained.losses[:, ::every].numpy(), dims=("seed", "update"))
    return kept.assign(loss=loss).assign_coords(update=np.arange(0, epochs[-1], every))


def flowed_nets(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    data: Mapping[str, Any],
    activation: str,
    width: int,
    std: float,
    ratio: float,
    seeds: int,
) -> xr.Dataset:
    """Return what gradient flow makes of the same two-layer networks, without the output's bias, as epoch 1.

    It ends where the loss is a part of its start.

    Args:
        folder: of the study.
        data: as for `trained_nets`.
        activation: of the hidden layer.
        width: as for `trained_nets`.
        std: the same.
        ratio: at which loss over the first the flow ends.
        seeds: how many.
    """
    config, models, pairs = started(data, (activation,), width, std, range(seeds))
    ends = [two_layer_flow(model, pair, activation, ratio) for model, pair in zip(models, pairs, strict=True)]
    snapshots = {name: torch.stack([end[name] for end in ends]) for name in ends[0]}
    kept = _kept(snapshots, [0, 1], config, pairs)
    return kept.assign(loss=kept.loss_at.rename(epoch="update").drop_vars("update"))


def two_layer_flow(model: nn.Module, pair: Pair, activation: str, ratio: float) -> dict[str, Tensor]:
    """Return the start and end of the gradient flow of a two-layer network, (2, ...) by name.

    Without the output's bias, as in the paper's Eq. (1): it would take the mean of the values at once, and the loss
    with it, before any neuron moves.
    """
    held = {name: value.detach().double() for name, value in model.named_parameters()}
    x = torch.cat([pair[0], pair[0].new_ones(len(pair[0]), 1)], 1)
    inward = torch.cat([held["linear1.weight"], held["linear1.bias"][:, None]], 1)
    nets = TwoLayerNets(held["linear2.weight"], inward[None], activation=activation)
    flow = gradient_flow(nets, (x, pair[1][:, 0]), until=(LossRatio(ratio), Steps(_MOST_STEPS)))
    a, w = (torch.cat([first, flow.parameters[name]]) for first, name in ((nets.a, "a"), (nets.w, "w")))
    return {
        "linear1.weight": w[:, :, :-1],
        "linear1.bias": w[:, :, -1],
        "linear2.weight": a[:, None],
        "linear2.bias": a.new_zeros(2, 1),
    }


def started(
    data: Mapping[str, Any],
    activations: Sequence[str],
    width: int,
    std: float,
    seeds: Sequence[int],
    residual: bool = False,
) -> tuple[DenseConfig, list[nn.Module], list[Pair]]:
    """Return the kind of network, and for every seed the network at its start and the samples."""
    pairs = [samples_of(data, seed) for seed in seeds]
    fields = {"widths": (width,) * len(activations), "activations": tuple(activations), "residual": residual}
    config = DenseConfig.model_validate(fields)
    models = [build_model(config, tuple(x.shape[1:]), y.shape[1]) for x, y in pairs]
    for model, seed in zip(models, seeds, strict=True):
        initialize(model, NormalConfig(std=std), seed)
    return config, models, pairs


def _kept(
    snapshots: Mapping[str, Tensor], epochs: Sequence[int], config: DenseConfig, pairs: Sequence[Pair]
) -> xr.Dataset:
    """Weights and losses by seed and epoch, with the samples if they are few."""
    found: dict[str, Any] = {
        name: (("seed", "epoch", *(f"{name}.{axis}" for axis in range(values.ndim - 2))), values.numpy())
        for name, values in snapshots.items()
    }
    if len(pairs[0][0]) <= _MOST_SAMPLES:
        found["x"] = (("seed", "sample", "input"), torch.stack([x for x, _ in pairs]).numpy())
        found["y"] = (("seed", "sample", "output"), torch.stack([y for _, y in pairs]).numpy())
    found["loss_at"] = (("seed", "epoch"), _losses_at(snapshots, config, pairs))
    return xr.Dataset(found, {"epoch": list(epochs)}, {"config": config.model_dump_json()})


def _losses_at(snapshots: Mapping[str, Tensor], config: DenseConfig, pairs: Sequence[Pair]) -> np.ndarray:
    """The loss of each member at each epoch that was kept."""
    epochs = next(iter(snapshots.values())).shape[1]
    losses = np.empty((len(pairs), epochs))
    for member, (x, y) in enumerate(pairs):
        model = build_model(config, tuple(x.shape[1:]), y.shape[1])
        for place in range(epochs):
            state = {name: values[member, place].to(x) for name, values in snapshots.items()}
            with torch.no_grad():
                losses[member, place] = nn.functional.mse_loss(torch.func.functional_call(model, state, (x,)), y)
    return losses


def network(result: xr.Dataset, member: int, epoch: int) -> DenseNet:
    """Return a network as it was, in float64."""
    held = result.isel(seed=member).sel(epoch=epoch)
    state = {name: torch.from_numpy(held[name].values) for name in result if str(name).startswith("linear")}
    config = DenseConfig.model_validate_json(result.attrs["config"])
    outputs = held[f"linear{len(config.widths) + 1}.bias"].size
    model = DenseNet(
        held["linear1.weight"].shape[1],
        outputs,
        widths=config.widths,
        activations=config.activations,
        residual=config.residual,
    )
    model.load_state_dict({str(name): value for name, value in state.items()})
    return model.double()


def input_weights(result: xr.Dataset, layer: int, epoch: int) -> Float[np.ndarray, "seed h d"]:
    """Return the input weights of a layer's neurons, biases as the last column, for every seed."""
    held = result.sel(epoch=epoch)
    return np.concatenate([held[f"linear{layer}.weight"].values, held[f"linear{layer}.bias"].values[:, :, None]], 2)


def loss_ratio(result: xr.Dataset, epoch: int) -> np.ndarray:
    """Return, for every seed, the loss at an epoch over the first."""
    return result.loss_at.sel(epoch=epoch).values / result.loss.values[:, 0]


def nets(**settings: Any) -> Study:
    """Return the study of such networks; the settings are those of `trained_nets`."""
    return Study(trained_nets, settings)
