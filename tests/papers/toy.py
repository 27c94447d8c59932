"""A small exhibit for the tests of the machinery: one number, one curve, one figure."""

from dataclasses import replace

import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers import Exhibit, Measured
from cloudchamber.training import load_recipe

SMALL = ["model.depth=3", "model.width=8", "observe.probe_samples=20", "observe.measures=[light]", "steps=20"]
CLAIM = Claim("falls", "The loss falls.", "last loss over first", "ours", "mlp2024, Figure 1", at_most=1.0, seeds=1)


def small_recipe(*more):
    return load_recipe(overrides=[*SMALL, *more])


def recipes(scale):
    return {"seed 0": small_recipe("seed=0") if scale == "smoke" else small_recipe("seed=0", "steps=30")}


def last_over_first(run, *, scale):
    loss = run.record.probe_loss
    return xr.Dataset({"ratio": float(loss[-1] / loss[0]) * scale})


def measure(runs):
    ratios = [float(run.measured(last_over_first, scale=1.0).ratio) for run in runs.values()]
    return Measured({"falls": ratios}, xr.Dataset({"ratio": ("run", ratios)}))


def draw(arrays):
    figure = Figure()
    figure.add_subplot().bar(arrays.run, arrays.ratio)
    return figure


def table(arrays):
    return f"ratio {float(arrays.ratio[0]):.3f}"


TOY = Exhibit("mlp2024/fig1", recipes, (CLAIM,), measure, draw, settings="A toy.", table=table)
CHANGED = replace(TOY, claims=(replace(CLAIM, at_most=0.5),))
