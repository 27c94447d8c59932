"""Running a recipe again, bit for bit, to look at what its record does not hold: features, test data, all samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.anatomy import capture, choose_views
from cloudchamber.papers.cache import Run
from cloudchamber.training.second_pass.source import Past
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings

_CHUNK = 2000


def replay(run: Run, steps: Collection[int], visit: Callable[[int, Session], None]) -> None:
    """Train a run's recipe again up to the last of `steps`, and show the session after each of them.

    Args:
        run: what to repeat.
        steps: numbers of updates applied; 0 = the initialization.
        visit: looks at the session; it must change nothing.

    Raises:
        InvalidInput: if the losses are not those of the run: this is then another machine or version.
    """
    past = Past.of(run.folder)
    losses = past.losses
    with own_settings(run.recipe, run.recipe.threads or past.threads):
        session = Session.of(run.recipe)
        session.seed_training()
        for step in range(max(steps, default=0) + 1):
            if step:
                _require_same(step, session.update(step), losses.get(step))
            if step in steps:
                visit(step, session)


def outputs_of(model: nn.Module, inputs: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
    """Return the outputs of a model as it is tested: without gradients, dropout off, running statistics."""
    with _testing(model), torch.no_grad():
        return torch.cat([model(part) for part in inputs.split(_CHUNK)])


def features_of(session: Session, inputs: Shaped[Tensor, "n ..."], layer: str) -> Float[Tensor, "n h"]:
    """Return the features of a layer, after its activation, on some inputs.

    Raises:
        InvalidInput: if the model has no such layer.
        Unsupported: if it cannot be observed.
    """
    chosen = choose_views(session.model, [layer])
    seen = capture(session.model, inputs, torch.Tensor.sum, layers=chosen, fields={"features"})
    features = seen.layers[layer].features if layer in seen.layers else None
    if features is None:
        raise Unsupported(f"a layer has features; got none of {layer}: {dict(seen.unusable)}. Remedy: choose another.")
    return features.flatten(1)


def loss_and_accuracy(session: Session, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return the mean loss and the share of right answers on some samples."""
    outputs = outputs_of(session.model, inputs)
    right = (outputs.argmax(1) == targets).float().mean()
    return float(session.loss(outputs, targets)), float(right)


@contextmanager
def _testing(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _require_same(step: int, loss: float, expected: float | None) -> None:
    if expected is not None and loss != expected and not (loss != loss and expected != expected):
        raise InvalidInput(
            f"a run that is repeated has the same losses bit for bit; got {loss!r} at step {step}, where it had "
            f"{expected!r}. Remedy: use the machine and versions of the run, or empty the cache of runs."
        )
