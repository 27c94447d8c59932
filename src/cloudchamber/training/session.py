"""Everything that a recipe makes: data, model, optimizer, loss, batches, monitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber._core.seeding import derive_seed
from cloudchamber.data import Dataset, load_data
from cloudchamber.interventions import ParametrizationConfig, initialize, insert_norms
from cloudchamber.models import build_model
from cloudchamber.monitor import Costs, Monitor, logarithmic
from cloudchamber.training.batches import Batches
from cloudchamber.training.losses import (
    CrossEntropyConfig,
    FocalConfig,
    LossFunction,
    LossKind,
    SquaredErrorConfig,
    focal_loss,
)
from cloudchamber.training.recipe import AdamConfig, Recipe, SGDConfig
from cloudchamber.training.recipe_text import recipe_yaml
from cloudchamber.training.settings import device_of, own_settings

DTYPES = {"float32": torch.float32, "float64": torch.float64}
LOSSES: dict[str, LossFunction] = {"cross_entropy": nn.functional.cross_entropy, "mse": nn.functional.mse_loss}
"""Those without numbers of their own."""


@dataclass
class Session:
    """The parts of one run, ready to be trained."""

    recipe: Recipe
    device: torch.device
    batches: Batches
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss_name: str
    loss: LossFunction
    monitor: Monitor

    @classmethod
    def of(cls, recipe: Recipe) -> Session:
        """Build what the recipe says; the model is at its initialization.

        Raises:
            InvalidInput: if the recipe's parts do not fit together.
        """
        device = device_of(recipe)
        dataset = dataset_of(recipe, device)
        batches = Batches(dataset, batch_size_of(recipe, dataset), recipe.seed)
        kind = loss_of(recipe, dataset)
        loss = _loss_function(kind)
        model = model_of(recipe, dataset).to(device, DTYPES[recipe.dtype])
        optimizer = _optimizer(_groups(model, recipe), recipe.optimizer)
        monitor = _monitor(recipe, dataset, model, loss)
        return cls(recipe, device, batches, model, optimizer, kind.name, loss, monitor)

    @property
    def generators(self) -> list[torch.Generator]:
        """The global generators that training itself draws from (dropout)."""
        on_device = [torch.cuda.default_generators[self.device.index]] if self.device.type == "cuda" else []
        return [torch.default_generator, *on_device]

    def seed_training(self) -> None:
        """Start the random numbers that training draws."""
        for generator in self.generators:
            generator.manual_seed(training_seed(self.recipe))

    def update(self, step: int) -> float:
        """Apply update number `step` (from 1) and return the loss of its batch before the update."""
        inputs, targets = self.batches.of_step(step)
        loss = self.loss(self.model(inputs), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def training_seed(recipe: Recipe) -> int:
    """Return the seed of the random numbers that training draws."""
    return derive_seed(recipe.seed, "training")


def observation_costs(recipe: Recipe, measures: Sequence[str] | None = None) -> Costs:
    """Time what observing costs on a recipe's model and probe, for its own measures or others."""
    if measures is not None:
        recipe = recipe.model_copy(update={"observe": recipe.observe.model_copy(update={"measures": list(measures)})})
    with own_settings(recipe, recipe.threads):
        return Session.of(recipe).monitor.cost()


def dataset_of(recipe: Recipe, device: torch.device) -> Dataset:
    """Load the data of a recipe, on a device and in its precision."""
    dataset = load_data(recipe.data, recipe.seed).to(device)
    inputs, targets = (_cast(part, DTYPES[recipe.dtype]) for part in (dataset.inputs, dataset.targets))
    return replace(dataset, inputs=inputs, targets=targets)


def _cast(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    return numbers.to(dtype) if numbers.is_floating_point() else numbers


def loss_of(recipe: Recipe, dataset: Dataset) -> LossKind:
    """Return the loss of a recipe, the usual one where it names none.

    Raises:
        InvalidRecipe: if it does not fit the targets.
    """
    usual = CrossEntropyConfig() if dataset.classes else SquaredErrorConfig()
    loss = usual if recipe.loss is None else recipe.loss
    if isinstance(loss, SquaredErrorConfig) == bool(dataset.classes):
        kind = "class labels" if dataset.classes else "values"
        raise InvalidRecipe(
            f"loss must fit the targets of {dataset.name}, which are {kind}; got {loss.name}. "
            f"Remedy: --set loss={usual.name}."
        )
    return loss


def _loss_function(kind: LossKind) -> LossFunction:
    return partial(focal_loss, focusing=kind.focusing) if isinstance(kind, FocalConfig) else LOSSES[kind.name]


def loss_name_of(recipe: Recipe, dataset: Dataset) -> Literal["cross_entropy", "mse"]:
    """Return the loss of a recipe whose loss has no numbers of its own, by name.

    Raises:
        InvalidRecipe: if it has, or does not fit the targets.
    """
    loss = loss_of(recipe, dataset)
    if isinstance(loss, FocalConfig):
        raise InvalidRecipe(
            f"the loss of an ensemble is cross_entropy or mse; got {loss.name}. Remedy: run its recipes one by one."
        )
    return loss.name


def batch_size_of(recipe: Recipe, dataset: Dataset) -> int:
    """Return the samples per step.

    Raises:
        InvalidRecipe: if there are not as many.
    """
    size = len(dataset) if recipe.batch_size is None else recipe.batch_size
    if size > len(dataset):
        raise InvalidRecipe(
            f"batch_size must be at most the {len(dataset)} samples of {dataset.name}; got {size}. "
            "Remedy: choose a smaller one, or null for all samples."
        )
    return size


def model_of(recipe: Recipe, dataset: Dataset) -> nn.Module:
    """Return the model of a recipe at its initialization, on the CPU and in float32 whatever the recipe's own.

    Raises:
        InvalidRecipe: if it cannot take the data.
    """
    if bool(dataset.vocabulary) != recipe.model.reads_words:
        needed = "looks words up" if dataset.vocabulary else "takes numbers"
        raise InvalidRecipe(
            f"model.name must be a network that {needed}, for {dataset.name}; got {recipe.model.name}. "
            "Remedy: choose another network, or other data."
        )
    model = build_model(recipe.model, dataset.sample_shape, dataset.output_size, len(dataset.vocabulary))
    if recipe.norms is not None:
        insert_norms(model, recipe.norms)
    initialize(model, recipe.initialization, recipe.seed)
    return model


def _groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the parameters with their learning rates: one for all, or those of a parametrization."""
    if not isinstance(recipe.initialization, ParametrizationConfig):
        return [{"params": list(model.parameters())}]
    started = initialize(model, recipe.initialization, recipe.seed, dry_run=True)
    return started.parameter_groups(model, recipe.optimizer.lr)


def _optimizer(parameters: list[dict[str, Any]], config: SGDConfig | AdamConfig) -> torch.optim.Optimizer:
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    betas = (config.beta1, config.beta2)
    return kind(parameters, lr=config.lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay)


def _monitor(recipe: Recipe, dataset: Dataset, model: nn.Module, loss: LossFunction) -> Monitor:
    observe = recipe.observe
    return Monitor(
        model,
        probe=dataset.probe(observe.probe_samples),
        loss=loss,
        every=observe.every if observe.per_decade is None else logarithmic(observe.per_decade),
        images_every=observe.images_every,
        image_samples=observe.image_samples,
        layers=observe.layers,
        measures=observe.measures,
        mode=observe.mode,
        recipe=recipe_yaml(recipe),
    )
