"""Channels: who makes the neurons of a layer, what they pass through, and who consumes them."""

from cloudchamber.anatomy.channels.finding import Channels, find_channels
from cloudchamber.anatomy.channels.part import Axis, Part, Reader, Space, Tensors

__all__ = ["Axis", "Channels", "Part", "Reader", "Space", "Tensors", "find_channels"]
