"""Make condensation in neural networks visible, predict it and control it.

The public names are loaded when they are first used, so that `import cloudchamber` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudchamber import plot as plot
    from cloudchamber._core.citations import cite as cite
    from cloudchamber._core.errors import CloudchamberError as CloudchamberError
    from cloudchamber._core.errors import DamagedFile as DamagedFile
    from cloudchamber._core.errors import FileAccess as FileAccess
    from cloudchamber._core.errors import InvalidInput as InvalidInput
    from cloudchamber._core.errors import InvalidRecipe as InvalidRecipe
    from cloudchamber._core.errors import Unsupported as Unsupported
    from cloudchamber._core.finding import Evidence as Evidence
    from cloudchamber._core.finding import Finding as Finding
    from cloudchamber._core.finding import Findings as Findings
    from cloudchamber._core.nulls import null_values as null_values
    from cloudchamber._core.storage import open_record as open_record
    from cloudchamber._core.storage import save_record as save_record
    from cloudchamber.anatomy import LayerView as LayerView
    from cloudchamber.anatomy import dense_view as dense_view
    from cloudchamber.anatomy import register_layer_type as register_layer_type
    from cloudchamber.control import Rescuer as Rescuer
    from cloudchamber.control import rescue as rescue
    from cloudchamber.control import rescue_run as rescue_run
    from cloudchamber.diagnosis import compare as compare
    from cloudchamber.diagnosis import diagnose as diagnose
    from cloudchamber.diagnosis import find_phases as find_phases
    from cloudchamber.interventions import initialize as initialize
    from cloudchamber.interventions import insert_norms as insert_norms
    from cloudchamber.interventions import remove_norms as remove_norms
    from cloudchamber.monitor import Monitor as Monitor
    from cloudchamber.monitor import logarithmic as logarithmic
    from cloudchamber.predict import predict as predict
    from cloudchamber.predict.phases import phase as phase
    from cloudchamber.reduction import load_merged as load_merged
    from cloudchamber.reduction import load_plan as load_plan
    from cloudchamber.reduction import merge_neurons as merge_neurons
    from cloudchamber.reduction import plan_merge as plan_merge
    from cloudchamber.reduction import save_merged as save_merged
    from cloudchamber.reduction import split_neurons as split_neurons
    from cloudchamber.reporting import write_report as write_report
    from cloudchamber.training import Recipe as Recipe
    from cloudchamber.training import load_recipe as load_recipe
    from cloudchamber.training import load_sweep as load_sweep
    from cloudchamber.training import open_sweep as open_sweep
    from cloudchamber.training import run as run
    from cloudchamber.training import run_ensemble as run_ensemble
    from cloudchamber.training import second_pass as second_pass
    from cloudchamber.training import train_ensemble as train_ensemble
    from cloudchamber.training.sweep.run import sweep as sweep

_HOME = {
    "plot": "cloudchamber.plot",
    "cite": "cloudchamber._core.citations",
    "null_values": "cloudchamber._core.nulls",
    "CloudchamberError": "cloudchamber._core.errors",
    "DamagedFile": "cloudchamber._core.errors",
    "FileAccess": "cloudchamber._core.errors",
    "InvalidInput": "cloudchamber._core.errors",
    "InvalidRecipe": "cloudchamber._core.errors",
    "Unsupported": "cloudchamber._core.errors",
    "Evidence": "cloudchamber._core.finding",
    "Finding": "cloudchamber._core.finding",
    "Findings": "cloudchamber._core.finding",
    "open_record": "cloudchamber._core.storage",
    "save_record": "cloudchamber._core.storage",
    "compare": "cloudchamber.diagnosis",
    "diagnose": "cloudchamber.diagnosis",
    "find_phases": "cloudchamber.diagnosis",
    "register_layer_type": "cloudchamber.anatomy",
    "LayerView": "cloudchamber.anatomy",
    "dense_view": "cloudchamber.anatomy",
    "Monitor": "cloudchamber.monitor",
    "initialize": "cloudchamber.interventions",
    "insert_norms": "cloudchamber.interventions",
    "remove_norms": "cloudchamber.interventions",
    "Rescuer": "cloudchamber.control",
    "rescue": "cloudchamber.control",
    "rescue_run": "cloudchamber.control",
    "logarithmic": "cloudchamber.monitor",
    "predict": "cloudchamber.predict",
    "phase": "cloudchamber.predict.phases",
    "load_merged": "cloudchamber.reduction",
    "load_plan": "cloudchamber.reduction",
    "merge_neurons": "cloudchamber.reduction",
    "plan_merge": "cloudchamber.reduction",
    "save_merged": "cloudchamber.reduction",
    "split_neurons": "cloudchamber.reduction",
    "write_report": "cloudchamber.reporting",
    "Recipe": "cloudchamber.training",
    "load_recipe": "cloudchamber.training",
    "load_sweep": "cloudchamber.training",
    "open_sweep": "cloudchamber.training",
    "run": "cloudchamber.training",
    "run_ensemble": "cloudchamber.training",
    "second_pass": "cloudchamber.training",
    "sweep": "cloudchamber.training.sweep.run",
    "train_ensemble": "cloudchamber.training",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("cloudchamber")
    if name not in _HOME:
        raise AttributeError(f"module 'cloudchamber' has no attribute {name!r}; it has: {', '.join(__dir__())}")
    module = import_module(_HOME[name])
    return module if name == "plot" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
