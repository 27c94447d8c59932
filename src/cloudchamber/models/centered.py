"""A network less what it is at the start."""

from __future__ import annotations

import copy

from torch import Tensor, nn


class CenteredOutput(nn.Module):
    """A network whose output starts at zero: what it was when this was made is subtracted; (n, ...) → (n, outputs).

    Equation: `f(x; θ) − f(x; θ₀)`; θ₀ is a copy that is not trained.

    Args:
        network: f; its parameters keep their names, behind `network.`.

    Source: Chizat et al. 2018; xu2024, Theorem 2: at finite width the kernel phase needs a zero initial output.

    >>> import torch
    >>> CenteredOutput(nn.Linear(2, 1))(torch.ones(3, 2)).abs().max()
    tensor(0., grad_fn=<MaxBackward1>)
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.start = copy.deepcopy(network).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both networks."""
        return self.network(x) - self.start(x)
