"""The loss of single samples whatever the reduction, and the best constant predictor."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.monitor.losses import SampleLoss, constant_predictor_loss, detect_reduction

N, K = 9, 4


def outputs_and_labels(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, K, generator=generator, dtype=dtype), torch.randint(0, K, (N,), generator=generator)


def values(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


WEIGHT = torch.tensor([0.2, 1.0, 3.0, 0.7], dtype=torch.float64)
OUT, LABELS = outputs_and_labels()
PER_SAMPLE = {
    "cross entropy": (fn.cross_entropy, OUT, LABELS),
    "weighted": (lambda o, y, reduction="mean": fn.cross_entropy(o, y, WEIGHT, reduction=reduction), OUT, LABELS),
    "smoothed": (
        lambda o, y, reduction="mean": fn.cross_entropy(o, y, label_smoothing=0.1, reduction=reduction),
        OUT,
        LABELS,
    ),
    "squared": (fn.mse_loss, OUT, values(N, K)),
    "absolute": (fn.l1_loss, OUT, values(N, K)),
    "huber": (fn.smooth_l1_loss, OUT, values(N, K)),
    "logits": (fn.binary_cross_entropy_with_logits, OUT[:, :1], (LABELS[:, None] > 1).double()),
    "probabilities": (fn.binary_cross_entropy, OUT[:, :1].sigmoid(), (LABELS[:, None] > 1).double()),
    "log-probabilities": (fn.nll_loss, OUT.log_softmax(1), LABELS),
    "one number each": (fn.mse_loss, OUT[:, 0], values(N)),
    "images": (fn.cross_entropy, values(N, K, 2, 2), torch.arange(N * 4).view(N, 2, 2) % K),
    "divergence": (fn.kl_div, OUT.log_softmax(1), values(N, K).softmax(1)),
    "margin": (fn.multi_margin_loss, OUT, LABELS),
}


def with_reduction(loss, reduction):
    return lambda outputs, targets: loss(outputs, targets, reduction=reduction)


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", PER_SAMPLE)
def test_the_reduction_is_found_out(name, reduction):
    loss, outputs, targets = PER_SAMPLE[name]
    assert detect_reduction(with_reduction(loss, reduction), outputs, targets) == reduction


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_reduction_is_found_out_in_any_precision(dtype, reduction):
    outputs = OUT.to(dtype)
    assert detect_reduction(with_reduction(fn.cross_entropy, reduction), outputs, LABELS) == reduction
    assert detect_reduction(with_reduction(fn.mse_loss, reduction), outputs, outputs.roll(1, 0)) == reduction


def gradient(loss, outputs, targets, reduction):
    leaf = outputs.clone().requires_grad_()
    return torch.autograd.grad(SampleLoss(loss, targets, reduction).summed(leaf), leaf)[0]


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("name", ["cross entropy", "smoothed", "logits", "one number each", "log-probabilities"])
def test_gradients_are_those_of_single_samples_for_every_reduction(name):
    loss, outputs, targets = PER_SAMPLE[name]
    expected = torch.cat(
        [gradient(with_reduction(loss, "sum"), outputs[i : i + 1], targets[i : i + 1], "sum") for i in range(N)]
    )
    for reduction in ("mean", "sum", "none"):
        found = gradient(with_reduction(loss, reduction), outputs, targets, reduction)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_closure_of_the_users_own_counts_like_the_loss_inside():
    def own(outputs, targets):
        return 0.5 * ((outputs - targets) ** 2).sum(1).mean()

    outputs, targets = values(N, K), values(N, K, seed=2)
    assert detect_reduction(own, outputs, targets) == "mean"
    torch.testing.assert_close(gradient(own, outputs, targets, "mean"), outputs - targets)


def test_a_loss_divided_by_a_batch_size_of_its_own_is_a_sum():
    assert detect_reduction(lambda o, y: fn.cross_entropy(o, y, reduction="sum") / 128, OUT, LABELS) == "sum"


def perfect():
    return fn.mse_loss, OUT, OUT.clone()


def not_a_number():
    return fn.cross_entropy, torch.full((N, K), torch.nan), LABELS


def infinite():
    return fn.cross_entropy, torch.full((N, K), torch.inf), LABELS


def zero_head():
    return fn.cross_entropy, torch.zeros(N, K), LABELS


def saturated():
    return fn.multi_margin_loss, 1e3 * fn.one_hot(LABELS, K).double(), LABELS


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", [perfect, not_a_number, infinite, zero_head, saturated])
def test_losses_that_tell_nothing_at_these_outputs(case, reduction):
    loss, outputs, targets = case()
    assert detect_reduction(with_reduction(loss, reduction), outputs, targets) == reduction


def contrastive(outputs, targets):
    unit = fn.normalize(outputs, dim=1)
    return fn.cross_entropy(unit @ unit.T, torch.arange(len(outputs)))


def all_pairs(outputs, targets):
    return (outputs[:, None] - outputs[None]).square().mean()


def root_mean_square(outputs, targets):
    return fn.mse_loss(outputs, targets).sqrt()


def per_sample_weights(outputs, targets):
    return (torch.arange(1.0, N + 1) * fn.cross_entropy(outputs, targets, reduction="none")).mean()


def mean_of_sums_squared(outputs, targets):
    return fn.mse_loss(outputs, targets, reduction="sum") ** 2


COUPLED = [contrastive, all_pairs, root_mean_square, per_sample_weights, mean_of_sums_squared]


@pytest.mark.parametrize("loss", COUPLED)
def test_a_loss_that_couples_samples_must_be_declared(loss):
    targets = LABELS if loss is per_sample_weights else values(N, K, seed=2)
    with pytest.raises(InvalidInput, match="declare it with reduction="):
        detect_reduction(loss, OUT, targets)


def test_a_declared_reduction_is_believed():
    value = SampleLoss(root_mean_square, values(N, K), "mean").summed(OUT)
    torch.testing.assert_close(value, N * root_mean_square(OUT, values(N, K)))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda o, y: 1.0, "returns a tensor; got float"),
        (lambda o, y: None, "returns a tensor; got NoneType"),
        (lambda o, y: fn.cross_entropy(o, y, reduction="none")[:3], "one entry per sample"),
    ],
)
def test_what_is_no_loss_is_refused(loss, words):
    with pytest.raises(InvalidInput, match=words):
        detect_reduction(loss, OUT, LABELS)


def test_an_error_in_the_users_loss_is_the_users():
    def loss(outputs, targets):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        detect_reduction(loss, OUT, LABELS)


def test_a_wrong_declaration_and_a_loss_without_gradient_are_refused():
    none = with_reduction(fn.cross_entropy, "none")
    with pytest.raises(InvalidInput, match=r"is one number; got shape \(9,\)"):
        SampleLoss(none, LABELS, "mean").summed(OUT)
    with pytest.raises(InvalidInput, match="can be differentiated"):
        SampleLoss(lambda o, y: fn.cross_entropy(o.detach(), y), LABELS, "mean").summed(OUT.clone().requires_grad_())


def test_half_precision_losses_are_summed_in_float32():
    outputs = torch.full((3000, 2), 100.0, dtype=torch.float16)
    summed = SampleLoss(fn.mse_loss, torch.zeros_like(outputs), "mean").summed(outputs)
    assert summed.dtype == torch.float32
    assert summed.item() == 3000 * 1e4


def test_labels_only_enter_by_the_loss():
    loss = nn.CrossEntropyLoss(ignore_index=0)
    found = SampleLoss(loss, LABELS, "mean").summed(OUT)
    torch.testing.assert_close(found, N * loss(OUT, LABELS))


# the best constant predictor


def entropy(labels, k):
    share = np.bincount(labels, minlength=k) / len(labels)
    return -sum(p * math.log(p) for p in share if p > 0)


def best(loss, targets, shape, reduction="mean"):
    return constant_predictor_loss(SampleLoss(with_reduction(loss, reduction), targets, reduction), values(*shape))


@settings(deadline=None, max_examples=20)
@given(labels=st.lists(st.integers(0, 3), min_size=2, max_size=30), reduction=st.sampled_from(["mean", "sum", "none"]))
def test_cross_entropy_gives_the_entropy_of_the_classes(labels, reduction):
    found = best(fn.cross_entropy, torch.tensor(labels), (len(labels), 4), reduction)
    assert found == pytest.approx(entropy(labels, 4), abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), k=st.integers(1, 3), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_squared_error_gives_the_variance_of_the_targets(seed, k, scale):
    targets = scale * values(8, k, seed=seed) + scale
    assert best(fn.mse_loss, targets, (8, k)) == pytest.approx(targets.var(0, unbiased=False).mean().item(), rel=1e-9)


def with_scipy(loss, targets):
    def at(constant):
        constant = torch.from_numpy(constant).expand(len(targets), -1)
        return float(loss(constant, targets))

    starts = [np.zeros(targets.shape[1]), targets.mean(0).numpy(), targets.median(0).values.numpy()]
    options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000}
    return min(minimize(at, start, method="Nelder-Mead", options=options).fun for start in starts)


@pytest.mark.parametrize("loss", [fn.l1_loss, fn.smooth_l1_loss, fn.huber_loss])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_robust_losses_give_what_scipy_finds(loss, k, seed):
    targets = 3 * values(11, k, seed=seed) ** 3
    assert best(loss, targets, (11, k)) == pytest.approx(with_scipy(loss, targets), rel=1e-6)


def test_binary_cross_entropy():
    targets = torch.tensor([1.0, 0, 0, 0, 1, 0], dtype=torch.float64)[:, None]
    assert best(fn.binary_cross_entropy_with_logits, targets, (6, 1)) == pytest.approx(entropy([1, 0, 0, 0, 1, 0], 2))


def test_a_constant_image_is_the_same_for_every_sample():
    targets = values(5, 2, 3, 3)
    expected = targets.var(0, unbiased=False).mean().item()
    assert best(fn.mse_loss, targets, (5, 2, 3, 3)) == pytest.approx(expected)


def test_no_constant_reaches_a_finite_loss():
    assert math.isnan(best(fn.mse_loss, torch.full((5, 2), torch.nan, dtype=torch.float64), (5, 2)))
    detached = SampleLoss(lambda o, y: fn.mse_loss(o.detach(), y), values(5, 2), "mean")
    assert math.isnan(constant_predictor_loss(detached, values(5, 2)))


def test_too_many_outputs_are_not_searched():
    outputs = torch.zeros(2, 1).expand(2, 600_000)
    assert math.isnan(constant_predictor_loss(SampleLoss(fn.mse_loss, outputs, "mean"), outputs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_constant_of_half_precision_outputs_is_found_in_float32(dtype):
    loss = SampleLoss(fn.cross_entropy, LABELS, "mean")
    assert constant_predictor_loss(loss, OUT.to(dtype)) == pytest.approx(entropy(LABELS.numpy(), K), abs=1e-5)
    targets = values(N, K).to(dtype)
    expected = targets.float().var(0, unbiased=False).mean().item()
    assert constant_predictor_loss(SampleLoss(fn.mse_loss, targets, "mean"), OUT.to(dtype)) == pytest.approx(
        expected, 1e-3
    )
