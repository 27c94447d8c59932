"""What may end a plateau, least invasive first; fitted to the recipe where the record holds one.

All of it is from mlp2024 (Section 3.3, Appendices C, I and K). Each was also tried alone on one stuck run of ours
(docs/diagnosis.md holds the numbers).
"""

from __future__ import annotations

import math

from cloudchamber.diagnosis.case import Case


def cures(case: Case) -> tuple[str, ...]:
    """Return what may shorten or end a plateau: the rescue, then what to change by hand, least invasive first."""
    proposals = (
        _rescue(case),
        _weight_decay(case),
        momentum(case),
        _larger_weights(case),
        _normalization(case),
        _fewer_layers(case),
    )
    return tuple(text for text in proposals if text)


def smaller_steps(case: Case, factor: float) -> str:
    """Return the advice to divide the learning rate."""
    lr = case.number("optimizer.lr")
    if math.isnan(lr):
        return f"Use a learning rate {factor:g} times smaller."
    return f"Use a smaller learning rate: `--set optimizer.lr={lr / factor:g}` (it was {lr:g})."


def _rescue(case: Case) -> str:
    what = "tries remedies on copies and goes on with the least invasive one that moves the loss"
    if case.recipe:
        return f"Free the run: `cloudchamber rescue RUN`, with its folder as RUN, {what}."
    return f"Free the run: `cc.rescue(model, optimizer, record, probe=(x, y), loss=loss_fn).apply()` {what}."


def _weight_decay(case: Case) -> str:
    source = "it shrinks the weights and strengthens condensation (mlp2024, Appendix I.5)."
    if not case.recipe:
        return f"If the optimizer uses weight decay, use less of it: {source}"
    decay = case.number("optimizer.weight_decay")
    return f"Drop weight decay: `--set optimizer.weight_decay=0` (it was {decay:g}); {source}" if decay > 0 else ""


def momentum(case: Case) -> str:
    """Return the advice to use momentum, "" if the run has it."""
    source = "(mlp2024, Appendix I.3)."
    if not case.recipe:
        return f"With plain SGD, use momentum, torch.optim.SGD(..., momentum=0.9); a run can go on with it {source}"
    if case.setting("optimizer.name") != "sgd" or case.number("optimizer.momentum") >= 0.9:
        return ""
    return f"Use momentum: `--set optimizer.momentum=0.9` {source}"


def _larger_weights(case: Case) -> str:
    source = "the paper's stuck networks trained with variance scale 1 (mlp2024, Appendix C)."
    scale = case.number("initialization.variance_scale")
    if not case.recipe:
        return f"Start again from larger weights, torch.nn.init.xavier_normal_ or a multiple of it: {source}"
    if math.isnan(scale):
        return f"Start again from larger weights: `--set initialization.name=xavier_normal`; {source}"
    if scale < 1:
        return f"Start again from larger weights: `--set initialization.variance_scale=1` (it was {scale:g}); {source}"
    larger = f"`--set initialization.variance_scale={2 * scale:g}`"
    return f"Start again from larger weights: {larger} (mlp2024, Section 3.3); if it then diverges, take smaller steps."


def _normalization(case: Case) -> str:
    types = [str(name) for name in case.record["module_type"].values] if "module_type" in case.record.coords else []
    if any("Norm" in name for name in types) or case.setting("norms") is not None:
        return ""
    how = " (`--set norms.name=batch_norm`)" if case.recipe else ""
    return (
        f"Put batch normalization after some layers, before their activation{how}: after the layers 1, 3, 5 and 7 it "
        "frees a stuck MLP of nine (mlp2024, Appendix K)."
    )


def _fewer_layers(case: Case) -> str:
    depth = case.number("model.depth")
    source = "the first phase gets longer with depth (mlp2024, Section 2 and Figure 1c)."
    if math.isnan(depth):
        return f"Use fewer layers: {source}"
    if depth <= 4:
        return ""
    return f"Use fewer layers: `--set model.depth={int(depth) * 2 // 3}` (it was {depth:g}); {source}"
