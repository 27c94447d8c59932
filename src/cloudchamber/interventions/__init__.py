"""Interventions: what is done to a model on purpose, to make condensation stronger or weaker."""

from cloudchamber.interventions.batch_norm import BatchNorm, CenteringNorm
from cloudchamber.interventions.initialization import initialize
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
from cloudchamber.interventions.schemes import (
    InitializationConfig,
    KaimingNormalConfig,
    LecunNormalConfig,
    NormalConfig,
    ParametrizationConfig,
    PowerStdConfig,
    PowerVarianceConfig,
    PresetConfig,
    PytorchDefaultConfig,
    XavierNormalConfig,
)
from cloudchamber.interventions.start import Initialization, LayerStart

__all__ = [
    "BatchNorm",
    "BatchNormConfig",
    "CenteringNorm",
    "CenteringNormConfig",
    "Initialization",
    "InitializationConfig",
    "KaimingNormalConfig",
    "LayerStart",
    "LecunNormalConfig",
    "NormalConfig",
    "NormedLayer",
    "NormsConfig",
    "ParametrizationConfig",
    "PhaseNorm",
    "PhaseNormConfig",
    "PowerStdConfig",
    "PowerVarianceConfig",
    "PresetConfig",
    "PytorchDefaultConfig",
    "XavierNormalConfig",
    "initialize",
    "insert_norms",
    "normable_layers",
    "remove_norms",
]
