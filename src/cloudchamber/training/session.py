"""Everything that a recipe makes: data, model, optimizer, loss, batches, monitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber._core.seeding import derive_seed
from cloudchamber.data import Dataset, load_data
from cloudchamber.interventions import initialize
from cloudchamber.models import build_model
from cloudchamber.monitor import Costs, Monitor, logarithmic
from cloudchamber.training.batches import Batches
from cloudchamber.training.recipe import AdamConfig, Recipe, SGDConfig
from cloudchamber.training.recipe_text import recipe_yaml
from cloudchamber.training.settings import device_of, own_settings

LOSSES = {"cross_entropy": nn.functional.cross_entropy, "mse": nn.functional.mse_loss}


@dataclass
class Session:
    """The parts of one run, ready to be trained."""

    recipe: Recipe
    device: torch.device
    batches: Batches
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss_name: str
    monitor: Monitor

    @classmethod
    def of(cls, recipe: Recipe) -> Session:
        """Build what the recipe says; the model is at its initialization.

        Raises:
            InvalidInput: if the recipe's parts do not fit together.
        """
        device = device_of(recipe)
        dataset = load_data(recipe.data, recipe.seed).to(device)
        batches = Batches(dataset, _batch_size(recipe, dataset), recipe.seed)
        loss_name = _loss_name(recipe, dataset)
        model = _model(recipe, dataset).to(device)
        optimizer = _optimizer(model, recipe.optimizer)
        return cls(recipe, device, batches, model, optimizer, loss_name, _monitor(recipe, dataset, model, loss_name))

    @property
    def generators(self) -> list[torch.Generator]:
        """The global generators that training itself draws from (dropout)."""
        on_device = [torch.cuda.default_generators[self.device.index]] if self.device.type == "cuda" else []
        return [torch.default_generator, *on_device]

    def seed_training(self) -> None:
        """Start the random numbers that training draws."""
        for generator in self.generators:
            generator.manual_seed(derive_seed(self.recipe.seed, "training"))

    def update(self, step: int) -> float:
        """Apply update number `step` (from 1) and return the loss of its batch before the update."""
        inputs, targets = self.batches.of_step(step)
        loss = LOSSES[self.loss_name](self.model(inputs), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def observation_costs(recipe: Recipe, measures: Sequence[str] | None = None) -> Costs:
    """Time what observing costs on a recipe's model and probe, for its own measures or others."""
    if measures is not None:
        recipe = recipe.model_copy(update={"observe": recipe.observe.model_copy(update={"measures": list(measures)})})
    with own_settings(recipe, recipe.threads):
        return Session.of(recipe).monitor.cost()


def _loss_name(recipe: Recipe, dataset: Dataset) -> str:
    fitting = "cross_entropy" if dataset.classes else "mse"
    if recipe.loss not in (None, fitting):
        kind = "class labels" if dataset.classes else "values"
        raise InvalidRecipe(
            f"loss must fit the targets of {dataset.name}, which are {kind}; got {recipe.loss}. "
            f"Remedy: --set loss={fitting}."
        )
    return fitting


def _batch_size(recipe: Recipe, dataset: Dataset) -> int:
    size = len(dataset) if recipe.batch_size is None else recipe.batch_size
    if size > len(dataset):
        raise InvalidRecipe(
            f"batch_size must be at most the {len(dataset)} samples of {dataset.name}; got {size}. "
            "Remedy: choose a smaller one, or null for all samples."
        )
    return size


def _model(recipe: Recipe, dataset: Dataset) -> nn.Module:
    if dataset.vocabulary:
        raise InvalidRecipe(
            f"model.name must be a network that looks words up, for {dataset.name}; got {recipe.model.name}. "
            "Remedy: choose data of numbers."
        )
    model = build_model(recipe.model, dataset.input_size, dataset.output_size)
    initialize(model, recipe.initialization, recipe.seed)
    return model


def _optimizer(model: nn.Module, config: SGDConfig | AdamConfig) -> torch.optim.Optimizer:
    parameters = model.parameters()
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    betas = (config.beta1, config.beta2)
    return kind(parameters, lr=config.lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay)


def _monitor(recipe: Recipe, dataset: Dataset, model: nn.Module, loss_name: str) -> Monitor:
    observe = recipe.observe
    return Monitor(
        model,
        probe=dataset.probe(observe.probe_samples),
        loss=LOSSES[loss_name],
        every=observe.every if observe.per_decade is None else logarithmic(observe.per_decade),
        images_every=observe.images_every,
        image_samples=observe.image_samples,
        layers=observe.layers,
        measures=observe.measures,
        recipe=recipe_yaml(recipe),
    )
