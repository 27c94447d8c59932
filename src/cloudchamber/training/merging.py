"""Merge the condensed neurons of a run's network, and what that came to as a finding beside its diagnosis."""

from __future__ import annotations

from pathlib import Path

from cloudchamber._core.errors import FileAccess, require
from cloudchamber._core.finding import Finding, Findings
from cloudchamber.reduction import Plan, Summary, load_summary, merge_finding, merge_neurons, plan_merge, save_merged
from cloudchamber.reduction.saving import PLAN
from cloudchamber.training.checkpoint import CHECKPOINT_NAME, Checkpoint
from cloudchamber.training.recipe_text import load_recipe
from cloudchamber.training.run import RECIPE_NAME
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings

MERGED = "merged"
"""Folder in a run's folder."""


def trained_session(folder: Path | str) -> Session:
    """Return the parts of a run with its network as last saved.

    Raises:
        FileAccess: if the folder holds no run, or none that was saved yet.
        DamagedFile: if its checkpoint is damaged.
    """
    place = Path(folder)
    for name in (RECIPE_NAME, CHECKPOINT_NAME):
        if not (place / name).is_file():
            raise FileAccess(f"a run that was saved holds {name}; got {place} without it. Remedy: check the path.")
    session, checkpoint = Session.of(load_recipe(place / RECIPE_NAME)), Checkpoint.load(place)
    assert checkpoint is not None
    checkpoint.restore(session)
    return session


def plan_merge_of_run(folder: Path | str, *, tolerance: float = 1e-3, samples: int = 1000) -> Plan:
    """Return which neurons of a run's network would be merged, on samples that it was trained on.

    Args:
        folder: of the run.
        tolerance: as in `merge_neurons`.
        samples: how many examples, equally many of each class; half of them are held out.

    Raises:
        FileAccess: if the folder holds no run that was saved.
        InvalidInput: as `merge_neurons`.
    """
    session = trained_session(folder)
    with own_settings(session.recipe, session.recipe.threads):
        return plan_merge(session.model, _examples(session, samples)[0], tolerance=tolerance)


def merge_run(
    folder: Path | str,
    *,
    tolerance: float = 1e-3,
    samples: int = 1000,
    fine_tune_steps: int = 0,
    out: Path | str | None = None,
) -> tuple[Summary, Path]:
    """Merge the condensed neurons of a run's network and save the narrow one; return what it came to, and where.

    Args:
        folder: of the run.
        tolerance: as in `merge_neurons`.
        samples: how many examples, equally many of each class; half of them are held out.
        fine_tune_steps: as in `merge_neurons`.
        out: folder of the narrow network; `merged` in the run's by default, where its report finds it.

    Raises:
        FileAccess: if the folder holds no run that was saved, or the other cannot be written.
        InvalidInput: as `merge_neurons`.
    """
    session = trained_session(folder)
    with own_settings(session.recipe, session.recipe.threads):
        inputs, _ = _examples(session, samples)
        small, summary = merge_neurons(session.model, inputs, tolerance=tolerance, fine_tune_steps=fine_tune_steps)
        return summary, save_merged(small, summary, Path(folder) / MERGED if out is None else out)


def with_merge(findings: Findings, folder: Path | str) -> Findings:
    """Return findings with that of a merge, where the run's network was merged into its folder."""
    merged = Path(folder) / MERGED
    if not (merged / PLAN).is_file():
        return findings
    more: list[Finding] = [*findings, merge_finding(load_summary(merged))]
    return Findings(sorted(more, key=lambda finding: finding.urgency))


def _examples(session: Session, samples: int) -> tuple:
    require(samples >= 2, "`samples` is 2 or more, as half of them are held out", samples, "use 1000")
    dataset = session.batches.dataset
    return dataset.probe(min(samples, len(dataset)))
