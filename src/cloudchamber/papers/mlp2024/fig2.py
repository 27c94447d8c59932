"""Figure 2: feature and gradient cosines of networks and data, and a very deep MLP that never leaves."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.mlp2024 import census, six_panels
from cloudchamber.papers.mlp2024.fig1 import NETWORKS as DEPTHS
from cloudchamber.papers.mlp2024.first_phase import end_of_phase
from cloudchamber.papers.mlp2024.recipes import SETTINGS, mlp, seeds
from cloudchamber.papers.mlp2024.sticking import lowest_loss
from cloudchamber.training import Recipe

LAYER = "linear3"
DATA = {"MLP, CIFAR-10": "cifar10", "MLP, MNIST": "mnist", "MLP, Census": "adult"}
WAITING: tuple[str, ...] = (
    *("VGG-11, CIFAR-10", "ResNet-18 and ResNet-34 without BN", "ViT without LN", "LSTM and MLP, text"),
)
DEEP = "very deep MLP"
_SOURCE = "mlp2024, Section 2 and Figure 2"


def _condenses(network: str) -> Claim:
    return Claim(
        network,
        "Features of different categories, and gradients within one, grow alike in the first phase, not after it.",
        "smallest rise and fall of feature_cosine and gradient_cosine of layer 3",
        "the paper's words; that 0.05 is the least that counts is ours",
        _SOURCE,
        at_least=six_panels.LEAST,
        seeds=1,
    )


CLAIMS = (
    *(_condenses(network) for network in (*DATA, *WAITING)),
    Claim(
        DEEP,
        "When networks are very deep the learning gets stuck: an extremely long first phase.",
        "lowest loss of the 12-layer MLP on CIFAR-10 over that of the best constant output",
        "the paper's words; sticking is docs/diagnosis.md's 1 %",
        _SOURCE,
        at_least=0.99,
        seeds=1,
    ),
)


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the 9-layer MLPs on three data sets, and the deepest one of Figure 1."""
    found: dict[str, Recipe] = {}
    for seed in seeds(scale, laptop=1):
        own = f"seed={seed}"
        found[f"MLP, CIFAR-10, seed {seed}"] = mlp("cifar10", scale, own)
        found[f"MLP, MNIST, seed {seed}"] = mlp("mnist", scale, own)
        found[f"MLP, Census, seed {seed}"] = mlp("adult", scale, "model.depth=7", own)
        found[f"{DEEP}, seed {seed}"] = mlp("cifar10", scale, *DEPTHS["12 layers"], own)
    return found


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure rises and falls of the built networks, and the lowest loss of the deep one."""
    of_network = {name: [run for key, run in runs.items() if key.startswith(f"{name},")] for name in (*DATA, DEEP)}
    numbers = {
        name: [min(six_panels.rise_and_fall(run, cosine, LAYER) for cosine in six_panels.COSINES) for run in of]
        for name, of in of_network.items()
        if name != DEEP
    }
    numbers[DEEP] = [lowest_loss(run) for run in of_network[DEEP]]
    why = dict.fromkeys(WAITING, "to be built: the network is no part of recipes yet")
    return Measured(numbers, _curves({name: of[0] for name, of in of_network.items()}), why)


def draw(shown: xr.Dataset) -> Figure:
    """Draw both cosines over the length of each network's first phase, and the deep network's loss."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for ax, cosine in zip(axes, six_panels.COSINES, strict=False):
        for name in DATA:
            one = shown.sel(network=name).dropna("place", subset=[cosine])
            ax.plot(one.phases, one[cosine], label=name)
        ax.axvline(1, color="#3a4654", linestyle=":", linewidth=0.9)
        ax.set_xlim(0, 2.5)
        ax.set_xlabel("iterations, in lengths of the first phase")
        ax.set_title(cosine.replace("_", " "), loc="left", fontsize="medium")
        ax.legend(frameon=False, fontsize="small")
    deep = shown.sel(network=DEEP)
    axes[2].plot(deep.iteration, deep.loss)
    axes[2].set_title(f"{DEEP} (12 layers), loss", loc="left", fontsize="medium")
    axes[2].set_xlabel("iteration")
    return figure


def _curves(runs: Mapping[str, Run]) -> xr.Dataset:
    """Return the curves of all networks side by side, by the number of the observation."""
    tables: list[xr.Dataset] = []
    for name, run in runs.items():
        found = run.record[[*six_panels.COSINES]].sel(layer=LAYER).reset_coords(drop=True)
        steps = found.step.values.astype(float)
        stop = end_of_phase(run, LAYER)
        found = found.assign(loss=run.record.probe_loss, iteration=("step", steps)).reset_coords(drop=True)
        found["phases"] = "step", steps / (steps[-1] if stop is None else stop)
        tables.append(found.drop_vars("step").rename(step="place").expand_dims(network=[name]))
    longest = max(table.sizes["place"] for table in tables)
    return xr.concat([table.pad(place=(0, longest - table.sizes["place"])) for table in tables], "network")


EXHIBIT = Exhibit(
    id="mlp2024/fig2",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    settings=f"{SETTINGS} Census as in Figure 14, 7 layers. One seed at laptop.",
    explanation=f"Census: {census.EXPLANATION}",
)
