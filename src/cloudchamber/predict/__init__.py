"""Predict: what a training run will do, from the model as it is initialized.

`cc.predict` is the function. Once this package has been imported, Python also finds the package under that name; so
the package can be called like the function.
"""

from __future__ import annotations

import sys
from types import ModuleType

from cloudchamber.predict.forecast import predict
from cloudchamber.predict.prediction import LayerPrediction, Prediction
from cloudchamber.predict.recipes import predict_recipe

__all__ = ["LayerPrediction", "Prediction", "predict", "predict_recipe"]


class _Room(ModuleType):
    __call__ = staticmethod(predict)


sys.modules[__name__].__class__ = _Room
