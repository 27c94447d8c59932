"""Figure 53: MLPs of growing depth on Census."""

from __future__ import annotations

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import census, six_panels

EXHIBIT = Exhibit(
    id="mlp2024/fig53",
    recipes=census.recipes,
    claims=census.claims("mlp2024, Appendix I.1 and Figure 53"),
    measure=census.measure,
    draw=six_panels.draw,
    settings=census.SETTINGS,
    explanation=census.EXPLANATION,
)
