"""Weight changes beside features: twins by loops, nulls, laws, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from layer_cases import LAYERS
from measure_cases import gaussian, laws, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import class_signs, shuffled_step_alignment, sign_agreement, step_alignment

every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
sizes = st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 6), seeds)


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance, equal_nan=True)


def cosine(a, b):
    size = a.norm() * b.norm()
    return (a @ b / size).item() if size > 0 else math.nan


def slow_sign(pushes):
    """Minus the sign that most of the pushes have, or their sum."""
    votes = sum((push > 0) - (push < 0) for push in pushes) or sum(pushes)
    return -1.0 if votes > 0 else 1.0 if votes < 0 else math.nan


def slow_step_alignment(inputs, G, C, labels, changes):
    """From the materialised changes of the samples."""
    dV = changes.mean(0).T @ C / (C @ C)
    found = []
    for x, name in zip(inputs, labels.tolist(), strict=True):
        pushes = (G[labels == name] @ C).flatten().tolist()
        rows = x if x.ndim == 2 else x[None]
        found.append([slow_sign(pushes) * cosine(dV, row) for row in rows])
    return torch.tensor(found, dtype=torch.float64).view(inputs.shape[:-1])


def slow_agreement(G, C, labels):
    rates = []
    for name in set(labels.tolist()):
        signs = [math.copysign(1, push) for push in (G[labels == name] @ C).tolist() if push]
        pairs = [a == b for i, a in enumerate(signs) for j, b in enumerate(signs) if i != j]
        rates += [sum(pairs) / len(pairs)] if pairs else []
    return sum(rates) / len(rates) if rates else math.nan


def layer_of(n, d, h, seed, classes=3):
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    return gaussian(n, d, seed), gaussian(n, h, seed + 1), gaussian(1, h, seed + 2)[0], labels


@every_layer
@pytest.mark.parametrize("labels", [None, torch.tensor([4, 1, 4, 1, 4])])
def test_cosines_are_those_of_the_materialised_changes(layer, labels):
    C = gaussian(1, layer.loss_gradients.shape[-1], 3)[0]
    found = step_alignment(layer.inputs, layer.loss_gradients, C, labels)
    names = torch.zeros(5, dtype=torch.int64) if labels is None else labels
    expected = slow_step_alignment(layer.inputs, layer.loss_gradients, C, names, -0.1 * layer.gradients)
    close(found, expected)
    assert found.shape == layer.inputs.shape[:-1]


@laws
@given(sizes, st.floats(0.01, 100))
def test_scale_and_order_and_axes_do_not_matter(size, factor):
    n, d, _, seed = size
    X, G, C, labels = layer_of(*size)
    found, order = step_alignment(X, G, C, labels), shuffle(n, seed)
    close(step_alignment(factor * X, 2 * factor * G, factor * C, labels), found)
    close(step_alignment(X @ rotation(d, seed), G, C, labels), found, 1e-9)
    close(step_alignment(X[order], G[order], C, labels[order]), found[order], 1e-9)
    close(step_alignment(X, G, -C, labels), found)
    known = found[~found.isnan()]
    assert ((known >= -1) & (known <= 1)).all()


def test_of_one_sample_the_cosine_is_one_whatever_it_is():
    X, G, C, _ = layer_of(1, 4, 3, 0)
    close(step_alignment(X, G, C), torch.ones(1, dtype=torch.float64))


@laws
@given(sizes)
def test_the_null_is_the_measure_on_dealt_pushes(size):
    n, _, _, seed = size
    X, G, C, labels = layer_of(*size)
    found = shuffled_step_alignment(X, G, C, labels, draws=4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for draw in found:
        order = torch.randperm(n, generator=generator)
        close(draw, step_alignment(X, G[order], C, labels), 1e-9)


def test_positions_of_a_sample_are_dealt_together():
    X, G, C = gaussian(12, 3).view(4, 3, 3), gaussian(12, 2, 1).view(4, 3, 2), gaussian(1, 2, 2)[0]
    found = shuffled_step_alignment(X, G, C, draws=1, seed=5)[0]
    order = torch.randperm(4, generator=torch.Generator().manual_seed(5))
    close(found, step_alignment(X, G[order], C))


def test_features_that_are_all_positive_have_a_large_cosine_by_chance_too():
    """Why there is a null: the pushes have nothing to do with the samples here."""
    X, G = gaussian(200, 50).abs() + 1, gaussian(200, 1, 1) + 1
    C = torch.ones(1, dtype=torch.float64)
    real, null = step_alignment(X, G, C).mean(), shuffled_step_alignment(X, G, C).mean()
    assert real > 0.8
    assert abs(real - null) < 0.05


def test_pushes_that_go_with_their_features_stand_out_from_the_null():
    labels = torch.arange(100) % 2
    X = gaussian(100, 20) + 3 * torch.eye(2, 20, dtype=torch.float64)[labels]
    G = (1.0 - 2.0 * labels)[:, None] * (1 + gaussian(100, 1, 1).abs())
    C = torch.ones(1, dtype=torch.float64)
    assert step_alignment(X, G, C, labels).mean() > 0.2 + shuffled_step_alignment(X, G, C, labels).mean()


def test_the_null_leaves_the_random_state_alone_and_is_the_same_every_time():
    X, G, C, labels = layer_of(6, 3, 2, 0)
    state = torch.get_rng_state()
    found = shuffled_step_alignment(X, G, C, labels)
    assert found.shape == (20, 6)
    assert torch.equal(found.nan_to_num(2), shuffled_step_alignment(X, G, C, labels).nan_to_num(2))
    assert torch.equal(torch.get_rng_state(), state)


@laws
@given(sizes)
def test_signs_are_those_of_most_samples_of_a_class(size):
    _, G, C, labels = layer_of(*size)
    expected = [slow_sign((G[labels == name] @ C).tolist()) for name in sorted(set(labels.tolist()))]
    close(class_signs(G, C, labels), torch.tensor(expected, dtype=torch.float64))
    close(class_signs(G, -C, labels), -class_signs(G, C, labels))


def test_signs_of_positions_all_count():
    G = torch.tensor([[[1.0], [-1.0], [-1.0]], [[30.0], [-9.0], [-9.0]]])
    assert class_signs(G, torch.ones(1)).tolist() == [1.0]
    assert class_signs(G[:, :2], torch.ones(1)).tolist() == [-1.0]
    assert class_signs(G[:1, :2], torch.ones(1)).isnan().all()


@laws
@given(sizes, st.integers(1, 4))
def test_agreement_is_that_of_all_pairs(size, classes):
    _, G, C, labels = layer_of(*size, classes=classes)
    G[::4] = 0
    found, expected = sign_agreement(G, C, labels), slow_agreement(G, C, labels)
    close(found, torch.tensor(expected, dtype=torch.float64))
    assert found.isnan() or 0 <= found <= 1


@laws
@given(sizes, st.floats(0.01, 100))
def test_agreement_does_not_see_order_scale_or_the_sign_of_the_direction(size, factor):
    n, _, _, seed = size
    _, G, C, labels = layer_of(*size)
    found, order = sign_agreement(G, C, labels), shuffle(n, seed)
    sizes = 0.1 + gaussian(n, 1, seed).abs()
    close(sign_agreement((factor * sizes * G)[order], -factor * C, labels[order]), found)


def test_agreement_of_random_signs_is_one_half_and_of_equal_signs_one():
    C = torch.ones(1, dtype=torch.float64)
    assert sign_agreement(gaussian(4000, 1), C).item() == pytest.approx(0.5, abs=0.01)
    assert sign_agreement(gaussian(40, 1).abs(), C) == 1
    labels = (gaussian(40, 1)[:, 0] > 0).long()
    assert sign_agreement(gaussian(40, 1), C, labels) == 1
    rates = [sign_agreement(gaussian(7, 1, seed), C).item() for seed in range(2000)]
    assert sum(rates) / 2000 == pytest.approx(0.5, abs=0.01)


def test_without_pairs_agreement_is_undefined():
    assert sign_agreement(torch.ones(1, 2), torch.ones(2)).isnan()
    assert sign_agreement(torch.zeros(3, 2), torch.ones(2)).isnan()
    assert sign_agreement(torch.ones(0, 2), torch.ones(2)).isnan()
    assert sign_agreement(torch.ones(3, 2), torch.ones(2), torch.arange(3)).isnan()


def test_zero_features_zero_gradients_and_no_samples():
    X, G, C, _ = layer_of(4, 3, 2, 0)
    X[1] = 0
    assert step_alignment(X, G, C).isnan().tolist() == [False, True, False, False]
    assert step_alignment(X, 0 * G, C).isnan().all()
    assert step_alignment(X[:0], G[:0], C).shape == (0,)
    assert class_signs(0 * G, C).isnan().all()


def test_unknown_gradients_leave_the_signs_of_other_classes_known():
    _, G, C, _ = layer_of(4, 3, 2, 0)
    G[0, 0], labels = math.nan, torch.tensor([0, 0, 1, 1])
    assert class_signs(G, C, labels)[0].isnan()
    assert class_signs(G, C, torch.tensor([0, 0, 1, 2]))[1:].isfinite().all()
    assert sign_agreement(G, C, labels).isnan()
    assert step_alignment(torch.ones(4, 3), G, C, labels).isnan().all()
    assert class_signs(G, torch.zeros(2)).isnan().all()


def test_precisions():
    X, G, C, labels = layer_of(4, 3, 2, 0)
    assert step_alignment(X.half(), G.float(), C, labels).dtype == torch.float32
    assert step_alignment(X, G.float(), C, labels).dtype == torch.float64
    assert class_signs(G.half(), C, labels).dtype == sign_agreement(G.half(), C).dtype == torch.float32
    assert class_signs(G, C.half()).dtype == sign_agreement(G, C.half()).dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("step_alignment", (torch.ones(3, 2), torch.ones(4, 2), torch.ones(2)), "hold the same samples"),
        ("step_alignment", (torch.ones(3, 2), torch.ones(3, 2), torch.ones(3)), "`direction`"),
        ("step_alignment", (torch.ones(3, 2), torch.ones(3, 2), torch.ones(2), torch.ones(3)), "`labels`"),
        ("class_signs", (torch.ones(3, 2), torch.ones(2), torch.arange(2)), "`labels`"),
        ("sign_agreement", (torch.ones(3, 2, 2), torch.ones(2)), "`output_gradients`.*applied once"),
        ("sign_agreement", (torch.ones(3, 2), torch.ones(2), torch.ones(3)), "`labels`"),
    ],
)
def test_bad_arguments_are_refused(name, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        getattr(unchecked("alignment"), name)(*arguments)


def test_a_null_of_no_draws_is_refused():
    with pytest.raises(InvalidInput, match="`draws` is at least 1; got 0"):
        shuffled_step_alignment(torch.ones(3, 2), torch.ones(3, 2), torch.ones(2), draws=0)
