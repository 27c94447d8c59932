"""Figure 14: MLPs of growing depth on Census."""

from __future__ import annotations

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import census, six_panels

EXHIBIT = Exhibit(
    id="mlp2024/fig14",
    recipes=census.recipes,
    claims=census.claims("mlp2024, Appendix B.4 and Figure 14"),
    measure=census.measure,
    draw=six_panels.draw,
    settings=census.SETTINGS,
    explanation=census.EXPLANATION,
)
