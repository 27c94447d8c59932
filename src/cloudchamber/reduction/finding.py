"""What merging says of a run, as a finding for its diagnosis and report."""

from __future__ import annotations

from cloudchamber._core.finding import Evidence, Finding
from cloudchamber.reduction.plan import Summary

NAMED = 3


def merge_finding(summary: Summary) -> Finding:
    """Return what merging came to as a finding: which layers, by how much the output changes."""
    plan, error = summary.plan, summary.error
    named = sorted(plan.layers, key=lambda each: -each.gone)[:NAMED]
    layers = ", ".join(each.gone_in_words for each in named)
    layers += f" (and some of {len(plan.layers) - NAMED} more layers)" if len(plan.layers) > NAMED else ""
    if not plan.layers:
        return Finding(
            code="not_mergeable",
            title=f"No neurons can be merged within {plan.tolerance:g} of the output.",
            severity="notice",
            confidence="high",
            because=f"it was tried on {sum(plan.examples)} samples",
            explanation="No layer of the trained network is condensed so far that a narrower one computes the same.",
            source="overview2025, Section 7.3",
        )
    return Finding(
        code="mergeable",
        title=f"{layers} act as copies; merging keeps the output within {_rounded(error.relative)}.",
        severity="notice",
        confidence="high" if plan.examples[1] else "medium",
        because=f"measured on {plan.examples[1]} samples that the merge was not fitted to",
        explanation="These neurons compute what others of their layer compute, up to a factor. The narrow network, "
        "with their outgoing weights summed up, is in the folder of the merge.",
        layers=tuple(layer.name for layer in plan.layers),
        evidence=(
            Evidence("parameters after merging", summary.parameters[1], summary.parameters[0], "before"),
            Evidence("relative change of the output", error.relative, plan.tolerance, "allowed"),
            *(Evidence(f"{each.unit} of {each.name}", each.after, each.before, "before") for each in plan.layers),
        ),
        advice=("Load the narrow network with `cc.load_merged`; some updates win back what the merge changed.",),
        source="overview2025, Section 7.3",
    )


def _rounded(error: float) -> str:
    return "rounding" if error < 1e-6 else f"{error:.0e}"
