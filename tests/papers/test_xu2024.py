"""What the exhibits of xu2024 compute, beside slow twins and laws."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call

from cloudchamber.measures import functional_kernel
from cloudchamber.papers.xu2024 import fig3, fig4, tab1
from cloudchamber.papers.xu2024.alignment import trajectories
from cloudchamber.papers.xu2024.pictures import pictures
from cloudchamber.papers.xu2024.scaled_start import scaled_mlp, scaled_resnet
from cloudchamber.papers.xu2024.two_layer import _kernel, he_sizes, network, train
from cloudchamber.theory import Exponents, parametrization

HERE = Path()
SMALL = {"width": 30, "seeds": 2, "steps": 1000, "time": 1.5}


@pytest.fixture(scope="module")
def images():
    return pictures("digits", samples=0, tests=0, side=8, seed=0)


@pytest.mark.parametrize("scaling", ["mean_field", "ntk", "xavier+", "kaiming+"])
def test_experiment_follows_theory(scaling):
    found = trajectories(HERE, scaling=scaling, **SMALL)
    assert float(abs(found.alignment - found.theory).max()) < 2e-3
    assert np.allclose(found.slope[:, -1], 1.0, atol=5e-3)


def test_a_relu_network_on_a_line_is_two_linear_ones():
    found = trajectories(
        HERE, scaling="mean_field", start="parallel", disturbance=0.3, size=2.0, activation="relu", **SMALL
    )
    assert float(abs(found.alignment - found.theory).max()) < 1e-2


def test_the_ratio_of_rates_decides_neither_sign_nor_amount_of_alignment():
    ends = [
        trajectories(HERE, scaling="mean_field", ratio=ratio, **SMALL | {"steps": 2500, "time": 4.0}).alignment
        for ratio in (0.1, 1.0, 10.0)
    ]
    start, end = (np.array([one[:, place] for one in ends]) for place in (0, -1))
    assert (end > start).all()
    assert np.ptp(end, axis=0).max() < 1e-3


def test_networks_of_a_pair_are_one_at_the_base_width():
    base = {name: he_sizes(64, 8, 0.1).times(1.0, parametrization(name)) for name in ("kaiming+", "kaiming-")}
    assert base["kaiming+"] == base["kaiming-"]


def test_sizes_are_powers_and_exponents_are_of_variances():
    sizes = he_sizes(2, 2, 0.1).times(100.0, Exponents(c_gamma=-1, c_w=1, c_u=-1, c_eta_u=0.5, c_eta_w=0.5))
    assert (sizes.gamma, sizes.first_std, sizes.second_std, sizes.lr) == pytest.approx((0.01, 10.0, 0.1, 1.0))


def test_kernel_in_closed_form_is_that_of_the_jacobian(images):
    model = network(64, 12, 10, he_sizes(64, 12, 0.1), seed=0)
    samples = images.flat.inputs[:6]
    held = dict(model.named_buffers())

    def outputs(parameters, x):
        return functional_call(model, {**held, **parameters}, (x,)).float()

    slow = functional_kernel(outputs, dict(model.named_parameters()), samples)
    assert torch.allclose(_kernel(model, samples), slow.diagonal(dim1=2, dim2=3).sum(2), rtol=1e-4)


def test_learning_family_does_not_depend_on_the_scale(images):
    base = he_sizes(64, 10, 0.05)
    sizes = [base.times(kappa, Exponents(c_gamma=-1, c_w=1, c_u=1, c_eta_u=1, c_eta_w=1)) for kappa in (1.0, 64.0)]
    found = train(sizes, images, width=10, epochs=1, look_every=1, batch_size=50, seed=0)
    assert np.allclose(found.train_loss[0], found.train_loss[1], rtol=1e-4)
    assert found.kernel_drift[:, 0].values.tolist() == [0.0, 0.0]


def test_scaled_starts_scale_layers_alone():
    plain, large = (scaled_resnet(10, 1, width_factor=1 / 32, scale=scale, seed=0) for scale in (1.0, 3.0))
    for (name, one), other in zip(plain.named_parameters(), large.parameters(), strict=True):
        factor = 1.0 if one.ndim == 1 and "head" not in name else 3.0
        assert torch.allclose(factor * one, other), name
    one, other = (scaled_mlp(4, 3, depth=3, width=5, scale=scale, seed=0) for scale in (1.0, 2.0))
    x = torch.randn(6, 4)
    assert torch.allclose(8 * one(x), other(x), rtol=1e-5)


def test_every_scale_names_its_studies():
    for scale in ("smoke", "laptop", "paper"):
        assert len(fig3.recipes(scale)) == len(fig3.WIDTHS[scale]) * (1 if scale == "smoke" else 3)
        assert fig4.recipes(scale)
        assert tab1.recipes(scale)
    assert max(fig3.WIDTHS["laptop"]) >= 4096
