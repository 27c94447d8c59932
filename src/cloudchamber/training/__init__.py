"""Training: recipes and the one loop that runs them, resumable to the bit-identical result."""

from cloudchamber.training.loop import Callback
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.recipe_text import load_recipe, parse_recipe, recipe_yaml
from cloudchamber.training.run import RunResult, resume, run

__all__ = ["Callback", "Recipe", "RunResult", "load_recipe", "parse_recipe", "recipe_yaml", "resume", "run"]
