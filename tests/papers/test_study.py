"""Studies: computed once by their content, with settings of their own, going on after an interruption."""

import json
from dataclasses import replace

import pytest
import torch
import xarray as xr

from cloudchamber.claims import Claim
from cloudchamber.papers import Exhibit, Measured, Study, is_current, run_exhibit
from cloudchamber.papers.keys import recipe_key

CLAIM = Claim("sum", "The sum is small.", "sum", "ours", "mlp2024, Figure 1", at_most=10.0, seeds=1)


def tally(folder, *, numbers):
    """Counts its calls in its folder, and stops at the first if it was told to."""
    calls = folder / "calls"
    calls.write_text((calls.read_text() if calls.exists() else "") + "x")
    if len(calls.read_text()) == 1 and numbers[0] < 0:
        raise KeyboardInterrupt
    torch.rand(3)
    return xr.Dataset({"total": sum(numbers)}, attrs={"threads": torch.get_num_threads()})


def as_exhibit(study):
    def measure(runs):
        total = runs["study"].result.total
        return Measured({"sum": [float(total)]}, xr.Dataset({"total": total}))

    return Exhibit("mlp2024/fig1", lambda scale: {"study": study}, (CLAIM,), measure, draw, settings="A toy.")


def draw(arrays):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().bar(["total"], [float(arrays.total)])
    return figure


def test_a_study_is_computed_once_with_its_own_settings(cache):
    study = Study(tally, {"numbers": [1, 2]})
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, second = cache.study(study), cache.study(Study(tally, {"numbers": (1, 2)}))
    assert torch.equal(torch.get_rng_state(), state)
    assert float(second.result.total) == 3
    assert (first.folder / "calls").read_text() == "x"
    assert (second.result.attrs["threads"], second.environment["threads"]) == (1, 1)
    assert json.loads((first.folder / "finished.json").read_text())["seconds"] == first.seconds == second.seconds


def test_what_makes_another_study_makes_another_key():
    study = Study(tally, {"numbers": [1]})
    others = [replace(study, edition=2), replace(study, settings={"numbers": [2]}), replace(study, compute=draw)]
    assert len({recipe_key(item) for item in [study, *others]}) == 4
    assert recipe_key(replace(study, threads=2)) == recipe_key(study)


def test_an_interrupted_study_finds_what_it_kept(cache):
    study = Study(tally, {"numbers": [-1, 5]})
    with pytest.raises(KeyboardInterrupt):
        cache.study(study)
    done = cache.study(study)
    assert float(done.result.total) == 4
    assert (done.folder / "calls").read_text() == "xx"


def test_an_exhibit_of_a_study_is_judged_and_known_to_be_current(cache, results):
    exhibit = as_exhibit(Study(tally, {"numbers": [1, 2]}))
    result = run_exhibit(exhibit, "laptop", cache, results)
    assert [verdict.outcome for verdict in result.verdicts] == ["holds"]
    assert result.runs["study"].recipe["settings"] == {"numbers": [1, 2]}
    assert is_current(exhibit, "laptop", results)
    assert not is_current(as_exhibit(Study(tally, {"numbers": [1, 3]})), "laptop", results)
