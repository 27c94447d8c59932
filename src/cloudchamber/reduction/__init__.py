"""Reduction: the narrow network that a condensed one equals, and the wide ones that equal a narrow one."""

from cloudchamber.reduction.finding import merge_finding
from cloudchamber.reduction.heads import HeadwiseAttention
from cloudchamber.reduction.merge import merge_neurons, plan_merge
from cloudchamber.reduction.plan import LayerPlan, Plan, Summary
from cloudchamber.reduction.recurrent import StackedRecurrent
from cloudchamber.reduction.saving import load_merged, load_plan, load_summary, save_merged
from cloudchamber.reduction.split import split_neurons

__all__ = [
    "HeadwiseAttention",
    "LayerPlan",
    "Plan",
    "StackedRecurrent",
    "Summary",
    "load_merged",
    "load_plan",
    "load_summary",
    "merge_finding",
    "merge_neurons",
    "plan_merge",
    "save_merged",
    "split_neurons",
]
