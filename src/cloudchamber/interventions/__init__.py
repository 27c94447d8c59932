"""Interventions: what is done to a model on purpose, to make condensation stronger or weaker."""

from cloudchamber.interventions.initialization import (
    InitializationConfig,
    NormalConfig,
    PytorchDefaultConfig,
    XavierNormalConfig,
    initialize,
)

__all__ = ["InitializationConfig", "NormalConfig", "PytorchDefaultConfig", "XavierNormalConfig", "initialize"]
