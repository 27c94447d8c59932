"""How an exhibit stands, from the verdicts on its claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cloudchamber.claims.verdict import Outcome

Standing = Literal["reproduced", "partly reproduced", "not reproduced", "not decidable", "not run"]


def standing(outcomes: Sequence[Outcome]) -> Standing:
    """Return how an exhibit stands.

    *Reproduced*: every claim holds. *Partly*: some do. *Not reproduced*: none holds, and at least one does not. *Not
    decidable*: none holds and none fails. *Not run*: no claim was checked.

    >>> standing(["holds", "holds"]), standing(["holds", "holds not"]), standing([])
    ('reproduced', 'partly reproduced', 'not run')
    """
    checked = [outcome for outcome in outcomes if outcome != "not run"]
    if not checked:
        return "not run"
    if all(outcome == "holds" for outcome in outcomes):
        return "reproduced"
    if "holds" in checked:
        return "partly reproduced"
    return "not reproduced" if "holds not" in checked else "not decidable"
