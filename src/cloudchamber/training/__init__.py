"""Training: recipes and the one loop that runs them, resumable to the bit-identical result; and gradient flow."""

from cloudchamber.training.ensemble.optimizers import SGD, Adam
from cloudchamber.training.ensemble.recipes import run_ensemble, shape_key
from cloudchamber.training.ensemble.result import Ensemble
from cloudchamber.training.ensemble.run import train_ensemble
from cloudchamber.training.ensemble.watch import Watch
from cloudchamber.training.flow.explicit import DormandPrince, KernelEuler
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.result import GradientFlow
from cloudchamber.training.flow.stops import LossBelow, LossRatio, Steps, Time
from cloudchamber.training.flow.two_layer import TwoLayerNets
from cloudchamber.training.loop import Callback
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.recipe_text import load_recipe, parse_recipe, recipe_yaml
from cloudchamber.training.run import RunResult, resume, run
from cloudchamber.training.second_pass.passes import second_pass
from cloudchamber.training.second_pass.result import FirstPhase
from cloudchamber.training.session import observation_costs
from cloudchamber.training.sweep.run import CellFailure, SweepResult, open_sweep
from cloudchamber.training.sweep.sweep import Sweep
from cloudchamber.training.sweep.sweep_text import load_sweep, parse_sweep, sweep_yaml

__all__ = [
    "SGD",
    "Adam",
    "Callback",
    "CellFailure",
    "DormandPrince",
    "Ensemble",
    "Exponential",
    "FirstPhase",
    "GradientFlow",
    "KernelEuler",
    "LossBelow",
    "LossRatio",
    "Recipe",
    "RunResult",
    "Steps",
    "Sweep",
    "SweepResult",
    "Time",
    "TwoLayerNets",
    "Watch",
    "gradient_flow",
    "load_recipe",
    "load_sweep",
    "observation_costs",
    "open_sweep",
    "parse_recipe",
    "parse_sweep",
    "recipe_yaml",
    "resume",
    "run",
    "run_ensemble",
    "second_pass",
    "shape_key",
    "sweep_yaml",
    "train_ensemble",
]
