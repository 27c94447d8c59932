"""`phase`: which phase a network is in, as parametrised and as its first steps show, and what would change it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import Unsupported, require
from cloudchamber.anatomy import undisturbed
from cloudchamber.monitor.wrappers import device_of_model, unwrapped
from cloudchamber.predict.phases.change import Towards, change_towards
from cloudchamber.predict.phases.first_steps import Batches, FirstSteps, first_steps
from cloudchamber.predict.phases.kernels import Loss, RateKernel, largest_rate, loss_curvature
from cloudchamber.predict.phases.parametrised import Parametrised, line_start, parametrised
from cloudchamber.predict.phases.report import PhaseReport, measured_phase
from cloudchamber.predict.phases.twin import Twin
from cloudchamber.predict.update_rule import UpdateRule, update_rule

TRIED_STEPS, UNTIL = 300, 0.1
"""The most steps that are tried, and the part of the first loss at which they end."""


def phase(
    model: nn.Module,
    probe: tuple[Tensor, Tensor],
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    steps: int = 1000,
    batches: Batches | None = None,
    tried: int = TRIED_STEPS,
) -> PhaseReport:
    """Say in which phase a network is: kernel, learning, frozen or unstable.

    *As parametrised*: rate times curvature from the tangent kernel says whether steps are unstable; of a network with
    one hidden layer (SGD) the exact solution of the linear network says how long learning takes and by how much the
    kernel changes, `K(∞)/K(0) = √(1 + (y² − f(0)²)/(s(P + Q))²)`. *As measured*: a copy is trained until nine tenths of
    the loss are gone, or for `tried` steps; the kernel's relative change decides, and the change of `u·w = ‖u‖‖w‖ζ` of
    consecutive layers says what carries the learning: alignment, disalignment or rescaling.

    Args:
        model: any module that `torch.func` can transform; its phase can be parametrised with one hidden layer, and its
            mechanism measured for chains of linear layers. Nothing of it changes.
        probe: inputs and targets, n samples each, as the training data.
        loss: takes (outputs, targets), returns their mean over samples.
        optimizer: of the training, with the model's parameters.
        steps: planned updates.
        batches: the batch of each update, from 1; the probe by default.
        tried: updates of the copy at most.

    Returns:
        The report; `print` it. `name`, `mechanism`, `to_learning` and `to_kernel` are in it.

    Raises:
        InvalidInput: if an argument breaks its rule, or the optimizer holds none of the model's parameters.
        Unsupported: if the model cannot be copied, or does not return (n, k).

    Source: xu2024, Sections 2 and 3: Eq. (17), (18), (20), (26), (28), Theorem 2, Corollaries 1 to 3; docs/xu2024.md.

    >>> import cloudchamber as cc
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 1))
    >>> x = torch.randn(40, 2)
    >>> sgd = torch.optim.SGD(model.parameters(), lr=1e-5)
    >>> cc.phase(model, (x, x[:, :1]), loss=nn.functional.mse_loss, optimizer=sgd, steps=100, tried=20).name
    'frozen'
    """
    _require_counts(steps, tried)
    model = unwrapped(model)
    device = device_of_model(model)
    samples = _on(probe, device)
    rule = update_rule(model, optimizer)
    with undisturbed(device), torch.enable_grad():
        torch.manual_seed(0)
        twin = Twin.of(model, optimizer)
        with torch.no_grad():
            outputs = _checked(twin.model(samples[0]), len(samples[0]))
        rates = _rates(rule)
        kernel = RateKernel.of(twin.model, rates, samples[0], outputs)
        before = _before(twin.model, rule, rates, samples, loss, kernel, steps)
        after = first_steps(twin, samples, loss, batches or (lambda _: samples), kernel, min(steps, tried), UNTIL)
    return _report(before, after, rule)


def _require_counts(steps: int, tried: int) -> None:
    require(steps >= 1, "`steps` is 1 or more", steps, "say how many updates are planned")
    require(tried >= 1, "`tried` is 1 or more", tried, "try some tens of steps")


def _before(
    model: nn.Module,
    rule: UpdateRule,
    rates: dict[str, float],
    samples: tuple[Tensor, Tensor],
    loss: Loss,
    kernel: RateKernel,
    steps: int,
) -> Parametrised:
    if rule.kind != "sgd":
        return parametrised(None, math.nan, steps)
    with torch.no_grad():
        outputs = model(samples[0])
    curvature = float(torch.linalg.eigvalsh(loss_curvature(loss, outputs, samples[1]).double())[-1])
    speed = largest_rate(kernel(model)) * curvature
    return parametrised(line_start(model, rates, samples, loss), speed, steps)


def _report(before: Parametrised, after: FirstSteps, rule: UpdateRule) -> PhaseReport:
    """Choose what is known of the kernel's change: what was measured, else what theory says."""
    name = measured_phase(after)
    told = before.line.drift if before.line is not None else math.nan
    drift = after.kernel_drift if name in ("kernel", "learning") else abs(told)
    ways: dict[Towards, bool] = {"learning": name != "learning", "kernel": name != "kernel"}
    changes = {
        towards: change_towards(towards, drift, before.speed, rule.kind) if wanted else None
        for towards, wanted in ways.items()
    }
    return PhaseReport(before, after, changes["learning"], changes["kernel"])


def _rates(rule: UpdateRule) -> dict[str, float]:
    """η of each parameter once velocities have built up; Adam's, which follow no gradient's size, count alike."""
    if rule.kind == "sgd":
        return {name: one.full_rate for name, one in rule.parameters.items()}
    return {name: 1.0 for name, one in rule.parameters.items() if one.lr > 0}


def _on(probe: tuple[Tensor, Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    inputs, targets = (part.detach().to(device) for part in probe)
    fits = len(inputs) == len(targets) >= 2
    require(
        fits, "`probe` is (inputs, targets) of two samples or more", f"{len(inputs)} and {len(targets)}", "pass both"
    )
    return inputs, targets


def _checked(outputs: object, samples: int) -> Tensor:
    if isinstance(outputs, Tensor) and outputs.ndim == 2 and len(outputs) == samples:
        return outputs
    shape = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
    raise Unsupported(
        f"a model whose phase is asked for returns ({samples}, k); got {shape}. Remedy: wrap it in a module that does."
    )
