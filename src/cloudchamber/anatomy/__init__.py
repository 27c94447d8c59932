"""Anatomy: the one place that knows layer types. What is a neuron, what are its inputs, what is its feature."""

from cloudchamber.anatomy.capture import Capture, call_with_copied_buffers, capture
from cloudchamber.anatomy.coverage import choose_layers, coverage
from cloudchamber.anatomy.layer_types import LAYER_TYPES, LayerType, layer_type_of
from cloudchamber.anatomy.quiet import undisturbed
from cloudchamber.anatomy.snapshot import LayerSnapshot

__all__ = [
    "LAYER_TYPES",
    "Capture",
    "LayerSnapshot",
    "LayerType",
    "call_with_copied_buffers",
    "capture",
    "choose_layers",
    "coverage",
    "layer_type_of",
    "undisturbed",
]
