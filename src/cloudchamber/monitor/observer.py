"""The observer: a model, a probe and the chosen measures, ready to be applied at any step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import Unsupported
from cloudchamber._core.record import Later, Observation
from cloudchamber._core.registry import quantities
from cloudchamber._core.schema import Frame, LayerInfo
from cloudchamber.anatomy import (
    FIELDS,
    Capture,
    ChosenModule,
    Forward,
    LayerSnapshot,
    LayerView,
    Plan,
    capture,
    coverage_table,
    undisturbed,
)
from cloudchamber.anatomy.quiet import apart
from cloudchamber.measures import Measure, isotropic_groups
from cloudchamber.monitor.environment import environment
from cloudchamber.monitor.evaluate import Due, Evaluation, fields_needed, scalars
from cloudchamber.monitor.history import History, with_history
from cloudchamber.monitor.losses import Loss, Reduction, SampleLoss, constant_predictor_loss, detect_reduction
from cloudchamber.monitor.network_kernel import kernel_source
from cloudchamber.monitor.positions import Positions
from cloudchamber.monitor.probe import Probe, image_neurons, image_samples
from cloudchamber.monitor.wrappers import device_of_model


@dataclass(frozen=True)
class Target:
    """What is observed.

    Attributes:
        model: the user's model.
        layers: the modules to observe.
        probe: the samples.
        training_mode: whether the model runs as in training.
        forward: calls the model.
        positions: which positions of sequences make up features.
        plans: what the last pass taught, to save work in later ones.
    """

    model: nn.Module
    layers: Mapping[str, ChosenModule]
    probe: Probe
    training_mode: bool
    forward: Forward
    positions: Positions = field(default_factory=Positions)
    plans: list[Plan] = field(default_factory=list)

    def on_device(self) -> Target:
        """Return the target with its probe where the model is now."""
        device = device_of_model(self.model)
        return replace(self, probe=self.probe.to(device), positions=self.positions.to(device))

    def capture(
        self,
        summed_loss: Callable[[Tensor], Tensor],
        fields: Iterable[str],
        *,
        shuffled: bool = False,
        kernel_samples: Tensor | None = None,
        calm: bool = False,
    ) -> Capture:
        """Run the probe once through the model, as it is or shuffled."""
        seen = capture(
            self.model,
            (self._shuffled if shuffled else self.probe).inputs,
            summed_loss,
            layers=self.layers,
            fields=FIELDS.intersection(fields),
            training_mode=self.training_mode,
            forward=self.forward,
            plan=self.plans[0] if self.plans else None,
            kernel_samples=kernel_samples,
            calm=calm,
        )
        self.plans[:] = [seen.plan]
        if self.positions.choice == "all":
            return seen
        return replace(seen, layers={key: self.of_positions(layer) for key, layer in seen.layers.items()})

    @cached_property
    def _shuffled(self) -> Probe:
        return self.probe.shuffled()

    def of_positions(self, layer: LayerSnapshot) -> LayerSnapshot:
        """Return the snapshot with the features, and their gradients, of the positions that count."""
        if self.positions.choice == "all":
            return layer
        features, gradients = (
            self.positions.of_features(tensor, layer.view) for tensor in (layer.features, layer.feature_gradients)
        )
        return replace(layer, features=features, feature_gradients=gradients)


@dataclass(frozen=True)
class Observer:
    """A target with everything that is fixed before the first observation."""

    target: Target
    sample_loss: SampleLoss
    evaluation: Evaluation
    frame: Frame
    views: Mapping[str, LayerView]
    history: History | None = None

    @classmethod
    def prepared(
        cls,
        target: Target,
        loss: Loss,
        reduction: Reduction | None,
        measures: tuple[Measure, ...],
        image_count: int,
        recipe: str,
        history: History | None = None,
    ) -> Observer:
        """Look at the model once: which layers are called, how many classes, how the loss reduces.

        Raises:
            Unsupported: if none of the layers can be observed.
        """
        with undisturbed(target.probe.device):
            seen = target.capture(lambda outputs: outputs.new_zeros(()), fields_needed(measures) | {"weight"})
            _require_layers(target, seen)
            classes = target.probe.classes(seen.outputs)
            targets = target.probe.targets
            sample_loss = SampleLoss(loss, targets, reduction or detect_reduction(loss, seen.outputs, targets))
            evaluation = _evaluation(measures, seen, classes, target, image_count)
            frame = _frame(target, sample_loss, evaluation, seen, classes, recipe)
        views = {key: layer.view for key, layer in seen.layers.items()}
        return cls(target, sample_loss, evaluation, frame, views, history)

    def observe(self, step: int, *, images: bool, rare: bool, **extra: float | None) -> Observation:
        """Measure now; `extra` holds numbers that the training loop knows (train_loss, epoch)."""
        due, null = self.evaluation.due(images=images, rare=rare)
        calm = due.is_calm and not null.measures and self.history is None and self.sample_loss.is_calm
        device = self.target.probe.device
        with apart(device) if calm else undisturbed(device, compiled=True):
            seen, shuffled = self.captures(due, null)
            with torch.no_grad():
                if self.history is not None:
                    self.history.update(step, seen.layers, self.evaluation.labels)
                values = self.evaluation.values(seen, images=images, rare=rare, shuffled=shuffled)
        loss = seen.loss / len(self.target.probe.targets)
        return Observation(step, Later(lambda: {**values, **scalars(probe_loss=loss, **extra)}))

    def captures(self, due: Due, null: Due) -> tuple[Capture, Capture | None]:
        """Run the probe through the model, and the shuffled one if measures of that are due."""
        straight = with_history(due.fields, self.history)
        few = self.evaluation.few if "per_output_gradients" in straight else None
        seen = self.target.capture(self.sample_loss.summed, straight, kernel_samples=few, calm=self.sample_loss.is_calm)
        if not null.measures:
            return seen, None
        return seen, self.target.capture(self.sample_loss.summed, null.fields, shuffled=True)


def _require_layers(target: Target, seen: Capture) -> None:
    if not seen.layers:
        rows = coverage_table(target.model, (), target.layers, seen.unusable)
        reasons = "; ".join(f"{row.module} is {row.coverage}" for row in rows[:5])
        raise Unsupported(
            f"at least one layer can be observed on the probe; got none: {reasons}. "
            "Remedy: observe a model that calls its layers as modules, one row per sample."
        )


def _evaluation(
    measures: tuple[Measure, ...], seen: Capture, classes: int, target: Target, image_count: int
) -> Evaluation:
    labels = target.probe.labels(classes)
    initial = "initial_weight" in fields_needed(measures)
    return Evaluation(
        measures=tuple(measure for measure in measures if classes or not measure.needs_classes),
        layers=tuple(seen.layers),
        labels=labels,
        samples=image_samples(labels, image_count),
        neurons={key: image_neurons(layer.view.width) for key, layer in seen.layers.items()},
        initial_weights={key: _weight(layer).clone() for key, layer in seen.layers.items()} if initial else {},
        targets=target.probe.numbers(classes, seen.outputs),
        kernel_source=kernel_source(target.model, target.layers, target.forward, target.probe.inputs),
    )


def _frame(
    target: Target, sample_loss: SampleLoss, evaluation: Evaluation, seen: Capture, classes: int, recipe: str
) -> Frame:
    measured = {layer.view.name for layer in seen.layers.values()}
    shown = evaluation.labels[evaluation.samples.to(evaluation.labels.device)]
    return Frame(
        layers=tuple(_layer_info(key, layer) for key, layer in seen.layers.items()),
        coverage=coverage_table(target.model, measured, target.layers, seen.unusable),
        classes=classes,
        quantities=quantities(),
        sample_classes=tuple(shown.tolist()) if classes else (-1,) * len(shown),
        neuron_ids=tuple(tuple(evaluation.neurons[key].tolist()) for key in seen.layers),
        constants=_constants(sample_loss, evaluation, seen),
        recipe=recipe,
        environment=environment(target.probe.device),
    )


def _constants(sample_loss: SampleLoss, evaluation: Evaluation, seen: Capture) -> dict[str, Any]:
    constants: dict[str, Any] = {"constant_predictor_loss": constant_predictor_loss(sample_loss, seen.outputs)}
    if any(measure.name == "effective_width" for measure in evaluation.measures):
        constants["effective_width_null"] = [isotropic_groups(*_weight(layer).shape) for layer in seen.layers.values()]
    return constants


def _layer_info(key: str, layer: LayerSnapshot) -> LayerInfo:
    return LayerInfo(key, layer.view.layer_type, layer.view.width, layer.view.fan_in, layer.activation)


def _weight(layer: LayerSnapshot) -> Tensor:
    return layer.view.neurons() if layer.weight is None else layer.weight
