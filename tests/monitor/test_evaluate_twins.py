"""Every quantity through the evaluation of a chain, against the same computed from n×h×d tensors, SVD and autograd."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from evaluate_cases import CLOSED, chain, data, evaluated, evaluation, full_layers, jacobian_kernel, pass_over

from cloudchamber.measures import select
from cloudchamber.measures.registry import all_measures

LAYERS = 4


def cosine(u, v):
    return (u @ v / (u.norm() * v.norm())).item()


def pair_mean(rows):
    return np.mean([cosine(u, v) for u, v in itertools.combinations(rows, 2)])


def by_class(y, of_class):
    return np.mean([of_class(y == c) for c in y.unique()])


def oriented(v):
    """With the sign that makes the first of the largest entries positive."""
    return v * v[v.abs() >= v.abs().max() * (1 - 1e-6)][0].sign()


def directions(layer):
    """The left singular vectors and values of all samples' gradients side by side."""
    U, s, _ = torch.linalg.svd(torch.cat(list(layer.grads), 1), full_matrices=False)
    return torch.stack([oriented(u) for u in U.T]), s


def common(layer):
    return directions(layer)[0][0]


def along(layer):
    return layer.W.T @ common(layer)


def epsilon(layer):
    return layer.W.T - torch.outer(along(layer), common(layer))


def changes(layer):
    """ΔV (n, d) and Δε (n, d, h) of every sample, from its materialised gradient."""
    dW = -layer.grads
    dV = dW.mT @ common(layer)
    return dV, dW.mT - dV[:, :, None] * common(layer)


def lemma3(layer):
    dV, de = changes(layer)
    overlap = (dV * layer.X).sum(1)
    common = [overlap[x] * (along(layer) @ along(layer)) * overlap[x] for x in range(len(layer.X))]
    noise = [overlap[x] * (along(layer) @ epsilon(layer) @ de[x].T @ layer.X[x]) for x in range(len(layer.X))]
    return np.mean(common), np.mean(noise)


def enhancement(layer, dV):
    return np.mean([cosine(dV[x], layer.X[x]) * cosine(along(layer), -layer.X_grad[x]) for x in range(len(layer.X))])


def alpha(layer, y, pushes):
    signs = {}
    for c in y.unique().tolist():
        votes = pushes[y == c].sign().sum()
        signs[c] = -(votes if votes else pushes[y == c].sum()).sign()
    return torch.stack([signs[c] for c in y.tolist()])


def alignment(layer, y, order=None):
    pushes = layer.g @ common(layer)
    pushes = pushes if order is None else pushes[order]
    dV = -(pushes[:, None] * layer.X).sum(0)
    cosines = torch.stack([dV @ x / (dV.norm() * x.norm()) for x in layer.X])
    return (cosines * alpha(layer, y, pushes)).mean().item()


def permutations(n):
    random = torch.Generator().manual_seed(0)
    return [torch.randperm(n, generator=random) for _ in range(20)]


def agreement(layer, y):
    pushes = layer.g @ common(layer)
    return by_class(y, lambda mine: np.mean([float(a * b > 0) for a, b in itertools.combinations(pushes[mine], 2)]))


def nc1(layer, y):
    means = torch.stack([layer.F[y == c].mean(0) for c in y.unique()])
    within = torch.stack([(r := layer.F[y == c] - means[i]).T @ r / len(r) for i, c in enumerate(y.unique())]).mean(0)
    between = (means - means.mean(0)).T @ (means - means.mean(0)) / len(means)
    return (torch.trace(within @ torch.linalg.pinv(between)) / len(means)).item()


def effective_rank(rows):
    p = torch.linalg.svdvals(rows)
    p = p / p.sum()
    return math.exp(-(p * p.log()).sum())


def groups(rows, threshold=0.9):
    left, count = sorted(range(len(rows)), key=lambda i: -rows[i].norm()), 0
    while left:
        count += 1
        left = [i for i in left[1:] if abs(cosine(rows[left[0]], rows[i])) <= threshold]
    return count


def theorem1(layer, above, k=None):
    """‖ΔW‖ of every sample's primary part, or of its k-th noise part, as the paper writes them (with η = 1)."""
    C1, V1 = common(above), along(above)
    dV1, de1 = changes(above)
    U, s, T = torch.linalg.svd(epsilon(above))
    norms = []
    for x in range(len(layer.X)):
        D, F, last = torch.diag(layer.gates[x]), layer.F[x], layer.X[x]
        if k is None:
            left = D @ torch.outer(V1, C1) @ torch.outer(C1, dV1[x]) @ F
        else:
            left = D @ (s[k] * torch.outer(U[:, k], T[k])) @ de1[x].T @ F
        norms.append((torch.outer(left, last) / (F @ F)).norm())
    return torch.stack(norms)


def noise(layer, above):
    return torch.stack([theorem1(layer, above, k).mean() for k in range(min(above.W.shape))])


def zeta(layer, above):
    U, _, T = torch.linalg.svd(layer.W)
    U1, _, T1 = torch.linalg.svd(above.W)
    sign = (T[0] @ oriented(T[0])).sign() * (U1[:, 0] @ oriented(U1[:, 0])).sign()
    return (sign * (U[:, 0] @ T1[0])).item()


def strengths(layer):
    """NaN beyond the rank: the output gradients of cross entropy add up to zero."""
    vectors, s = directions(layer)
    return [(layer.grads.mean(0).T @ vectors[i]).norm().item() if s[i] > 1e-12 else math.nan for i in range(3)]


def share(layer):
    s = directions(layer)[1].square()
    return (s[0] / s.sum()).item()


OF_LAYER = {
    "feature_cosine": lambda a, y, start: pair_mean(a.F),
    "gradient_cosine": lambda a, y, start: by_class(y, lambda mine: pair_mean(a.F_grad[mine])),
    "effective_rank": lambda a, y, start: effective_rank(a.F),
    "within_between_variability": lambda a, y, start: nc1(a, y),
    "weight_norm": lambda a, y, start: a.W.square().sum().sqrt(),
    "relative_distance": lambda a, y, start: (a.W - start).norm() / start.norm(),
    "gradient_norm": lambda a, y, start: a.grads.mean(0).norm(),
    "sample_gradient_norm": lambda a, y, start: a.grads.flatten(1).norm(dim=1).mean(),
    "direction_strength": lambda a, y, start: strengths(a),
    "direction_share": lambda a, y, start: share(a),
    "weight_along_direction": lambda a, y, start: along(a).norm(),
    "weight_beside_direction": lambda a, y, start: epsilon(a).norm() / a.W.norm(),
    "common_term": lambda a, y, start: lemma3(a)[0],
    "noise_term": lambda a, y, start: lemma3(a)[1],
    "self_enhancement": lambda a, y, start: enhancement(a, changes(a)[0]),
    "self_enhancement_step": lambda a, y, start: enhancement(a, changes(a)[0].mean(0).expand_as(a.X)),
    "step_alignment": lambda a, y, start: alignment(a, y),
    "step_alignment_permuted": lambda a, y, start: np.mean([alignment(a, y, p) for p in permutations(len(y))]),
    "sign_agreement": lambda a, y, start: agreement(a, y),
    "effective_width": lambda a, y, start: groups(a.W),
    "channel_groups": lambda a, y, start: groups(a.Z.T),
    "dead_fraction": lambda a, y, start: np.mean([float((f == 0).all()) for f in a.F.T]),
    "static_fraction": lambda a, y, start: np.mean([float((w == v).all()) for w, v in zip(a.W, start, strict=True)]),
    "neuron_distance": lambda a, y, start: [(w - v).norm() / v.norm() for w, v in zip(a.W, start, strict=True)],
    "sample_cosine": lambda a, y, start: [[cosine(u, v) for v in in_order(a, y)] for u in in_order(a, y)],
    "neuron_cosine": lambda a, y, start: [[cosine(u, v) for v in a.W] for u in a.W],
}
OF_TWO_LAYERS = {
    "layer_alignment": zeta,
    "primary_strength": lambda a, above: theorem1(a, above).mean(),
    "primary_strength_error": lambda a, above: theorem1(a, above).std() / len(a.X) ** 0.5,
    "noise_strength": lambda a, above: noise(a, above)[:3],
    "noise_strength_max": lambda a, above: noise(a, above).max(),
    "noise_strength_mean": lambda a, above: noise(a, above).mean(),
}


def in_order(layer, y):
    return layer.F[torch.argsort(y, stable=True)]


def trained(seed):
    """A chain and its weights at the start; one neuron of each layer has stayed, and one of the first is dead."""
    x, y = data(seed=seed)
    start = chain(seed, activation=torch.nn.Tanh)
    model = copy.deepcopy(start)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[1:] += 0.3 * torch.randn(parameter[1:].shape, dtype=torch.float64)
    return model, x, y, {str(i): layer.weight.detach() for i, layer in enumerate(start) if hasattr(layer, "weight")}


@pytest.fixture(scope="module", params=[0, 1])
def case(request):
    model, x, y, start = trained(request.param)
    values = evaluated(model, x, y, ["all"], shuffled=x.roll(1, 1), initial_weights=start)
    return values, full_layers(model, x, y), full_layers(model, x.roll(1, 1), y), y, list(start.values())


def assert_same(measured, expected, tolerance=1e-10):
    expected = np.asarray(expected, dtype=float)
    assert measured.shape == expected.shape
    np.testing.assert_allclose(measured, expected, rtol=tolerance, atol=tolerance)


def cut(masked):
    """Without what is padding."""
    return masked[tuple(slice(n) for n in np.array(np.nonzero(~masked.mask)).max(1) + 1)] if masked.ndim else masked


@pytest.mark.parametrize("name", OF_LAYER)
def test_each_quantity_of_a_layer_is_what_the_materialised_tensors_say(case, name):
    values, layers, _, y, start = case
    tolerance = 1e-6 if name in ("sample_cosine", "neuron_cosine") else 1e-10  # images are kept in float32
    for number in range(LAYERS):
        found = cut(values[name][number])
        assert_same(found, OF_LAYER[name](layers[number], y, start[number]), tolerance)


@pytest.mark.parametrize("name", OF_TWO_LAYERS)
def test_each_quantity_of_two_layers_is_what_the_materialised_tensors_say(case, name):
    values, layers, *_ = case
    for number in range(LAYERS - 1):
        assert_same(cut(values[name][number]), OF_TWO_LAYERS[name](layers[number], layers[number + 1]), 1e-9)
    assert values[name][-1].mask.all()  # the last layer has none above it


@pytest.mark.parametrize("name", [name for name, measure in all_measures().items() if measure.shuffled])
def test_null_values_are_the_same_measures_of_the_shuffled_probe(case, name):
    values, _, shuffled, y, start = case
    plain = name.removesuffix("_shuffled")
    assert (values["feature_cosine"] != values["feature_cosine_shuffled"]).all()
    for number in range(LAYERS):
        assert_same(values[name][number], OF_LAYER[plain](shuffled[number], y, start[number]))


def test_every_measure_has_a_twin():
    twins = OF_LAYER.keys() | OF_TWO_LAYERS.keys() | KERNEL.keys() | {"class_accuracy"} | ONE_INPUT
    assert {name for name, measure in all_measures().items() if not measure.shuffled} == twins


def test_class_accuracy(case):
    values, layers, _, y, _ = case
    right = layers[-1].F.argmax(1) == y
    assert_same(values["class_accuracy"], [right[y == c].double().mean() for c in range(3)])


ONE_INPUT = {"orientation_angle", "neuron_amplitude"}


def test_neurons_with_one_input_and_a_bias_have_an_angle_and_an_amplitude():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(1, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    values = evaluated(model, *data(inputs=1), sorted(ONE_INPUT))
    w, b = model[0].weight[:, 0].tolist(), model[0].bias.tolist()
    assert_same(values["orientation_angle"][0], [math.atan2(*pair) for pair in zip(b, w, strict=True)])
    assert_same(values["neuron_amplitude"][0], [math.hypot(*pair) for pair in zip(b, w, strict=True)])
    assert values["orientation_angle"].mask.tolist() == [[False] * 6, [True] * 6]


def fit(K, Y, centred=False):
    """Alignment of a kernel of samples and outputs with targets, one entry at a time."""
    y = Y.flatten()
    if centred:
        y = (Y - Y.mean(0)).flatten()
        n, k = Y.shape
        H = torch.eye(n, dtype=K.dtype) - 1 / n
        H = torch.kron(H, torch.eye(k, dtype=K.dtype))
        K = H @ K @ H
    return (y @ K @ y / (K.norm() * (y @ y))).item()


KERNEL = {
    "kernel_trace": lambda K, K0, Y: K.trace(),
    "kernel_spectrum": lambda K, K0, Y: torch.linalg.eigvalsh(K).flip(0)[:10],
    "kernel_distance": lambda K, K0, Y: (K - K0).norm() / K0.norm(),
    "kernel_rotation": lambda K, K0, Y: 1 - cosine(K.flatten(), K0.flatten()),
    "kernel_alignment": lambda K, K0, Y: fit(K, Y),
    "kernel_alignment_permuted": lambda K, K0, Y: np.mean([fit(K, Y[p]) for p in permutations(len(Y))]),
    "kernel_alignment_centered": lambda K, K0, Y: fit(K, Y, True),
    "kernel_alignment_centered_permuted": lambda K, K0, Y: np.mean([fit(K, Y[p], True) for p in permutations(len(Y))]),
}


@pytest.mark.parametrize("seed", [0, 1])
def test_quantities_of_the_kernel_are_those_of_the_jacobian(seed):
    model, x, y, _ = trained(seed)
    start, Y, measures = chain(seed), torch.nn.functional.one_hot(y).double(), select(["kernel"])
    seen = pass_over(start, x, y, measures)
    one = evaluation(seen, y, measures, targets=Y, kernel_source=CLOSED)
    first = one.values(seen, images=True)
    assert (first["kernel_distance"], first["kernel_rotation"]) == (0, 0)
    values = one.values(pass_over(model, x, y, measures), images=True)
    K, K0 = jacobian_kernel(model, x), jacobian_kernel(start, x)
    assert set(values) == set(KERNEL)
    for name, twin in KERNEL.items():
        assert_same(values[name], twin(K, K0, Y), 1e-9)
