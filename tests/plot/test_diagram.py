"""The phase diagram shows what is in the dataset: cells, boundary, names, and where it does not agree."""

import numpy as np
import pytest
import xarray as xr
from unchecked import refused

from cloudchamber import InvalidInput
from cloudchamber.plot import phase_diagram

GAMMA, RATIO = [0.6, 1.0, 1.4], [-0.4, 0.4]


def regimes(**attrs):
    cells = ("gamma", "gamma_prime", "layer")
    measured = np.array([["linear", "linear"], ["undecided", "linear"], ["condensed", "condensed"]])
    predicted = np.array([["linear", "linear"], ["critical", "linear"], ["condensed", "critical"]])
    slope = np.array([[-0.4, -0.8], [0.0, -0.4], [0.2, 0.0]])
    two = [np.stack([values, values[::-1]], 2) for values in (slope, measured, predicted)]
    fine = np.linspace(-0.6, 0.6, 5)
    data = {
        "slope": (cells, two[0]),
        "regime": (cells, two[1]),
        "predicted_regime": (cells, two[2]),
        "boundary": (("boundary_gamma_prime", "layer"), np.stack([1 + fine.clip(0), 1 - fine.clip(None, 0)], 1)),
        "named_gamma": ("named", [0.5, 0.5, 1.0]),
        "named_gamma_prime": ("named", [0.5, 0.5, 0.0]),
    }
    coords = {"gamma": GAMMA, "gamma_prime": RATIO, "layer": ["input", "output"], "boundary_gamma_prime": fine}
    names = {"named": ["lecun", "he", "mean_field"]}
    return xr.Dataset(data, {**coords, **names}, {"x": "gamma", "y": "gamma_prime", "title": "Regimes", **attrs})


def phases():
    cells = ("row", "scaling")
    data = {
        "phase": (cells, [["kernel", "frozen"], ["learning", "undecided"]]),
        "predicted_phase": (cells, [["kernel", "frozen"], ["kernel", "kernel"]]),
    }
    return xr.Dataset(data, {"row": ["a", "b"], "scaling": ["NTK", "lazy"]}, {"x": "scaling", "y": "row"})


def drawn(ax, name):
    (line,) = [line for line in ax.lines if line.get_gid() == name]
    return line.get_xydata().tolist()


def test_slopes_boundary_and_names(axes):
    ax = phase_diagram(regimes(), ax=axes)
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array().ravel(), [-0.4, 0.0, 0.2, -0.8, -0.4, 0.0])
    assert mesh.get_clim() == (-0.8, 0.8)
    assert drawn(ax, "undecided") == [[1.0, -0.4]]
    assert drawn(ax, "against theory") == []
    assert drawn(ax, "boundary")[0] == [1.0, -0.6]
    assert {text.get_text() for text in ax.texts} == {"LeCun, He", "mean field"}
    assert "input layer" in ax.get_title(loc="left")
    low, high = ax.get_xlim()
    assert low < 0.5 < 1.4 < high


def test_another_layer(axes):
    ax = phase_diagram(regimes(), layer="output", ax=axes)
    assert drawn(ax, "boundary")[0] == [1.6, -0.6]
    with pytest.raises(InvalidInput, match="a layer is one of"):
        phase_diagram(regimes(), layer="third")


def test_what_contradicts_theory_has_a_cross_and_what_is_critical_has_none(axes):
    wrong = regimes()
    wrong["regime"][0, 0, 0] = "condensed"
    wrong["regime"][2, 1, 0] = "linear"
    assert drawn(phase_diagram(wrong, ax=axes), "against theory") == [[0.6, -0.4]]


def test_phases_and_words_on_the_axes(axes):
    ax = phase_diagram(phases(), ax=axes)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["NTK", "lazy"]
    assert drawn(ax, "against theory") == [[0.0, 1.0]]
    assert drawn(ax, "undecided") == [[1.0, 1.0]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["frozen", "kernel", "learning", "undecided"]


def test_a_cut_of_three_axes_names_what_lies_in_it(axes):
    three = regimes().expand_dims(gamma_prime_2=[0.0, 0.5]).assign(named_gamma_prime_2=("named", [0.0, 0.5, 0.5]))
    with pytest.raises(InvalidInput, match="cut it"):
        phase_diagram(three)
    three["boundary"] = regimes().boundary
    ax = phase_diagram(three.sel(gamma_prime_2=0.5), ax=axes)
    assert {text.get_text() for text in ax.texts} == {"He", "mean field"}
    assert "= 0.5" in ax.get_title(loc="left")
    assert phase_diagram(three.isel(gamma_prime_2=[0])).texts[0].get_text() == "LeCun"


def test_cells_without_a_slope_are_grey_and_undecided(axes):
    lost = regimes()
    lost["slope"][:] = np.nan
    lost["regime"][:] = "undecided"
    ax = phase_diagram(lost, ax=axes)
    assert np.ma.getmaskarray(ax.collections[0].get_array()).all()
    assert len(drawn(ax, "undecided")) == 6


def test_one_column_is_enough(axes):
    ax = phase_diagram(regimes().isel(gamma=[0]), ax=axes)
    assert ax.collections[0].get_array().shape == (2, 1)


def test_what_is_no_diagram_is_refused():
    with refused("a phase diagram has axes"):
        phase_diagram(xr.Dataset({"loss": ("step", [1.0])}))
