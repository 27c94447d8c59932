"""Claims: what a paper says, fixed before the run that checks it, and the verdict on what was measured."""

from cloudchamber.claims.claim import Claim
from cloudchamber.claims.standing import Standing, standing
from cloudchamber.claims.verdict import Outcome, Verdict, check

__all__ = ["Claim", "Outcome", "Standing", "Verdict", "check", "standing"]
