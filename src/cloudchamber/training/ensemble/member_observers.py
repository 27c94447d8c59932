"""Observing members one after the other, as a monitor would each: what cannot be done for all at once, and the twin of
what can.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber._core.record import Values
from cloudchamber.anatomy import Capture, Forward, choose_views, undisturbed
from cloudchamber.measures import Measure
from cloudchamber.monitor.evaluate import Due, Evaluation, fields_needed
from cloudchamber.monitor.losses import Loss, Reduction, SampleLoss, constant_predictor_loss
from cloudchamber.monitor.monitor import OWN_LOOP
from cloudchamber.monitor.network_kernel import kernel_source
from cloudchamber.monitor.observer import Observer, Target
from cloudchamber.monitor.positions import PositionChoice, Positions
from cloudchamber.monitor.probe import image_samples
from cloudchamber.monitor.wrappers import unwrapped
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.probes import Probes
from cloudchamber.training.ensemble.watch import Watch


@dataclass(frozen=True)
class How:
    """How members are observed, beside what `Watch` says; the words are those of `cloudchamber.Monitor`.

    Attributes:
        loss: takes (outputs, targets), with any reduction.
        measures: the chosen ones.
        forward: calls a member.
        positions: which positions of a sequence make up a feature.
        reduction: "mean", "sum" or "none"; None = found out by trying.
    """

    loss: Loss
    measures: tuple[Measure, ...]
    forward: Forward
    positions: PositionChoice
    reduction: Reduction | None


@dataclass
class MemberObservers:
    """One model that takes the weights of one member after the other, and an observer of it for each.

    Attributes:
        layout: where the weights are in a row.
        probes: what the members are observed on.
        single: the observer of the first member; all others look at the same layers.
        outputs: (n, ...) zeros like a member's outputs.
        image_samples: number of samples in the cosine images.
        initial: the weights at the start, by member and layer, where a measure takes them and the member was observed.
    """

    layout: Layout
    probes: Probes
    single: Observer
    outputs: Tensor
    image_samples: int
    initial: dict[int, dict[str, Tensor]] = field(default_factory=lambda: defaultdict(dict))
    _made: dict[int, Observer] = field(default_factory=dict)

    @classmethod
    def prepared(
        cls,
        module: nn.Module,
        layout: Layout,
        watch: Watch,
        how: How,
        probes: Probes,
        row: Tensor,
        fixed: Mapping[str, Tensor],
        member: int,
    ) -> MemberObservers:
        """Look at one member once, with its weights in a copy of the module.

        Args:
            module: the architecture.
            layout: where the weights are in a row.
            watch: what is observed.
            how: how.
            probes: on what.
            row: (P,) the weights of the member.
            fixed: its buffers and parameters that are not trained, by name.
            member: its number.

        Raises:
            Unsupported: if none of the layers can be observed.
        """
        model = copy.deepcopy(unwrapped(module)).to(device=row.device, dtype=row.dtype)
        _load(model, layout.views(row) | dict(fixed))
        probe = probes.of_member(member)
        places = Positions.of(how.positions, probes.samples)
        target = Target(model, choose_views(model, watch.layers), probe, False, how.forward, places)
        recipe = watch.recipe or OWN_LOOP
        options = (how.loss, how.reduction, how.measures, watch.image_samples, recipe)
        single = Observer.prepared(target, *options)
        with undisturbed(row.device):
            outputs = torch.zeros_like(single.captures(Due(()), Due(()))[0].outputs)
        return cls(layout, probes, single, outputs, watch.image_samples)

    @property
    def needs_initial(self) -> bool:
        """Whether a measure takes the weights at the start."""
        return "initial_weight" in fields_needed(self.single.evaluation.measures)

    def load(self, row: Tensor, fixed: Mapping[str, Tensor]) -> None:
        """Give the model the weights of a member."""
        _load(self.single.target.model, self.layout.views(row) | dict(fixed))

    def observe(self, step: int, member: int, *, images: bool, rare: bool) -> Values:
        """Return what a monitor of the member, whose weights are loaded, measures."""
        if self.needs_initial and not self.initial[member]:
            self.initial[member].update({key: view.neurons().clone() for key, view in self.single.views.items()})
        return self.observer(member).observe(step, images=images, rare=rare).values

    def evaluated(
        self,
        member: int,
        seen: Capture,
        null: Capture | None,
        measures: tuple[Measure, ...],
        *,
        images: bool,
        rare: bool,
    ) -> Values:
        """Return some measures of what a pass of the member showed; its weights are loaded."""
        evaluation = replace(self.observer(member).evaluation, measures=measures)
        return evaluation.values(seen, images=images, rare=rare, shuffled=null)

    def observer(self, member: int) -> Observer:
        """Return the observer of a member; it knows the weights at the start once they are in `initial`."""
        if member not in self._made:
            self._made[member] = self._observer(member)
        return self._made[member]

    def sample_classes(self, member: int) -> tuple[int, ...]:
        """Return the classes of the samples of the cosine images of a member."""
        evaluation = self.observer(member).evaluation
        shown = evaluation.labels[evaluation.samples.to(evaluation.labels.device)]
        return tuple(shown.tolist()) if self.single.frame.classes else (-1,) * len(shown)

    def constant_loss(self, member: int) -> float:
        """Return the loss of the best constant output on a member's probe."""
        return constant_predictor_loss(self.observer(member).sample_loss, self.outputs)

    def _observer(self, member: int) -> Observer:
        single, initial = self.single, self.initial[member]
        if not self.probes.own:
            given = single.evaluation
            return replace(single, evaluation=_fresh(given, given.labels, given.samples, given.targets, initial))
        probe = self.probes.of_member(member)
        target = replace(single.target, probe=probe)
        sample_loss = SampleLoss(single.sample_loss.loss, probe.targets, single.sample_loss.reduction)
        return replace(single, target=target, sample_loss=sample_loss, evaluation=self._own_evaluation(member, target))

    def _own_evaluation(self, member: int, target: Target) -> Evaluation:
        """Return the evaluation of a member with a probe of its own."""
        classes, given = self.single.frame.classes, self.single.evaluation
        counted = target.probe.classes(self.outputs)
        require(
            counted == classes,
            "probes of members are of one kind",
            f"{counted} classes of member {member} and {classes} of another",
            "pass labels, or numbers, for all",
        )
        labels = target.probe.labels(classes)
        samples = image_samples(labels, self.image_samples)
        require(
            len(samples) == len(given.samples),
            "cosine images show as many samples of each member",
            f"{len(samples)} of member {member} and {len(given.samples)} of another",
            "pass probes with as many samples of each class",
        )
        source = kernel_source(target.model, target.layers, target.forward, target.probe.inputs)
        numbers = target.probe.numbers(classes, self.outputs)
        return replace(_fresh(given, labels, samples, numbers, self.initial[member]), kernel_source=source)


def _fresh(
    given: Evaluation, labels: Tensor, samples: Tensor, targets: Tensor | None, initial: Mapping[str, Tensor]
) -> Evaluation:
    """Return an evaluation of the same measures and layers that remembers nothing yet."""
    return Evaluation(
        measures=given.measures,
        layers=given.layers,
        labels=labels,
        samples=samples,
        neurons=given.neurons,
        initial_weights=initial,
        targets=targets,
        kernel_source=given.kernel_source,
    )


def _load(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    held = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, tensor in tensors.items():
            held[name].copy_(tensor)
