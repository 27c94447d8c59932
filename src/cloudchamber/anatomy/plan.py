"""A plan: what a first pass taught about a model, so that later ones need to look at much less.

The first pass follows every function that the model calls. If it turns out that every feature is what some module
returned, or what a layer received, then hooks on those modules are enough. A later pass checks as it goes that the
same modules were called in the same order, and that the graph node behind everything a layer receives and returns is
of the same kind (the activation is still the same function); if not, it is made again as a first one. For that check
it is made with a graph also where no gradients are wanted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from cloudchamber.anatomy.calls import AnyCall, call_suffixes
from cloudchamber.anatomy.chain import chain_of, is_untouched
from cloudchamber.anatomy.choice import ChosenModule
from cloudchamber.anatomy.snapshot import LayerSnapshot

MOST_CHANGES = 3
"""How many plans in a row may be found wrong soon before every pass is made as a first one."""
ENOUGH_SERVED = 10
"""After so many passes a plan was not found wrong soon."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a module that has a hook, in the order in which calls end.

    Attributes:
        module: the module.
        call: the number of the layer's call that this is; None for an activation.
        returned: numbers of the calls whose feature it returns.
        received: numbers of the calls whose feature it receives.
        nodes: kinds of the graph nodes of what it receives and returns; None = without a graph.
    """

    module: nn.Module
    call: int | None
    returned: tuple[int, ...]
    received: tuple[int, ...]
    nodes: tuple[type | None, type | None]

    @property
    def shows(self) -> bool:
        """Whether anything is to be seen of it."""
        return self.call is not None or bool(self.returned or self.received)


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call of a layer as the plan expects it.

    Attributes:
        chosen: the module with its views.
        activation: the name of its activation.
        next: the number of the call that receives its feature; None = no call.
        function: which of the functions that were reported for this call is the feature, and how many were; None where
            a module returns or receives the feature.
        key: the name of its snapshot, where it is of one layer.
    """

    chosen: ChosenModule
    activation: str
    next: int | None
    function: tuple[int, int] | None
    key: str


@dataclass
class Plan:
    """What is known about the passes of a model.

    Attributes:
        modules: all modules of the model.
        chosen: the observed ones.
        training_mode: how the model was run.
        steps: the calls of the modules that need a hook.
        calls: the calls of the layers.
        unusable: modules that cannot be observed, with the reason.
        fields: fields for which it is known whether the model overwrites them in place.
        copied: numbers of calls and fields that it overwrites.
        plain: whether it was learned of a call of the whole model, whose modules receive what they take by position.
        changes: how many plans before this one were found wrong soon.
        served: how many passes went as planned.
        wrong: whether a pass did not.
        witness: the number of a call whose output's gradient shows that a backward pass was made; None = not known.
        heavy: whether the model overwrites features, or they are too large, for a pass to keep them to its end.
    """

    modules: tuple[nn.Module, ...]
    chosen: Mapping[str, ChosenModule]
    training_mode: bool
    steps: tuple[Step, ...]
    calls: tuple[PlannedCall, ...]
    unusable: Mapping[str, str]
    fields: frozenset[str]
    copied: frozenset[tuple[int, str]]
    plain: bool = False
    changes: int = 0
    served: int = 0
    wrong: bool = False
    witness: int | None = None
    heavy: bool = False

    @property
    def lean(self) -> bool:
        """Whether notes of what its modules receive and return are enough to know the features of a pass."""
        if self.heavy or not self.plain or self.witness is None or self.follows_functions or self.composites:
            return False
        return all(name != "features" for _, name in self.copied)

    @property
    def changes_of_next(self) -> int:
        """What `changes` is in the plan that replaces this one because it was found wrong."""
        return self.changes + 1 if self.served < ENOUGH_SERVED else 0

    @cached_property
    def follows_functions(self) -> bool:
        """Whether some feature is neither returned nor received by a module."""
        return any(call.function is not None for call in self.calls)

    @cached_property
    def composites(self) -> bool:
        """Whether some call is of a module that is computed once more."""
        return any(call.chosen.composite is not None for call in self.calls)

    @cached_property
    def empty_snapshots(self) -> Mapping[str, LayerSnapshot]:
        """A snapshot of every plain layer, without tensors."""
        plain = [call for call in self.calls if call.chosen.composite is None]
        return {
            call.key: LayerSnapshot(
                call.chosen.views[0],
                call.chosen.views[0].activation or call.activation,
                "" if call.next is None else self.calls[call.next].key,
            )
            for call in plain
        }

    @cached_property
    def hooked(self) -> tuple[nn.Module, ...]:
        """The modules that need a hook: those of the steps, and those to observe that were not called so far."""
        return tuple(dict.fromkeys([step.module for step in self.steps] + [c.module for c in self.chosen.values()]))

    @cached_property
    def _chain(self) -> tuple[Step, ...] | None:
        """A step for every module of a chain, also for those that show nothing; None where the model is no chain."""
        chain = None if self.follows_functions or self.copied else chain_of(self.modules[0])
        steps, at = [], 0
        for module in chain or ():
            shows = at < len(self.steps) and self.steps[at].module is module
            steps.append(self.steps[at] if shows else Step(module, None, (), (), (None, None)))
            at += shows
        return tuple(steps) if chain is not None and at == len(self.steps) else None

    @property
    def chain(self) -> tuple[Step, ...] | None:
        """The modules that the model calls one after the other and nothing else; None if it may do anything else."""
        return self._chain if self._chain is not None and is_untouched(self.modules) else None

    @cached_property
    def _children(self) -> list[nn.Module | None]:
        return _children_of(self.modules)

    def holds_for(self, model: nn.Module, chosen: Mapping[str, ChosenModule], *, training: bool) -> bool:
        """Whether the plan was made for this model, with the modules that it has now."""
        return (
            not self.wrong
            and self.changes < MOST_CHANGES
            and self.training_mode == training
            and self.chosen is chosen
            and self.modules[0] is model
            and _children_of(self.modules) == self._children
        )


def _children_of(modules: Sequence[nn.Module]) -> list[nn.Module | None]:
    return [child for module in modules for child in module._modules.values()]


@dataclass(slots=True)
class Ended:
    """A call of a module that ended: the number of the layer's call if it is one, and the nodes around it."""

    module: nn.Module
    call: int | None
    nodes: tuple[type | None, type | None]


@dataclass(slots=True)
class Source:
    """Where the feature of a call was seen, and how many functions were reported for it.

    Attributes:
        own: the end of the layer's own call.
        last: number of the function that made the feature; 0 = the layer itself.
        reported: how many functions were reported.
        returned: the first module that returned it; None = none did.
        received: the first layer that received it; None = none did.
    """

    own: Ended
    last: int = 0
    reported: int = 0
    returned: Ended | None = None
    received: Ended | None = None

    @property
    def place(self) -> Ended | None:
        """The call of a module that shows the feature: rather a layer than another module, as it has a hook anyway."""
        return self.received or self.returned if self.last else self.own


def learned_steps(
    ended: Sequence[Ended], sources: Sequence[Source], chosen: Mapping[str, ChosenModule]
) -> tuple[Step, ...]:
    """Return the calls of the modules that need a hook, with what each shows."""
    returned: dict[int, list[int]] = defaultdict(list)
    received: dict[int, list[int]] = defaultdict(list)
    needed = {entry.module for entry in chosen.values()}
    for number, source in enumerate(sources):
        if source.place is not None:
            (received if source.place is source.received else returned)[id(source.place)].append(number)
            needed.add(source.place.module)
    return tuple(
        Step(each.module, each.call, tuple(returned[id(each)]), tuple(received[id(each)]), each.nodes)
        for each in ended
        if each.module in needed
    )


def planned_calls(calls: Sequence[AnyCall], sources: Sequence[Source]) -> tuple[PlannedCall, ...]:
    """Return what the plan expects of every call."""
    return tuple(
        PlannedCall(
            call.chosen,
            call.activation,
            call.next,
            None if source.place else (source.last, source.reported),
            call.chosen.views[0].name + suffix,
        )
        for call, suffix, source in zip(calls, call_suffixes(calls), sources, strict=True)
    )


def node_kind(tensor: object) -> type | None:
    """Return the kind of the graph node that made a tensor; None without one."""
    return type(tensor.grad_fn) if isinstance(tensor, Tensor) and tensor.grad_fn is not None else None
