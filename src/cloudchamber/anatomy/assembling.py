"""From what the hooks of a pass kept, and its derivatives, to snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from cloudchamber.anatomy.calls import AnyCall, Call, CompositeCall, call_suffixes
from cloudchamber.anatomy.composites import PartTensors
from cloudchamber.anatomy.derivatives import Derivatives, Request, stacked
from cloudchamber.anatomy.replay import replay
from cloudchamber.anatomy.snapshot import GRADIENT_FIELDS, GRADIENT_OF, STORED_FIELDS, LayerSnapshot
from cloudchamber.anatomy.view import LayerView

_OVERWRITTEN = "what it received or returned was overwritten in place"


def snapshots_of(
    calls: Sequence[AnyCall], derivatives: Derivatives, request: Request, samples: int
) -> tuple[dict[str, LayerSnapshot], dict[str, str]]:
    """Return a snapshot per view, and for views that could not be observed the reason."""
    suffixes = call_suffixes(calls)
    found: dict[str, LayerSnapshot] = {}
    reasons: dict[str, str] = {}
    for number, (call, suffix) in enumerate(zip(calls, suffixes, strict=True)):
        if isinstance(call, Call):
            view = call.chosen.views[0]
            following = "" if call.next is None else calls[call.next].chosen.views[0].name + suffixes[call.next]
            found[view.name + suffix] = _plain(number, call, following, derivatives, request)
            continue
        parts, reason = _parts(number, call, derivatives, request, samples)
        found |= {view.name + suffix: _of_part(view, parts[view.part], request) for view in call.chosen.views if parts}
        reasons |= {view.name: reason for view in call.chosen.views if reason}
    return found, reasons


def _plain(number: int, call: Call, following: str, derivatives: Derivatives, request: Request) -> LayerSnapshot:
    view, fields = call.chosen.views[0], request.fields
    tensors: dict[str, Tensor | None] = {name: getattr(call, name).value for name in STORED_FIELDS & fields}
    tensors |= {GRADIENT_OF[name]: derivatives.loss.get((number, name)) for name in GRADIENT_OF}
    if "weight" in fields:
        tensors["weight"] = view.neurons()
    if "gates" in fields:
        tensors["gates"] = derivatives.gates.get(number)
    if "per_output_gradients" in fields:
        tensors["per_output_gradients"] = stacked(derivatives.per_output.get((number, "outputs"), ()))
        tensors["kernel_samples"] = request.kernel_samples
    return LayerSnapshot(view, view.activation or call.activation, following, **tensors)


_Part = tuple[PartTensors, Tensor | None]
"""A part's tensors, and its gradients of single outputs of the network."""


def _parts(
    number: int, call: CompositeCall, derivatives: Derivatives, request: Request, samples: int
) -> tuple[Mapping[str, _Part], str]:
    """Return the parts of a composite module by name, computed once more, or why there are none."""
    if any(seen.overwritten for seen in call.seen):
        return {}, _OVERWRITTEN
    found = replay(call.chosen.module, call.args, call.kwargs, call.outputs, call.random_state)
    if found.reason:
        return {}, found.reason
    places = [(number, str(at)) for at in range(len(call.edges))]
    of_loss = [derivatives.loss.get(place) for place in places]
    parts = found.tensors(of_loss if any(gradient is not None for gradient in of_loss) else None)
    counts = {len(part.outputs) for part in parts.values()}
    if counts != {samples}:
        return {}, f"it was called with {sorted(counts)} samples instead of {samples}"
    outputs = zip(*(derivatives.per_output[place] for place in places if place in derivatives.per_output), strict=True)
    kernels = [found.tensors(gradients) for gradients in outputs]
    return {name: (part, _kernel([each[name] for each in kernels], request)) for name, part in parts.items()}, ""


def _kernel(outputs: Sequence[PartTensors], request: Request) -> Tensor | None:
    gradients = [part.output_gradients for part in outputs]
    chosen = request.kernel_samples
    return stacked([g if g is None or chosen is None else g[chosen.to(g.device)] for g in gradients])


def _of_part(view: LayerView, part: _Part, request: Request) -> LayerSnapshot:
    tensors, kernel = part
    names = (STORED_FIELDS | GRADIENT_FIELDS | {"gates"}) & request.fields
    found: dict[str, Tensor | None] = {name: getattr(tensors, name) for name in names}
    if "weight" in request.fields:
        found["weight"] = view.neurons()
    if "per_output_gradients" in request.fields:
        found |= {"per_output_gradients": kernel, "kernel_samples": request.kernel_samples}
    return LayerSnapshot(view, view.activation or "none", "", **found)
