"""The tangent kernel of the network on a few samples, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

from cloudchamber.anatomy import Capture, LayerSnapshot
from cloudchamber.measures import KernelDrift, contracted_kernel, kernel_drift, tangent_kernel

KERNEL_ROWS = 1000
"""Up to how many samples times outputs a kernel is one of all pairs of outputs; for more it is summed over outputs."""

FunctionalKernel = Callable[[Tensor], Tensor | None]
"""Takes the samples of the probe, (n,), and returns their kernel (n, n, k, k), as `functional_kernel` does."""


@dataclass(frozen=True)
class KernelSource:
    """Where the kernel of a network comes from.

    Attributes:
        closed: whether the parameters that are trained are exactly the weights and biases of the observed layers:
            then the kernel is that of the layers, in closed form, where all of them have rows.
        functional: the kernel of the whole network by its Jacobian, where the closed form cannot be had; None = then
            it is not measured.
    """

    closed: bool = False
    functional: FunctionalKernel | None = None

    def kernel(self, seen: Capture, few: Tensor) -> Tensor | None:
        """Return the kernel (n, n, k, k) or (n, n) of a few samples."""
        found = closed_kernel(list(seen.layers.values()), few) if self.closed else None
        if found is None and self.functional is not None:
            found = self.functional(few)
            if found is None:
                return None
            few_rows = found.shape[0] * found.shape[-1] <= KERNEL_ROWS
            found = found if found.ndim == 2 or few_rows else found.diagonal(dim1=2, dim2=3).sum(2)
        return found


def closed_kernel(layers: Iterable[LayerSnapshot], few: Tensor) -> Tensor | None:
    """Return the sum of the kernels of all weights, (n, n, k, k) or summed over outputs; None if one has no rows.

    The calls of a shared weight are applications of one layer.

    Args:
        layers: the snapshots, with inputs and per-output gradients.
        few: (n,) the samples; those of the per-output gradients, unless these are of all.
    """
    total: Tensor | None = None
    ordered = sorted(layers, key=lambda layer: layer.view.name)
    for _, calls in groupby(ordered, key=lambda layer: layer.view.name):
        part = _kernel_of_weight(list(calls), few)
        if part is None:
            return None
        total = part if total is None else total.add_(part)
    return total


def _kernel_of_weight(calls: list[LayerSnapshot], few: Tensor) -> Tensor | None:
    rows = [_rows(call, few) for call in calls]
    known = [pair for pair in rows if pair is not None]
    if len(known) < len(rows):
        return None
    X, G = torch.cat([x for x, _ in known], 1), torch.cat([g for _, g in known], 2)
    kernel = tangent_kernel if G.shape[0] * G.shape[1] <= KERNEL_ROWS else contracted_kernel
    return kernel([X], [G], biases=calls[0].view.bias)


def _rows(call: LayerSnapshot, few: Tensor) -> tuple[Tensor, Tensor] | None:
    """X (n, P, d) and G (n, k, P, h): which of the two is which does not matter to a kernel."""
    inputs, gradients = call.inputs, call.per_output_gradients
    if inputs is None or gradients is None:
        return None
    gradients = gradients[few] if call.kernel_samples is None else gradients
    received, sent = call.view.input_rows(inputs[few]), call.view.output_rows(gradients.flatten(0, 1))
    if received is None or sent is None:
        return None
    return received, sent.unflatten(0, gradients.shape[:2])


@dataclass(frozen=True)
class Network:
    """What measures of the whole network take; what several take is computed once.

    Attributes:
        seen: the pass over the probe.
        labels: (n,) class of each probe sample.
        targets: (n, k) what the network should give, as numbers; None = unknown.
        few: the samples of the kernel.
        source: where the kernel comes from.
        initial: returns a thing of the network as it was first made, by name; given how it is made now.
    """

    seen: Capture
    labels: Tensor
    targets: Tensor | None
    few: Tensor
    source: KernelSource
    initial: Callable[[str, Callable[[], Tensor]], Tensor]

    @property
    def network_outputs(self) -> Tensor:
        """(n, k)."""
        return self.seen.outputs

    @cached_property
    def kernel(self) -> Tensor | None:
        """(n, n, k, k) or (n, n)."""
        return self.source.kernel(self.seen, self.few)

    @cached_property
    def kernel_drift(self) -> KernelDrift | None:
        """How far the kernel is from the one that was first asked for."""
        kernel = self.kernel
        return None if kernel is None else kernel_drift(kernel, self.initial("kernel", kernel.clone))

    @property
    def kernel_targets(self) -> Tensor | None:
        """y (n, k) of the kernel's samples; None where there are none, or other ones than outputs."""
        kernel, targets = self.kernel, self.targets
        if kernel is None or targets is None or (kernel.ndim == 4 and targets.shape[1] != kernel.shape[2]):
            return None
        return targets[self.few].to(kernel)
