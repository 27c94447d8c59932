"""Phases in the limit: Table 1, the corollaries, exact boundaries, and the exactly solved model at large scales."""

import math
from fractions import Fraction

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from unchecked import refused

from cloudchamber._core.errors import InvalidInput
from cloudchamber.theory.exact import exact
from cloudchamber.theory.linear_model import LinearModel
from cloudchamber.theory.parametrizations import (
    PARAMETRIZATIONS,
    TABLE_1,
    finite_width_scaling,
    parametrization,
)
from cloudchamber.theory.phase import (
    Exponents,
    kernel_rate_exponent,
    learning_exponents,
    phase,
    stable_rate_exponent,
)

laws = settings(derandomize=True, max_examples=100, deadline=None, database=None)
halves = st.integers(-6, 6).map(lambda number: Fraction(number, 2))
widths = st.integers(0, 4).map(lambda number: Fraction(number, 2))

COLUMNS = ("NTK", "mean field", "Xavier", "Kaiming", "lazy")
TABLE = {
    "constant rate": ("kernel", "frozen", "learning", "unstable", "unstable"),
    "stable rate": ("kernel", "learning", "learning", "kernel", "kernel"),
    "learning": ("learning",) * 5,
    "kernel": ("kernel",) * 5,
}


@pytest.mark.parametrize(("row", "column"), [(row, column) for row in TABLE for column in COLUMNS])
def test_table_1(row, column):
    cell = TABLE_1[row, column]
    assert phase(cell.exponents, zero_initial_output=cell.zero_initial_output).name == cell.published
    assert cell.published == TABLE[row][COLUMNS.index(column)]


def test_table_1_has_the_papers_exponents():
    rows = {row: [TABLE_1[row, column].exponents for column in COLUMNS] for row in TABLE}
    assert len(TABLE_1) == 20
    for row in rows.values():
        assert [cell.c_d for cell in row] == [1, 1, 1, 1, 0]
        assert [cell.c_w for cell in row] == [0, 0, -1, 0, 0]
        assert [cell.c_u for cell in row] == [0, 0, -1, -1, 0]
        assert all(cell.c_eta_u == cell.c_eta_w for cell in row)
    assert [cell.c_eta_u for cell in rows["constant rate"]] == [0, 0, 0, 0, 0]
    assert [cell.c_eta_u for cell in rows["stable rate"]] == [0, 1, 0, -1, -2]
    assert [cell.c_eta_u for cell in rows["learning"]] == [1, 1, 0, 1, 0]
    assert [cell.c_eta_u for cell in rows["kernel"]] == [0, 0, -2, -1, -2]
    for row in ("constant rate", "stable rate"):
        assert [cell.c_gamma for cell in rows[row]] == [Fraction(-1, 2), -1, 0, 0, 1]
    assert [cell.c_gamma for cell in rows["learning"]] == [-1, -1, 0, -1, 0]
    assert [cell.c_gamma for cell in rows["kernel"]] == [Fraction(-1, 2), Fraction(-1, 2), 1, 0, 1]


def test_only_the_lazy_kernel_needs_a_zero_initial_output():
    random_start = {key: phase(cell.exponents).name for key, cell in TABLE_1.items()}
    differing = {key for key, cell in TABLE_1.items() if random_start[key] != cell.published}
    assert differing == {("stable rate", "lazy"), ("kernel", "lazy")}
    assert {random_start[key] for key in differing} == {"learning"}


@pytest.mark.parametrize("column", range(5))
def test_the_last_three_rows_are_the_corollaries(column):
    plain, stable, learning, kernel = (TABLE_1[row, COLUMNS[column]].exponents for row in TABLE)
    start = {"c_d": plain.c_d, "c_w": plain.c_w, "c_u": plain.c_u}
    assert stable.c_eta_u == stable_rate_exponent(c_gamma=plain.c_gamma, **start)
    assert (learning.c_eta_u, learning.c_gamma) == learning_exponents(**start)
    assert kernel.c_eta_u == kernel_rate_exponent(c_gamma=kernel.c_gamma, **start)


@laws
@given(widths, halves, halves, halves)
def test_corollary_1_is_stable_and_any_more_is_not(c_d, c_gamma, c_w, c_u):
    start = {"c_d": c_d, "c_gamma": c_gamma, "c_w": c_w, "c_u": c_u}
    rate = stable_rate_exponent(**start)
    assert phase(Exponents(**start, c_eta_u=rate, c_eta_w=rate)).name in ("kernel", "learning")
    more, less = rate + Fraction(1, 100), rate - Fraction(1, 100)
    assert phase(Exponents(**start, c_eta_u=more, c_eta_w=more)).name == "unstable"
    assert phase(Exponents(**start, c_eta_u=less, c_eta_w=less)).name == "frozen"


@laws
@given(widths, halves, halves, st.booleans())
def test_corollary_2_learns(c_d, c_w, c_u, zero):
    rate, scale = learning_exponents(c_d=c_d, c_w=c_w, c_u=c_u)
    found = phase(Exponents(c_d, scale, c_w, c_u, rate, rate), zero_initial_output=zero)
    assert found.name == "learning"
    assert found.learning_term == found.kernel_term == 0


@laws
@given(widths, halves, halves, st.integers(1, 8), st.booleans())
def test_corollary_3_is_a_kernel_except_at_finite_width_with_equal_layers(c_d, c_w, c_u, above, zero):
    size = c_d + max(c_w, c_u)
    scale = -size + Fraction(above, 4)
    rate = kernel_rate_exponent(c_d=c_d, c_gamma=scale, c_w=c_w, c_u=c_u)
    found = phase(Exponents(c_d, scale, c_w, c_u, rate, rate), zero_initial_output=zero)
    assert found.name == ("kernel" if zero or c_d > 0 or c_u != c_w else "learning")


@laws
@given(halves, halves)
def test_at_finite_width_the_kernel_phase_is_where_the_variances_differ(c_w, c_u):
    assert phase(finite_width_scaling(c_w=c_w, c_u=c_u)).name == ("learning" if c_w == c_u else "kernel")


@laws
@given(widths, halves, halves, halves, halves, halves, halves)
def test_symmetries(c_d, c_gamma, c_w, c_u, c_eta_u, c_eta_w, shift):
    """The layers may change places, and u may be scaled if γ and η_u are scaled with it."""
    found = phase(Exponents(c_d, c_gamma, c_w, c_u, c_eta_u, c_eta_w))
    assert found == phase(Exponents(c_d, c_gamma, c_u, c_w, c_eta_w, c_eta_u))
    assert found == phase(Exponents(c_d, c_gamma - shift / 2, c_w, c_u + shift, c_eta_u + shift, c_eta_w))


@laws
@given(widths, halves, halves, halves, halves, halves)
def test_the_learning_time(c_d, c_gamma, c_w, c_u, c_eta_u, c_eta_w):
    found = phase(Exponents(c_d, c_gamma, c_w, c_u, c_eta_u, c_eta_w))
    expected = {"frozen": 1, "unstable": -1, "kernel": 0, "learning": 0}[found.name]
    exponent = found.learning_time_exponent
    assert (exponent > 0) - (exponent < 0) == expected


def solved(exponents, scale, zero_initial_output):
    """A typical network at a large scale: sums over the width are replaced by their means and a typical deviation."""
    of = {name: scale ** float(value) for name, value in vars(exponents).items()}
    width = 4.0 * of["c_d"]
    uu, ww = width * of["c_u"], width * of["c_w"]
    uw = 0.0 if zero_initial_output else 0.5 * math.sqrt(uu * ww * (4.0 / width))
    u, w = torch.tensor([uu**0.5, 0.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    w[0] = uw / uu**0.5
    w[1] = math.sqrt(ww - w[0] ** 2)
    rates = {"rate_u": of["c_eta_u"], "rate_w": of["c_eta_w"]}
    return LinearModel.from_weights(u, w[:, None], torch.ones(1), y=1.0, gamma=of["c_gamma"], **rates)


@pytest.mark.parametrize("key", TABLE_1)
def test_the_solved_model_is_in_the_phase_of_table_1(key):
    """At scale 1e12 and 1e16: the slope of the learning time, and whether the kernel moves."""
    cell = TABLE_1[key]
    found = phase(cell.exponents, zero_initial_output=cell.zero_initial_output)
    models = [solved(cell.exponents, scale, cell.zero_initial_output) for scale in (1e12, 1e16)]
    slope = math.log10(models[1].learning_time / models[0].learning_time) / 4
    assert abs(slope - found.learning_time_exponent) < 0.01
    if found.learning_time_exponent == 0:
        ratio = (models[1].kernel(math.inf) / models[1].kernel(0.0)).item()
        assert (abs(ratio - 1) < 1e-3) == (cell.published == "kernel")


def test_lazy_training_from_a_random_start_moves_its_kernel():
    """K(∞)/K(0) → 2√(PQ)/(P + Q), for layers of one size √(1 − ζ(0)²), and not 1."""
    exponents = TABLE_1["kernel", "lazy"].exponents
    for scale in (1e8, 1e12):
        model = solved(exponents, scale, False)
        expected = math.sqrt(1 - model.layer_alignment(0.0) ** 2)
        assert math.isclose(model.kernel(math.inf) / model.kernel(0.0), expected, rel_tol=1e-6)
        assert expected < 0.9


def test_boundaries_are_decided_exactly():
    tenths = Exponents(c_d=0.1 + 0.2, c_gamma=-0.3, c_eta_u=0.3, c_eta_w=0.3)
    assert phase(tenths).name == "learning"
    assert phase(Exponents(c_d=Fraction(3, 10), c_gamma=-0.3 + 1e-9, c_eta_u=0.3, c_eta_w=0.3)).name == "unstable"


@given(st.fractions(min_value=-5, max_value=5, max_denominator=1000), st.integers(-3, 3))
@settings(derandomize=True, database=None)
def test_floats_are_the_fractions_that_they_were_meant_to_be(number, ulps):
    value = float(number)
    for _ in range(abs(ulps)):
        value = math.nextafter(value, math.copysign(math.inf, ulps))
    assert exact(value, "x") == number
    assert exact(number, "x") == number


def test_other_floats_stand_for_themselves():
    assert exact(math.pi, "x") == Fraction(math.pi)
    assert exact(0.5 + 1e-9, "x") != Fraction(1, 2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_bad_exponents_are_refused(value):
    for name in ("c_d", "c_gamma", "c_w", "c_u", "c_eta_u", "c_eta_w"):
        with pytest.raises(InvalidInput, match=f"`{name}` is a finite number"):
            Exponents(**{name: value})
    with pytest.raises(InvalidInput, match="`c_gamma` is a finite number"):
        stable_rate_exponent(c_d=1, c_gamma=value, c_w=0, c_u=0)


@pytest.mark.parametrize("value", ["1", None])
def test_what_is_no_number_is_refused(value):
    with refused("`c_w` is a finite number"):
        Exponents(c_w=value)


def test_a_shrinking_width_is_refused():
    with pytest.raises(InvalidInput, match="`c_d` is 0 or more"):
        Exponents(c_d=-1)
    with pytest.raises(InvalidInput, match="`c_d` is 0 or more"):
        learning_exponents(c_d=-1, c_w=0, c_u=0)


def test_a_scale_without_a_kernel_phase_is_refused():
    with pytest.raises(InvalidInput, match="`c_gamma` is above −c = -1"):
        kernel_rate_exponent(c_d=1, c_gamma=-1, c_w=0, c_u=0)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_named_parametrizations(name):
    found = phase(parametrization(name), zero_initial_output=name.startswith("lazy")).name
    standard = {"mean_field": "learning", "xavier": "learning", "kaiming": "unstable"}
    assert found == {"+": "learning", "-": "kernel"}.get(name[-1], standard.get(name, "kernel"))


def test_an_unknown_parametrization_is_refused():
    with pytest.raises(InvalidInput, match="a parametrization is one of"):
        parametrization("he")
