"""Anatomy: the one place that knows layer types. What is a neuron, what are its inputs, what is its feature."""

from cloudchamber.anatomy.capture import Capture, Forward, capture, default_forward
from cloudchamber.anatomy.choice import ChosenModule, choose_views
from cloudchamber.anatomy.coverage import coverage_table
from cloudchamber.anatomy.layer_types import LayerType, dense_view, layer_type_of, register_layer_type
from cloudchamber.anatomy.passes import FIELDS_OF_PASSES, Sink
from cloudchamber.anatomy.passive import Passive, PassivePass
from cloudchamber.anatomy.plan import Plan
from cloudchamber.anatomy.quiet import call_with_copied_buffers, undisturbed
from cloudchamber.anatomy.snapshot import FIELDS, LayerSnapshot
from cloudchamber.anatomy.view import LayerView

__all__ = [
    "FIELDS",
    "FIELDS_OF_PASSES",
    "Capture",
    "ChosenModule",
    "Forward",
    "LayerSnapshot",
    "LayerType",
    "LayerView",
    "Passive",
    "PassivePass",
    "Plan",
    "Sink",
    "call_with_copied_buffers",
    "capture",
    "choose_views",
    "coverage_table",
    "default_forward",
    "dense_view",
    "layer_type_of",
    "register_layer_type",
    "undisturbed",
]
