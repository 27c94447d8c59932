"""Plots: a record in, matplotlib Axes out; nothing global is changed."""

from cloudchamber.plot.compare import compare
from cloudchamber.plot.curves import accuracy, loss, similarity
from cloudchamber.plot.diagram import phase_diagram
from cloudchamber.plot.heatmaps import heatmap
from cloudchamber.plot.overview import overview

__all__ = ["accuracy", "compare", "heatmap", "loss", "overview", "phase_diagram", "similarity"]
