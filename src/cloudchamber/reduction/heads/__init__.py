"""Heads of attention: which are one, and attention with others."""

from cloudchamber.reduction.heads.attention import HeadwiseAttention
from cloudchamber.reduction.heads.change import HeadChange, split_heads
from cloudchamber.reduction.heads.finding import find_hosts, host_from_json, host_to_json
from cloudchamber.reduction.heads.hosts import Host

__all__ = [
    "HeadChange",
    "HeadwiseAttention",
    "Host",
    "find_hosts",
    "host_from_json",
    "host_to_json",
    "split_heads",
]
