"""Training: recipes and the one loop that runs them, resumable to the bit-identical result; and gradient flow."""

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

__all__ = [
    "Callback",
    "DormandPrince",
    "Exponential",
    "FirstPhase",
    "GradientFlow",
    "KernelEuler",
    "LossBelow",
    "LossRatio",
    "Recipe",
    "RunResult",
    "Steps",
    "Time",
    "TwoLayerNets",
    "gradient_flow",
    "load_recipe",
    "observation_costs",
    "parse_recipe",
    "recipe_yaml",
    "resume",
    "run",
    "second_pass",
]
