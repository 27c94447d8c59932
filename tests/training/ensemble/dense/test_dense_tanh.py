"""Both ways of computing tanh quickly, against float64."""

import pytest
import torch

from cloudchamber.training.ensemble.dense.activations import TANHS
from cloudchamber.training.ensemble.dense.memory import keep_freed_memory
from cloudchamber.training.ensemble.dense.tanh import exact_tanh, rational_tanh

ARGUMENTS = torch.cat([torch.logspace(-37, 2, 200_000), torch.linspace(0, 10, 200_000)])
BOUNDS = {"exact": 1e-7, "rational": 4e-7}


def relative_error(values, arguments):
    true = arguments.double().tanh()
    error = (values.double() - true).abs()
    return torch.where(true == 0, error, error / true.abs()).max().item()


@pytest.mark.parametrize("name", TANHS)
def test_the_relative_error_is_as_stated_for_small_arguments_too(name):
    for arguments in (ARGUMENTS, -ARGUMENTS):
        assert relative_error(TANHS[name](arguments), arguments) < BOUNDS[name]


@pytest.mark.parametrize("name", TANHS)
def test_ends_zero_and_nan(name):
    arguments = torch.tensor([0.0, 20.0, torch.inf, -torch.inf, torch.nan]).repeat(2000)
    values = TANHS[name](arguments)[:5]
    assert torch.equal(values[:4], torch.tensor([0.0, 1.0, 1.0, -1.0]))
    assert values[4].isnan()


@pytest.mark.parametrize("name", TANHS)
def test_odd(name):
    assert torch.equal(TANHS[name](-ARGUMENTS), -TANHS[name](ARGUMENTS))


def test_exact_is_torchs_own_in_float64_and_for_few_entries():
    arguments = ARGUMENTS.double()
    assert torch.equal(exact_tanh(arguments), arguments.tanh())
    assert torch.equal(exact_tanh(ARGUMENTS[:10]), ARGUMENTS[:10].tanh())


def test_exact_keeps_shape_and_arguments_of_a_view():
    arguments = torch.randn(60, 30, 10, generator=torch.Generator().manual_seed(0))
    before = arguments.clone()
    torch.testing.assert_close(exact_tanh(arguments.mT), arguments.mT.tanh(), rtol=1e-6, atol=0)
    assert torch.equal(arguments, before)


def test_the_rational_ones_error_in_float64():
    arguments = ARGUMENTS.double()
    assert relative_error(rational_tanh(arguments), arguments) < 2.7e-7


def test_keeping_freed_memory_may_be_asked_for_twice():
    keep_freed_memory()
    keep_freed_memory()
