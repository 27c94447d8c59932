"""Run K recipes of one shape as one ensemble."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidRecipe, require
from cloudchamber.data import AnyConfig, Dataset, SinesConfig
from cloudchamber.data.subsets import SubsetConfig
from cloudchamber.interventions import ParametrizationConfig
from cloudchamber.monitor import logarithmic
from cloudchamber.training.ensemble.dense.gradients import TanhName
from cloudchamber.training.ensemble.engine import Observing, Plan
from cloudchamber.training.ensemble.gradients import LossName
from cloudchamber.training.ensemble.members import Members
from cloudchamber.training.ensemble.observation import EnsembleObserver
from cloudchamber.training.ensemble.optimizers import SGD, Adam, Optimizer
from cloudchamber.training.ensemble.paths import PathName, Wish, choose_path
from cloudchamber.training.ensemble.result import Ensemble
from cloudchamber.training.ensemble.trainer import train
from cloudchamber.training.ensemble.watch import Watch
from cloudchamber.training.recipe import AdamConfig, Recipe, SGDConfig
from cloudchamber.training.recipe_text import recipe_yaml
from cloudchamber.training.session import (
    DTYPES,
    LOSSES,
    batch_size_of,
    dataset_of,
    loss_name_of,
    model_of,
    training_seed,
)
from cloudchamber.training.settings import device_of, own_settings

_ALIKE = {"model", "norms", "steps", "batch_size", "loss", "observe", "dtype", "device", "threads"}
"""Sections of a recipe that the members of an ensemble have in common, beside the shape of their data."""
_NUMBERS = {"amplitude", "frequency", "phase", "low", "high"}
"""Fields of synthetic data that change their values, not their shape."""


def shape_key(recipe: Recipe) -> str:
    """Return a hash of all that the recipes of an ensemble have in common; those with equal keys can run together.

    They may differ in seed, initialization, the optimizer's numbers, and the numbers of synthetic data.

    >>> shape_key(Recipe()) == shape_key(Recipe(seed=3)) != shape_key(Recipe(steps=10))
    True
    """
    alike = recipe.model_dump(mode="json", include=_ALIKE)
    alike["optimizer"] = recipe.optimizer.name
    alike["data"] = recipe.data.model_dump(mode="json", exclude=_NUMBERS)
    return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:16]


def run_ensemble(
    recipes: Sequence[Recipe],
    *,
    observe: bool = True,
    losses_every: int = 1,
    path: PathName = "auto",
    compile: Literal["auto"] | bool = "auto",  # noqa: A002 - the word for it
    tanh: TanhName = "exact",
    chunk: int | None = None,
) -> Ensemble:
    """Train what K recipes of one shape say, all at once; member k is what `cloudchamber.run(recipes[k])` gives.

    It starts from the same weights, sees the same batches and draws the same random numbers; in float64 (recipe's
    `dtype`) it ends at the same weights to 1e-9, in float32 to the rounding that training makes of another order of
    sums. A member whose loss is not finite stops after that update, as a run does, with reason "not_finite".

    Args:
        recipes: of one `shape_key`.
        observe: whether members are observed as their recipes say; else there is no record.
        losses_every: every so-many-th training loss is kept.
        path: as in `train_ensemble`.
        compile: the same.
        tanh: the same.
        chunk: the same.

    Returns:
        The trained members, with the record of all of them.

    Raises:
        InvalidRecipe: if the recipes cannot run together, or the parts of one do not fit.

    >>> from cloudchamber.training.recipe_text import load_recipe
    >>> words = ["data.name=sines", "model.depth=2", "model.width=8", "batch_size=null", "steps=3"]
    >>> recipes = [load_recipe(overrides=[*words, f"seed={seed}"]) for seed in range(4)]
    >>> run_ensemble(recipes, observe=False).losses.shape
    torch.Size([4, 3])
    """
    require(len(recipes) > 0, "there is a recipe", "none", "pass some of one shape")
    _require_one_shape(recipes)
    with own_settings(recipes[0], recipes[0].threads):
        source = RecipeSource(recipes)
        dataset = source.datasets([0])[0]
        members = Members.of([_model(recipe, dataset) for recipe in recipes], None)
        loss = loss_name_of(recipes[0], dataset)
        batch = dataset.batch(torch.arange(source.batch_size), torch.Generator())
        way = choose_path(members, loss, Wish(path, compile, tanh), batch, recipes[0].steps)
        plan = Plan(
            layout=members.layout,
            optimizer=stacked_optimizer([recipe.optimizer for recipe in recipes]),
            steps=recipes[0].steps,
            rules=(),
            losses_every=losses_every,
            per_epoch=len(dataset) // source.batch_size,
            observer=_observer(recipes, source, members, loss) if observe else None,
        )
        return train(members, source, plan, way, chunk)


class RecipeSource:
    """Loads the data of recipes when a chunk asks for them."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        self._recipes, self._device = recipes, device_of(recipes[0])
        self._first = dataset_of(recipes[0], self._device)
        self.batch_size = batch_size_of(recipes[0], self._first)
        self.order_seeds = [recipe.seed for recipe in recipes]
        self.random_seeds = [training_seed(recipe) for recipe in recipes]

    @property
    def one_set(self) -> bool:
        """Whether all members have the same data."""
        return len({self._key(recipe) for recipe in self._recipes}) == 1

    def datasets(self, members: Sequence[int]) -> list[Dataset]:
        """Return the data set of each of those members.

        Raises:
            InvalidRecipe: if one is of another shape than the first recipe's.
        """
        loaded = {self._key(self._recipes[0]): self._first}
        for member in members:
            key = self._key(self._recipes[member])
            if key not in loaded:
                loaded[key] = self._loaded(member)
        return [loaded[self._key(self._recipes[member])] for member in members]

    def _loaded(self, member: int) -> Dataset:
        dataset = dataset_of(self._recipes[member], self._device)
        first, other = (tuple(part.shape) for part in (self._first.inputs, dataset.inputs))
        if first != other or dataset.output_size != self._first.output_size:
            raise InvalidRecipe(
                f"the data of an ensemble have one shape, {first}; got {other} from recipe {member}. "
                "Remedy: run it apart."
            )
        return dataset

    @staticmethod
    def _key(recipe: Recipe) -> tuple[str, int | None]:
        return recipe.data.model_dump_json(), recipe.seed if _draws(recipe.data) else None


def _draws(config: AnyConfig) -> bool:
    """Whether data depend on the seed."""
    if isinstance(config, SubsetConfig):
        return config.samples is not None or config.train_share is not None
    return isinstance(config, SinesConfig)


def _model(recipe: Recipe, dataset: Dataset) -> nn.Module:
    if isinstance(recipe.initialization, ParametrizationConfig):
        raise InvalidRecipe(
            "the layers of an ensemble's members have one learning rate; got initialization.name=parametrization. "
            "Remedy: run its recipes one by one."
        )
    return model_of(recipe, dataset).to(dataset.inputs.device, DTYPES[recipe.dtype])


def _require_one_shape(recipes: Sequence[Recipe]) -> None:
    keys = [shape_key(recipe) for recipe in recipes]
    other = next((place for place, key in enumerate(keys) if key != keys[0]), None)
    if other is not None:
        raise InvalidRecipe(
            "the recipes of an ensemble differ in seed, initialization and the optimizer's numbers only; got another "
            f"{', '.join(_different(recipes[0], recipes[other]))} in recipe {other}. Remedy: run it apart."
        )


def _different(one: Recipe, other: Recipe) -> list[str]:
    ours, theirs = one.model_dump(mode="json"), other.model_dump(mode="json")
    return [name for name in sorted({*_ALIKE, "data", "optimizer"}) if ours[name] != theirs[name]]


def stacked_optimizer(configs: Sequence[SGDConfig | AdamConfig]) -> Optimizer:
    """Return the optimizer of all members, each with the numbers of its own recipe.

    Args:
        configs: of one kind.
    """

    def stacked(field: str) -> Tensor:
        return torch.tensor([getattr(config, field) for config in configs], dtype=torch.float64)

    if configs[0].name == "sgd":
        return SGD(lr=stacked("lr"), momentum=stacked("momentum"), weight_decay=stacked("weight_decay"))
    numbers = {field: stacked(field) for field in ("lr", "beta1", "beta2", "eps", "weight_decay")}
    return Adam(**numbers, decoupled=configs[0].name == "adamw")


def _observer(recipes: Sequence[Recipe], source: RecipeSource, members: Members, loss: LossName) -> Observing:
    """Return what observes each member as its recipe says."""
    observe = recipes[0].observe
    if observe.mode != "eval":
        raise InvalidRecipe(
            "the members of an ensemble are observed as in evaluation; got observe.mode=train. "
            "Remedy: --set observe.mode=eval, or run the recipes one by one."
        )
    watch = Watch(
        probe=_probe(source, observe.probe_samples),
        every=observe.every if observe.per_decade is None else logarithmic(observe.per_decade),
        images_every=observe.images_every,
        image_samples=observe.image_samples,
        layers=observe.layers,
        measures=observe.measures,
        probe_per_member=not source.one_set,
    )
    texts = [recipe_yaml(recipe) for recipe in recipes]
    return EnsembleObserver(members.template, members.layout, watch, LOSSES[loss], len(members), recipes=texts)


def _probe(source: RecipeSource, samples: int) -> tuple[Tensor, Tensor]:
    if source.one_set:
        return source.datasets([0])[0].probe(samples)
    probes = [source.datasets([member])[0].probe(samples) for member in range(len(source.order_seeds))]
    return torch.stack([inputs for inputs, _ in probes]), torch.stack([targets for _, targets in probes])
