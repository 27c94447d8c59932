"""The networks of Figures 2 and 14: the first fully connected layer after a ResNet's convolutions condenses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudchamber.papers.exhibit import Scale
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.papers.zhou2022.heatmaps import COUNT, Panel
from cloudchamber.papers.zhou2022.resnets import study

UPDATES: Mapping[Scale, int] = {"smoke": 8, "laptop": 240}
PER_EPOCH = 390
SETTINGS = (
    "ResNet-18 with batch norms, convolutions Glorot normal, FC 1024-1024-10 from N(0, 1/m_out³) with zero biases, "
    "Adam, batch 128, cross entropy, images not augmented. Laptop: a quarter of the channels (16 to 128), 240 updates "
    f"with a learning rate that gives the paper's product of rate and updates. {COUNT}"
)


@dataclass(frozen=True)
class Network:
    """A panel of Figure 2: activation of the head, learning rate, epochs, and what the paper sees."""

    activation: str
    lr: float
    epochs: int
    lines: int
    signed: bool = False


NETWORKS = (
    Network("tanh", 3e-8, 20, 1),
    Network("sigmoid", 1e-8, 30, 1, signed=True),
    Network("softplus", 1e-8, 30, 1, signed=True),
    Network("xtanh", 5e-6, 61, 2),
)


def studies(scale: Scale, networks: tuple[Network, ...] = NETWORKS, data: str = "cifar10") -> dict[str, Study]:
    """Return the studies of such networks, by activation."""
    return {one.activation: _study(one, scale, data) for one in networks}


def _study(one: Network, scale: Scale, data: str) -> Study:
    planned = one.epochs * PER_EPOCH
    updates = UPDATES.get(scale, planned)
    return study(
        scale,
        data="digits" if scale == "smoke" else data,
        activation=one.activation,
        initialization="N(0, 1/m_out³)",
        rates=((updates, one.lr * planned / updates),),
        snapshots=[updates * part // 8 for part in (0, 1, 3, 5, 8)],
        seed=0,
    )


def panel(one: Network, run: StudyRun, place: int, name: str = "") -> Panel:
    """Return the heatmap of a network after its snapshot number `place` (−1 = the last)."""
    found = run.result.isel(snapshot=place)
    step = int(found.snapshot)
    loss = run.result.loss.values
    ratio = loss[max(step - 10, 0) : step].mean() / loss[0] if step else 1.0
    return Panel(
        name or one.activation,
        found.weight.values[None],
        one.lines,
        one.signed,
        note=f"update {step}, loss {ratio:.1%}",
    )
