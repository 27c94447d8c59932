"""Merge condensed neurons: the narrow network that a wide one equals, within a tolerance."""

from __future__ import annotations

import copy
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.anatomy import default_forward, undisturbed
from cloudchamber.anatomy.batch import copy_of, count_samples, device_of, tensors_of
from cloudchamber.reduction.fine_tuning import Loss, fine_tune
from cloudchamber.reduction.outputs import numbers_of
from cloudchamber.reduction.plan import Plan, Summary
from cloudchamber.reduction.running import Forward, count, evaluated
from cloudchamber.reduction.search import Search, find_plan


def merge_neurons(
    model: nn.Module,
    example_inputs: Any,
    *,
    tolerance: float = 1e-3,
    fine_tune_steps: int = 0,
    targets: Tensor | None = None,
    loss: Loss | None = None,
    lr: float = 1e-3,
    forward: Forward = default_forward,
) -> tuple[nn.Module, Summary]:
    """Return a narrower copy of a model in which neurons that compute the same are one, and what it came to.

    Neurons are grouped by what they compute on the examples where it is read: `F_k ≈ c F_j (+ s)` for a leader j, for
    any activation; so neurons along one direction merge for ReLU (c > 0), of both signs for tanh, and of any length
    where arguments are small. The next layer's weights become `a_j ← Σ_k c_k a_k` or those of least squares, whichever
    changes it less; constants go into its bias. Layers are narrowed as far as

        ‖f'(x) − f(x)‖ ≤ tolerance · ‖f(x)‖

    holds over the examples that were held out (every other one). Inputs and outputs of the model stay as they are, and
    so does the given model.

    Args:
        model: any module; linear layers, convolutions with their norms, layers whose outputs are added, feed-forward
            blocks of transformers, units of LSTMs. What has to stay as it is is named in the summary, with the reason.
        example_inputs: n samples as the model takes them (500 or more are good): a tensor, or tuples, lists and dicts
            of tensors, samples first.
        tolerance: of the output, relative. 0 merges what is the same up to rounding.
        fine_tune_steps: updates of the narrow network afterwards, towards the given one's outputs on the examples or
            towards `targets`; what is worse than before on the examples held out is undone.
        targets: of the examples, for `loss`.
        loss: takes (outputs, targets); cross entropy for integer targets, else the mean squared error.
        lr: of Adam.
        forward: how the model is called, `forward(model, inputs)`.

    Returns:
        The narrow network, in the mode in which the model is, and the summary. Where nothing is condensed it is a
        plain copy, and the summary says so.

    Raises:
        InvalidInput: if the tolerance is negative, the examples do not fit the model, or its output is not finite.

    Source: overview2025, Section 7.3; Zhang et al., Embedding principle (2021).

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> _ = model[0].weight.data[1].copy_(2 * model[0].weight.data[0]), model[0].bias.data[:2].zero_()
    >>> small, summary = merge_neurons(model, torch.randn(50, 2), tolerance=0)
    >>> small[0].out_features, summary.plan.layers[0].merged
    (2, 1)
    """
    plan = plan_merge(model, example_inputs, tolerance=tolerance, forward=forward)
    require(fine_tune_steps >= 0, "`fine_tune_steps` is a number of updates", fine_tune_steps, "use 0 for none")
    small, summary = plan.apply(model, forward=forward)
    if not fine_tune_steps or not summary.condensed:
        return small, summary
    tuned, error = fine_tune(small, model, example_inputs, fine_tune_steps, lr, forward, loss=loss, targets=targets)
    return tuned, Summary(plan, error, (count(model), count(tuned)), fine_tune_steps)


def plan_merge(
    model: nn.Module, example_inputs: Any, *, tolerance: float = 1e-3, forward: Forward = default_forward
) -> Plan:
    """Return which neurons `merge_neurons` would merge: print it, apply it, replay it on another checkpoint, save it.

    Args:
        model: as in `merge_neurons`.
        example_inputs: as in `merge_neurons`.
        tolerance: as in `merge_neurons`.
        forward: as in `merge_neurons`.

    Raises:
        InvalidInput: as `merge_neurons`.

    >>> plan = plan_merge(nn.Sequential(nn.Linear(9, 3), nn.Tanh(), nn.Linear(3, 3)), torch.randn(50, 9), tolerance=0)
    >>> plan.kept
    (('0', 3),)
    """
    require(
        isfinite(tolerance) and tolerance >= 0, "`tolerance` is a relative change, 0 or more", tolerance, "use 1e-3"
    )
    require(isinstance(model, nn.Module), "`model` is a module", type(model).__name__, "pass the network itself")
    with undisturbed(device_of(example_inputs) if tensors_of(example_inputs) else torch.device("cpu")):
        held = copy.deepcopy(model)
        with evaluated(held):
            _require_runs(held, example_inputs, forward)
            return find_plan(Search(held, example_inputs, forward), float(tolerance))


def _require_runs(model: nn.Module, inputs: Any, forward: Forward) -> None:
    """Raise `InvalidInput` unless a model takes the inputs and puts out finite numbers."""
    count_samples(inputs)
    try:
        with torch.no_grad():
            output = forward(model, copy_of(inputs))
    except Exception as error:
        shapes = [tuple(tensor.shape) for tensor in tensors_of(inputs)]
        raise InvalidInput(
            f"`example_inputs` are what the model takes; got tensors of shapes {shapes}, at which it raised "
            f"{type(error).__name__}: {error}. Remedy: pass inputs as in training, or forward=."
        ) from error
    finite = all(bool(tensor.isfinite().all()) for tensor in numbers_of(output))
    require(finite, "a model that is merged puts out finite numbers", "NaN or infinity", "take an earlier checkpoint")
