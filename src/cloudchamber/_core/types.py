"""Shapes in types: checked by beartype while the tests run, free of cost otherwise.

Letters: n samples, d inputs of a neuron, h neurons of a layer, k outputs of the network.
"""

from __future__ import annotations

from jaxtyping import Float, Int, Shaped
from torch import Tensor

Vectors = Float[Tensor, "n d"]
Vector = Float[Tensor, " n"]
Scalar = Float[Tensor, ""]
CosineMatrix = Float[Tensor, "n n"]
Weight = Float[Tensor, "h d"]
Labels = Int[Tensor, " n"]
Batch = Shaped[Tensor, "n ..."]
Outputs = Float[Tensor, "n k"]
PerClass = Float[Tensor, " k"]
