"""What the tracker knows about torch functions, by their names without the underscores around them.

`relu_` is the same function as `relu`.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NONLINEAR = _names(
    """relu relu6 leaky_relu rrelu prelu elu selu celu gelu silu mish softplus softsign tanh sigmoid hardtanh
    hardsigmoid hardswish hardshrink softshrink tanhshrink logsigmoid threshold sin cos erf exp square abs pow rpow
    where clamp clip clamp_min clamp_max maximum minimum gt lt ge le sign heaviside sqrt rsqrt log log1p expm1 atan
    reciprocal rdiv rtruediv masked_fill"""
)
PRODUCTS = _names("mul multiply")
NONLINEAR_IN_PAIRS = PRODUCTS | _names("div divide truediv true_divide max min")
ADDITIONS = _names("add radd iadd sub subtract rsub isub")
LINEAR = ADDITIONS | _names(
    """mul multiply rmul div divide truediv true_divide neg negative positive clone contiguous to type type_as float
    double half bfloat16 cpu cuda zeros_like ones_like full_like"""
)
TRANSPARENT = _names(
    """batch_norm layer_norm group_norm instance_norm rms_norm dropout dropout1d dropout2d dropout3d alpha_dropout
    feature_alpha_dropout max_pool1d max_pool2d max_pool3d view reshape flatten unflatten transpose permute squeeze
    unsqueeze movedim swapaxes"""
)
MIXING = _names(
    """mean var std var_mean std_mean sum norm vector_norm linalg_vector_norm amax amin aminmax median logsumexp softmax
    normalize rand rand_like randn_like bernoulli"""
)
AVERAGED = _names("square abs exp pow")
"""Nonlinear functions that belong to a normalization if their results are averaged."""
