"""The thresholds of the verdict, fitted to 758 networks, fixed on 22 November 2026 before any test network was seen.

docs/prediction.md holds what they were fitted to and what came out on the networks of the test.
"""

DROP = 0.15
"""The plateau is left when the loss is below 1 − DROP of the best constant output's, as in a diagnosis."""

STUCK_BELOW, LEAVES_ABOVE = 1.0, 1.6
"""Steps over t*. Between the two nothing is told; one threshold at 1.45 would part them best."""

STABLE_BELOW, UNSTABLE_ABOVE = 2.9, 4.0
"""η λ/(2(1 − μ)), with λ the curvature at the end of the plateau; for networks without normalization."""

NORMALIZED_STABLE_BELOW, NORMALIZED_UNSTABLE_ABOVE = 300.0, 1000.0
"""η λ/(2(1 − μ)) · (L·target/spread)², for networks in which each sample is normalized by itself."""

VANISHED = 1e-5
"""Spread over target below which units that are zero on one side may die under Adam before the signal has grown."""
