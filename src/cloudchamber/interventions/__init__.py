"""Interventions: what is done to a model on purpose, to make condensation stronger or weaker."""

from cloudchamber.interventions.batch_norm import BatchNorm, CenteringNorm
from cloudchamber.interventions.initialization import (
    InitializationConfig,
    NormalConfig,
    PytorchDefaultConfig,
    XavierNormalConfig,
    initialize,
)
from cloudchamber.interventions.norms import (
    BatchNormConfig,
    CenteringNormConfig,
    NormsConfig,
    PhaseNormConfig,
    insert_norms,
    normable_layers,
)
from cloudchamber.interventions.phase_norm import PhaseNorm
from cloudchamber.interventions.places import NormedLayer
from cloudchamber.interventions.removal import remove_norms

__all__ = [
    "BatchNorm",
    "BatchNormConfig",
    "CenteringNorm",
    "CenteringNormConfig",
    "InitializationConfig",
    "NormalConfig",
    "NormedLayer",
    "NormsConfig",
    "PhaseNorm",
    "PhaseNormConfig",
    "PytorchDefaultConfig",
    "XavierNormalConfig",
    "initialize",
    "insert_norms",
    "normable_layers",
    "remove_norms",
]
