"""Which way gradients are computed, decided once for an ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import Unsupported, require
from cloudchamber._core.seeding import preserved_random_state
from cloudchamber.training.ensemble.dense.chain import DenseChain, dense_chain
from cloudchamber.training.ensemble.dense.compiled import can_compile, compiled_step
from cloudchamber.training.ensemble.dense.gradients import DenseGradients, TanhName
from cloudchamber.training.ensemble.gradients import Gradients, Loss, VmapGradients
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.members import Members
from cloudchamber.training.ensemble.optimizers import Optimizer
from cloudchamber.training.ensemble.randomness import MemberRandomness
from cloudchamber.training.ensemble.step import PlainStep, Step
from cloudchamber.training.ensemble.trial import Trial, reason_of, try_first

PathName = Literal["auto", "vmap", "dense"]
Pair = tuple[Tensor, Tensor]

_WORTH_COMPILING = {"exact": 10_000_000, "rational": 400_000}
"""Updates, of all members together, from which on compiling (2–6 s) costs less than it saves, by kind of tanh."""


@dataclass(frozen=True)
class Wish:
    """What a caller asks for.

    Attributes:
        path: "dense", "vmap", or "auto": the former where it can be.
        compile: whether steps are compiled, or "auto": where it can be and pays.
        tanh: "exact" or "rational".
    """

    path: PathName = "auto"
    compile: Literal["auto"] | bool = "auto"
    tanh: TanhName = "exact"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("path", self.path, ("auto", "dense", "vmap")),
            ("compile", self.compile, ("auto", True, False)),
            ("tanh", self.tanh, ("exact", "rational")),
        ):
            require(value in known, f"`{name}` is one of {known}", repr(value), "choose one of them")


@dataclass(frozen=True)
class Path:
    """How the gradients of an ensemble are computed.

    Attributes:
        module: the architecture.
        layout: of its trained parameters.
        loss: of one member.
        trial: what a call of the module showed.
        device: where the members are.
        chain: the module as a dense chain, for the dense path.
        tanh: of the dense path.
        compiled: whether steps are compiled.
    """

    module: nn.Module
    layout: Layout
    loss: Loss
    trial: Trial
    device: torch.device
    chain: DenseChain | None = None
    tanh: TanhName = "exact"
    compiled: bool = False

    def gradients(self, fixed: Mapping[str, Tensor], per_member: bool, seeds: Sequence[int]) -> Gradients:
        """Return the gradients of some members; their seeds start what they draw at random."""
        if self.chain is not None:
            return DenseGradients(self.chain, self.layout, self.loss, per_member, self.tanh, fixed)
        random = MemberRandomness(seeds, self.trial.draws, self.device)
        return VmapGradients(self.module, self.layout, self.loss, per_member, fixed, random)

    def step(self, gradients: Gradients, optimizer: Optimizer) -> Step:
        """Return the step with these gradients."""
        if self.compiled and isinstance(gradients, DenseGradients):
            return compiled_step(gradients, optimizer)
        return PlainStep(gradients, optimizer)


def choose_path(members: Members, loss: Loss, wish: Wish, batch: Pair, steps: int) -> Path:
    """Call the first member once, and choose how the gradients are computed.

    Args:
        members: the ensemble.
        loss: of one member.
        wish: what is asked for.
        batch: inputs and targets of one member.
        steps: updates at most.

    Raises:
        InvalidInput: if data, model and loss do not fit each other.
        Unsupported: if what is asked for cannot be done with this model.
    """
    general = Path(members.template, members.layout, loss, try_first(members, loss, batch), members.flat.device)
    chain = "`path` is 'vmap'" if wish.path == "vmap" else _chain(general, members.fixed, batch)
    if isinstance(chain, DenseChain):
        compiled = _compiled(wish, len(members) * steps, members.flat.device)
        return replace(general, chain=chain, tanh=wish.tanh, compiled=compiled)
    if wish.path == "dense" or wish.tanh == "rational" or wish.compile is True:
        raise Unsupported(
            f"the dense path, which alone has a rational tanh and is compiled, takes chains of linear layers; got: "
            f"{chain}. Remedy: path='vmap' or 'auto', with tanh='exact' and compile='auto'."
        )
    _try_gradients(general, members, batch)
    return general


def _chain(path: Path, fixed: Mapping[str, Tensor], batch: Pair) -> DenseChain | str:
    """Return the module as a chain that takes such samples, or the reason why not."""
    chain = dense_chain(path.module)
    if isinstance(chain, str):
        return chain
    return DenseGradients(chain, path.layout, path.loss, False, "exact", fixed).misfit(*batch) or chain


def _compiled(wish: Wish, updates: int, device: torch.device) -> bool:
    """Whether steps are compiled: a function of the ensemble, and of whether there is a compiler."""
    if wish.compile == "auto":
        return device.type == "cpu" and updates >= _WORTH_COMPILING[wish.tanh] and can_compile()
    require(
        not wish.compile or can_compile(),
        "compiling needs a C++ compiler",
        "none that torch finds",
        "install g++, or pass compile='auto'",
    )
    return wish.compile


def _try_gradients(path: Path, members: Members, batch: Pair) -> None:
    """Compute the first member's gradients once, so that what cannot be done is said at once."""
    one = members.some(torch.zeros(1, dtype=torch.long))
    try:
        with preserved_random_state([path.device]):
            path.gradients(one.fixed, False, (0,))(one.flat, *batch, torch.empty_like(one.flat))
    except RuntimeError as error:
        raise Unsupported(
            f"an ensemble calls its model through torch.func.vmap; got {reason_of(error)!r}. "
            "Remedy: replace what torch.func cannot do, or train the models one by one."
        ) from error
