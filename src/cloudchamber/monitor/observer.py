"""The observer: a model, a probe and the chosen measures, ready to be applied at any step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import Unsupported
from cloudchamber._core.record import Observation
from cloudchamber._core.registry import quantities
from cloudchamber._core.schema import Frame, LayerInfo
from cloudchamber.anatomy import Capture, LayerSnapshot, capture, coverage, layer_type_of, undisturbed
from cloudchamber.measures import Measure, isotropic_groups
from cloudchamber.monitor.environment import environment
from cloudchamber.monitor.evaluate import Evaluation, fields_needed, scalars
from cloudchamber.monitor.losses import Loss, Reduction, SampleLoss, constant_predictor_loss, detect_reduction
from cloudchamber.monitor.probe import Probe, image_neurons, image_samples


@dataclass(frozen=True)
class Target:
    """What is observed: the model, the chosen layers, the mode of the forward pass, and fields it overwrites."""

    model: nn.Module
    layers: Mapping[str, nn.Module]
    probe: Probe
    training_mode: bool
    copied: frozenset[str] = frozenset()

    def capture(self, summed_loss: Callable[[Tensor], Tensor], fields: frozenset[str]) -> Capture:
        """Run the probe once through the model."""
        return capture(
            self.model,
            self.probe.inputs,
            summed_loss,
            layers=self.layers,
            fields=fields,
            training_mode=self.training_mode,
            copied=self.copied,
        )


@dataclass(frozen=True)
class Observer:
    """A target with everything that is fixed before the first observation."""

    target: Target
    sample_loss: SampleLoss
    evaluation: Evaluation
    frame: Frame

    @classmethod
    def prepared(
        cls,
        target: Target,
        loss: Loss,
        reduction: Reduction | None,
        measures: tuple[Measure, ...],
        image_count: int,
        recipe: str,
    ) -> Observer:
        """Look at the model once: which layers are called, how many classes, how the loss reduces.

        Raises:
            Unsupported: if none of the layers can be observed.
        """
        with undisturbed(target.probe.inputs.device):
            seen = target.capture(lambda outputs: outputs.new_zeros(()), fields_needed(measures))
            _require_layers(target, seen)
            classes = target.probe.classes(seen.outputs)
            targets = target.probe.targets
            sample_loss = SampleLoss(loss, targets, reduction or detect_reduction(loss, seen.outputs, targets))
            evaluation = _evaluation(measures, seen, classes, target.probe, image_count)
            frame = _frame(target, sample_loss, evaluation, seen, classes, recipe)
        return cls(replace(target, copied=seen.copied), sample_loss, evaluation, frame)

    def observe(self, step: int, *, images: bool, **extra: float | None) -> Observation:
        """Measure now; `extra` holds numbers that the training loop knows (train_loss, epoch)."""
        wanted = [m for m in self.evaluation.measures if images or not m.at_image_steps]
        with undisturbed(self.target.probe.inputs.device):
            seen = self.target.capture(self.sample_loss.summed, fields_needed(wanted))
            with torch.no_grad():
                values = self.evaluation.values(seen, images=images)
        loss = seen.loss / len(self.target.probe.targets)
        return Observation(step, values | scalars(probe_loss=loss, **extra))


def _require_layers(target: Target, seen: Capture) -> None:
    if not seen.layers:
        rows = coverage(target.model, (), target.layers, dict(seen.unusable))
        reasons = "; ".join(f"{row.module} is {row.coverage}" for row in rows[:5])
        raise Unsupported(
            f"at least one layer can be observed on the probe; got none: {reasons}. "
            "Remedy: observe a model that calls its layers as modules, one row per sample."
        )


def _evaluation(
    measures: tuple[Measure, ...], seen: Capture, classes: int, probe: Probe, image_count: int
) -> Evaluation:
    labels = probe.labels(classes)
    initial = "initial_weight" in fields_needed(measures)
    return Evaluation(
        measures=tuple(measure for measure in measures if classes or measure.scope == "layer"),
        layers=tuple(seen.layers),
        labels=labels,
        samples=image_samples(labels, image_count),
        neurons={key: image_neurons(layer.weight.shape[0]) for key, layer in seen.layers.items()},
        initial_weights={key: layer.weight.clone() for key, layer in seen.layers.items()} if initial else {},
    )


def _frame(
    target: Target, sample_loss: SampleLoss, evaluation: Evaluation, seen: Capture, classes: int, recipe: str
) -> Frame:
    measured = {layer.module for layer in seen.layers.values()}
    shown = evaluation.labels[evaluation.samples.to(evaluation.labels.device)]
    return Frame(
        layers=tuple(_layer_info(key, target.layers[layer.module], layer) for key, layer in seen.layers.items()),
        coverage=coverage(target.model, measured, target.layers, dict(seen.unusable)),
        classes=classes,
        quantities=quantities(),
        sample_classes=tuple(shown.tolist()) if classes else (-1,) * len(shown),
        neuron_ids=tuple(tuple(evaluation.neurons[key].tolist()) for key in seen.layers),
        constants=_constants(sample_loss, evaluation, seen),
        recipe=recipe,
        environment=environment(target.probe.inputs.device),
    )


def _constants(sample_loss: SampleLoss, evaluation: Evaluation, seen: Capture) -> dict[str, float | list[float]]:
    constants: dict[str, float | list[float]] = {
        "constant_predictor_loss": constant_predictor_loss(sample_loss, seen.outputs)
    }
    if any(measure.name == "effective_width" for measure in evaluation.measures):
        constants["effective_width_null"] = [isotropic_groups(*layer.weight.shape) for layer in seen.layers.values()]
    return constants


def _layer_info(key: str, module: nn.Module, layer: LayerSnapshot) -> LayerInfo:
    entry = layer_type_of(module)
    if entry is None:
        raise Unsupported(f"{key} has a known layer type; got {type(module).__name__}. Remedy: skip it.")
    return LayerInfo(key, entry.name, entry.width(module), entry.fan_in(module), layer.activation)
