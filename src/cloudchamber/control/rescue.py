"""`rescue`: free a run that is stuck, by the least invasive remedy whose trial moves the loss."""

from __future__ import annotations

import logging
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from cloudchamber.anatomy import Forward, default_forward, undisturbed
from cloudchamber.control.checks import require_arguments
from cloudchamber.control.plan import Plan
from cloudchamber.control.samples import Batches, Samples
from cloudchamber.control.search import Search, is_lazy
from cloudchamber.control.trial import copied
from cloudchamber.diagnosis import PhaseRule, diagnose
from cloudchamber.monitor.losses import Loss, Reduction
from cloudchamber.monitor.probe import Probe
from cloudchamber.monitor.schedule import positive_whole
from cloudchamber.monitor.wrappers import device_of_model, unwrapped

_log = logging.getLogger("cloudchamber")
TRIAL_STEPS = 400


def rescue(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    record: xr.Dataset,
    *,
    probe: tuple[Any, Tensor],
    loss: Loss,
    batches: Batches = None,
    batch_size: int = 100,
    trial_steps: int = TRIAL_STEPS,
    apply: bool = False,
    lazy: bool = False,
    forward: Forward = default_forward,
    reduction: Reduction | None = None,
    rule: PhaseRule | None = None,
    seed: int = 0,
) -> Plan:
    """Free a run that is stuck: the least invasive remedy that moves the loss in a trial on a copy.

    A run whose diagnosis is not "stuck" is left alone. For one that is, remedies are tried in this order, each on a
    deep copy of model and optimizer, until with one of them the loss falls below 85 % of that of the best constant
    output: nothing; no weight decay; momentum 0.9; a larger learning rate, if the weights have hardly moved; larger
    weights in their own directions; phase norm after the hidden layers; several of these at once; at last, new weights.
    Nothing is done to the model before `Plan.apply`.

    Args:
        model: the model as it is now.
        optimizer: its optimizer as it is now.
        record: of this model's run (`Monitor.record`, `open_record`).
        probe: (inputs, targets), n samples, as the monitor's.
        loss: takes (outputs, targets), as in training.
        batches: what trials are trained on: a function of the update (1, 2, …) that returns (inputs, targets), or
            batches to iterate over; None = parts of the probe, in a random order. With few samples a network can learn
            them by heart: give batches of the training data where the probe is small.
        batch_size: samples in a part of the probe.
        trial_steps: the most updates of a trial.
        apply: apply the plan at once, after it was logged (level INFO of the logger "cloudchamber").
        lazy: also free a run that has left its plateau while its hidden weights moved by less than 5 % (the record's
            `relative_distance`): by smaller weights, alone, with momentum or with larger steps, if hidden weights then
            move at least twice as far in a trial that ends below the plateau as well.
        forward: called as `forward(model, inputs)`, returns the tensor that the loss takes.
        reduction: "mean", "sum" or "none" if the loss's reduction cannot be found out by trying.
        rule: the thresholds of the diagnosis; None = its own.
        seed: of the order of the samples.

    Returns:
        The plan: print it, then `apply` it; `undo` puts everything back.

    Raises:
        InvalidInput: if an argument breaks its rule, the model has no layers that are known, the record is of another
            model, or the optimizer holds none of its parameters.
        Unsupported: if model and optimizer cannot be copied.

    Source: mlp2024, Section 3.3, Appendices C, I.3, I.5 and K.

    >>> import cloudchamber as cc
    >>> from cloudchamber.models import MLP
    >>> model, x, y = MLP(4, 3, depth=3, width=8), torch.randn(30, 4), torch.arange(30) % 3
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with cc.Monitor(model, probe=(x, y), loss=nn.functional.cross_entropy) as monitor:
    ...     pass  # nothing was trained yet
    >>> rescue(model, sgd, monitor.record, probe=(x, y), loss=nn.functional.cross_entropy).verdict
    'nothing to do'
    """
    model = unwrapped(model)
    require_arguments(model, optimizer, record, loss, reduction)
    samples_of_probe = Probe.of(probe, device_of_model(model))
    steps = positive_whole("trial_steps", trial_steps, low=20)
    size = positive_whole("batch_size", batch_size, low=1)
    rule = rule or PhaseRule()
    findings = diagnose(record, rule=rule)
    stuck = "stuck" in findings.codes
    if not stuck and not (lazy and is_lazy(record, rule)):
        words = f"The run is not stuck{', nor lazy' if lazy else ''}. {findings[0].title}"
        return Plan(model, optimizer, "nothing to do", words, (), ())
    with undisturbed(samples_of_probe.device), torch.enable_grad():
        torch.manual_seed(seed)
        samples = Samples.of(copied(model, optimizer)[0].eval(), samples_of_probe, loss, forward, reduction)
        search = Search(model, optimizer, samples, batches, size, seed, steps, rule)
        plan = search.for_stuck(record, findings) if stuck else search.for_lazy(record)
    if apply and plan.remedies:
        _log.info("%s", plan)
        plan.apply()
    return plan
