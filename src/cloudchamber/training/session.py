"""Everything that a recipe makes: data, model, optimizer, loss, batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber._core.seeding import derive_seed, generator
from cloudchamber.data import Dataset, load_data
from cloudchamber.interventions import initialize
from cloudchamber.models import build_model
from cloudchamber.monitor import Monitor
from cloudchamber.training.recipe import AdamConfig, Recipe, SGDConfig
from cloudchamber.training.recipe_text import recipe_yaml

LOSSES = {"cross_entropy": nn.functional.cross_entropy, "mse": nn.functional.mse_loss}


@dataclass
class Session:
    """The parts of one run, ready to be trained."""

    recipe: Recipe
    dataset: Dataset
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss_name: str
    batch_size: int

    @classmethod
    def of(cls, recipe: Recipe) -> Session:
        """Build what the recipe says; the model is at its initialization.

        Raises:
            InvalidRecipe: if its parts do not fit together.
        """
        device = _device(recipe.device)
        dataset = load_data(recipe.data, recipe.seed)
        model = build_model(recipe.model, dataset.input_size, dataset.output_size)
        initialize(model, recipe.initialization, recipe.seed)
        model.to(device)
        return cls(
            recipe,
            dataset,
            model,
            _optimizer(model, recipe.optimizer),
            _loss_name(recipe, dataset),
            _batch_size(recipe, dataset),
        )

    def monitor(self) -> Monitor:
        """Return a monitor on the model, as the recipe asks for it."""
        observe = self.recipe.observe
        return Monitor(
            self.model,
            probe=self.dataset.probe(observe.probe_samples),
            loss=LOSSES[self.loss_name],
            every=observe.every,
            images_every=observe.images_every,
            image_samples=observe.image_samples,
            layers=observe.layers,
            measures=observe.measures,
            recipe=recipe_yaml(self.recipe),
        )

    def seed_training(self) -> None:
        """Start the random numbers that training itself draws (dropout)."""
        torch.manual_seed(derive_seed(self.recipe.seed, "training"))

    def update(self, step: int) -> float:
        """Apply update number `step` (from 1) and return the loss of its batch before the update."""
        inputs, targets = self._batch(step)
        loss = LOSSES[self.loss_name](self.model(inputs), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def epoch(self, step: int) -> float:
        """Return how many passes over the data `step` updates make."""
        return step / self._batches_per_epoch

    @property
    def _batches_per_epoch(self) -> int:
        return len(self.dataset) // self.batch_size

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        # A function of seed and step alone, so that a resumed run sees the same batches.
        epoch, index = divmod(step - 1, self._batches_per_epoch)
        order = self._order(epoch)
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        device = self.recipe.device
        return self.dataset.inputs[chosen].to(device), self.dataset.targets[chosen].to(device)

    def _order(self, epoch: int) -> Tensor:
        if self.batch_size == len(self.dataset):
            return torch.arange(len(self.dataset))
        return torch.randperm(len(self.dataset), generator=generator(self.recipe.seed, "order", epoch))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidRecipe(
            f"device must name a device of this machine; got {name!r} ({reason}). Remedy: --set device=cpu."
        ) from error
    return device


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
            f"batch_size is at most the {len(dataset)} samples of {dataset.name}; got {size}. "
            "Remedy: choose a smaller one, or null for all samples."
        )
    return size


def _optimizer(model: nn.Module, config: SGDConfig | AdamConfig) -> torch.optim.Optimizer:
    parameters = model.parameters()
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    betas = (config.beta1, config.beta2)
    return kind(parameters, lr=config.lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay)
