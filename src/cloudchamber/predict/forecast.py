"""`predict`: everything that can be told of a training run before its first step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber._core.finding import Finding, Findings
from cloudchamber.anatomy import Forward, default_forward, undisturbed
from cloudchamber.monitor.losses import REDUCTIONS, Loss, Reduction, constant_predictor_loss
from cloudchamber.monitor.probe import Probe
from cloudchamber.monitor.wrappers import device_of_model, unwrapped
from cloudchamber.predict import layer_findings, plateau_findings
from cloudchamber.predict.activations import Activations, activations_of
from cloudchamber.predict.condensation import directions_of
from cloudchamber.predict.layer_start import Start, start_of
from cloudchamber.predict.prediction import LayerPrediction, Prediction
from cloudchamber.predict.reckoning import Reckoning, reckon
from cloudchamber.predict.regimes import network_phase, network_regime
from cloudchamber.predict.replica import Replica
from cloudchamber.predict.update_rule import UpdateRule, update_rule
from cloudchamber.predict.verdict import verdict_of


def predict(
    model: nn.Module,
    probe: tuple[Any, Tensor],
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    steps: int,
    forward: Forward = default_forward,
    reduction: Reduction | None = None,
) -> Prediction:
    """Say, before a single step, whether training will leave its plateau, and what each layer will do until then.

    Layers pass a signal on that tells samples apart, and each grows as the others let it: with `a_l` the gain of layer
    l along the direction of its gradient, `d ln A_l/dt = η_l ‖∇W_l‖₂ Π_k A_k/(a_l A_l²)`, until the loss has fallen by
    15 % of the best constant output's. The planned steps over that time decide, beside how far steps overshoot where
    the plateau ends. The optimizer's learning rate is taken as constant.

    Args:
        model: any `nn.Module`, at its initialization; nothing of it changes. It is copied, and the copy computes in
            float64 where it can.
        probe: (inputs, targets), n samples each, as the training data; 100 to 200 are enough.
        loss: takes (outputs, targets) as in training, with any reduction over samples.
        optimizer: of the training, with the model's parameters. SGD with everything that torch has is understood;
            Adam and its like with less confidence; of others only what does not depend on the steps is told.
        steps: planned updates.
        forward: called as `forward(model, inputs)`, returns the tensor that the loss takes.
        reduction: "mean", "sum" or "none" if the loss's reduction cannot be found out by trying.

    Returns:
        The prediction, with findings.

    Raises:
        InvalidInput: if an argument breaks its rule, the model has no layer that can be observed, or the optimizer
            holds none of its parameters.
        Unsupported: if the model cannot be copied, or does not return a tensor with a row per sample.

    Source: docs/prediction.md; mlp2024, Section 2; xu2024, Theorem 1; zhou2022, Section 5; overview2025, Section 5.

    >>> import cloudchamber as cc
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))
    >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
    >>> sgd = torch.optim.SGD(model.parameters(), lr=1e-5)
    >>> cc.predict(model, (x, y), loss=nn.functional.cross_entropy, optimizer=sgd, steps=10).leaves_plateau
    'stuck'
    """
    _require_arguments(model, loss, optimizer, steps, reduction)
    model = unwrapped(model)
    samples = Probe.of(probe, device_of_model(model))
    rule = update_rule(model, optimizer)
    with undisturbed(samples.device), torch.enable_grad():
        torch.manual_seed(0)  # what is random in the model is the same each time; the caller's states are put back
        replica = Replica.of(model, samples, loss, forward, reduction)
        with torch.no_grad():
            classes = samples.classes(replica.outputs())
        start = start_of(replica, samples.labels(classes))
        constant = constant_predictor_loss(replica.loss, start.outputs)
        found = reckon(replica, start, rule, steps, constant, classes)
        return _prediction(replica, start, found, rule)


def _prediction(replica: Replica, start: Start, found: Reckoning, rule: UpdateRule) -> Prediction:
    activations = activations_of(replica.model, start.layers)
    verdict = verdict_of(found, rule, activations)
    layers = tuple(_layer(number, start, found, activations) for number in range(len(start.layers)))
    regime, phase = network_regime(start, found), network_phase(start, found, rule, verdict.name)
    bounds = [_stable(curvature, rule) for curvature in (found.curvature, found.end_curvature)]
    findings: list[Finding | None] = [
        plateau_findings.plateau_finding(verdict, found, rule),
        plateau_findings.rate_finding(found, rule, *bounds),
        layer_findings.dead_finding(layers),
        layer_findings.agreement_finding(layers),
        layer_findings.phase_finding(phase),
        layer_findings.regime_finding(regime),
        layer_findings.directions_finding(layers, phase),
        layer_findings.multiplicity_finding(activations),
    ]
    told = sorted((finding for finding in findings if finding is not None), key=_rank)
    return Prediction(
        verdict,
        Findings(told),
        layers,
        activations.found,
        regime,
        phase,
        found,
        rule,
        bounds[0],
        bounds[1],
        dict(start.unusable),
    )


def _layer(number: int, start: Start, found: Reckoning, activations: Activations) -> LayerPrediction:
    layer, numbers = start.layers[number], found.layers
    known = activations.of(layer)
    snapshots = [start.first_pass.layers[key] for key in layer.keys]
    condensed, basis, share = directions_of(layer, snapshots, known)
    one = numbers.steps(numbers.gains * 0 + 1)[number]
    growth = one * layer.gradient / layer.gain if layer.gain > 0 else math.nan
    return LayerPrediction(
        name=layer.name,
        layer_type=layer.view.layer_type,
        width=layer.view.width,
        activation=layer.activation,
        multiplicity=None if known is None else known.order,
        gain=layer.gain,
        growth_per_step=float(growth - numbers.decays[number]),
        growth_at_leaving=float(found.plateau.growth[number]),
        scale_exponent=layer.exponent,
        feature_cosine=layer.feature_cosine,
        gradient_cosine=layer.gradient_cosine,
        top_share=layer.top_share,
        dead=layer.dead,
        direction=layer.direction,
        condensed=condensed,
        condensed_basis=basis,
        one_field=share,
    )


def _stable(curvature: float, rule: UpdateRule) -> float:
    """`2(1 + μ)/λ`; with Nesterov's momentum `2(1 + μ)/((1 + 2μ)λ)`; NaN where nothing is known."""
    if rule.kind != "sgd" or not curvature > 0:
        return math.inf if curvature == 0 else math.nan
    nesterov = any(one.nesterov for one in rule.parameters.values())
    m = rule.momentum
    return 2 * (1 + m) / (curvature * (1 + 2 * m if nesterov else 1))


def _rank(finding: Finding) -> tuple[bool, int, int]:
    """The verdict first, then by severity and confidence."""
    verdict = finding.code in ("will_leave", "will_stick", "will_be_unstable", "plateau_unknown")
    return not verdict, *finding.urgency


def _require_arguments(
    model: nn.Module,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    steps: int,
    reduction: Reduction | None,
) -> None:
    require(isinstance(model, nn.Module), "`model` is an nn.Module", type(model).__name__, "pass the model itself")
    require(callable(loss), "`loss` can be called", type(loss).__name__, "pass a function of outputs and targets")
    held = isinstance(optimizer, torch.optim.Optimizer)
    require(held, "`optimizer` is a torch optimizer", type(optimizer).__name__, "make it with the model's parameters")
    whole = isinstance(steps, int) and not isinstance(steps, bool) and steps >= 1
    require(whole, "`steps` is a whole number, 1 or more", repr(steps), "say how many updates are planned")
    known = reduction is None or reduction in REDUCTIONS
    require(
        known, f"`reduction` is None or one of {list(REDUCTIONS)}", repr(reduction), "leave it out to have it found"
    )
