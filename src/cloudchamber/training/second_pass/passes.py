"""What the weights of a run did over its first phase, once its end is known: the recipe is run again, twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloudchamber._core.errors import require
from cloudchamber._core.storage import save_record
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.recipe_text import recipe_yaml
from cloudchamber.training.second_pass.moments import Group, Key, Known, Moments
from cloudchamber.training.second_pass.rerun import Rerun
from cloudchamber.training.second_pass.result import FirstPhase
from cloudchamber.training.second_pass.source import Past
from cloudchamber.training.second_pass.strengths import Strengths

FIRST_PHASE_NAME = "first_phase.nc"


def second_pass(
    source: Path | str | Recipe,
    end_step: int | None = None,
    *,
    start_step: int | None = None,
    every: int = 1,
    layers: str | Sequence[str] | None = None,
    classes: Sequence[int] | None = None,
    directions: int = 5,
    close_steps: int = 20,
    progress: Callable[[int, int], None] | None = None,
) -> FirstPhase:
    """Run a recipe again up to the end of its first phase, and measure what spans the phase.

    The phase is made of the updates `start_step + 1 … end_step`; of these, every `every`-th is looked at: its own
    batch, just before the update, in one extra forward and backward pass. A sample's change is `ΔW|_x = −η g xᵀ`, the
    mean change of a batch `ΔW̄_t = −(η/n) Σ_x g xᵀ` (for plain SGD the actual one; what momentum, weight decay and
    Adam's scaling add is no sum over samples and left out). Weights are those without biases.

    *First pass*: `Σ_t Σ_x ‖x‖² g gᵀ` and `Σ_t ΔW̄_t ΔW̄_tᵀ` of each layer. C_1 is the common direction of single samples'
    changes (Lemma 1), C_2 … C_k those of what it leaves of the mean changes (Appendix F). *Second pass*, with these
    known: `s_i = ‖C_i E_t[ΔV̄_{i,t}]ᵀ‖`, the rate at which samples agree (Theorem 2), and at `close_steps` of the
    steps, evenly spread, S_primary and S_k (Theorem 1) and the alignment of steps with features. All that of all
    samples, and of those of each chosen class with directions of its own; steps without a sample of it are left out
    there. Sums are in float64.

    Both passes repeat the run bit for bit: at every step that the record holds, the loss of the batch must be the
    recorded one, and the second pass must repeat the first one's at all steps.

    Memory per layer and group: at most 32 h² bytes up to 1024 neurons, beyond that 8 KiB per neuron (sketches of rank
    256), whatever the number of steps.

    Args:
        source: a run folder, or a recipe that need not have been run.
        end_step: number of the last update of the phase; None = the end that `find_phases` finds in the record.
        start_step: updates applied when the phase begins; None = the record's, or 0 if `end_step` is given.
        every: look at every so-manieth update of the phase.
        layers: names or patterns; None = all. Theorem 1 needs the layer above to be among them.
        classes: labels to look at apart; None = the two with the highest accuracy at the end of the phase in the
            record (none without one).
        directions: k.
        close_steps: at most so many steps for what is costly.
        progress: is told after each update how many are done, and of how many.

    Returns:
        What was found. A run folder then holds it as `first_phase.nc` too, which `open_record` opens; it is written
        whole or not at all.

    Raises:
        InvalidInput: if an argument breaks its rule, the record has no first phase that is over, or the recipe does
            not repeat the run.
        FileAccess: if the folder holds no run, or cannot be written.

    Source: mlp2024, Lemma 1, Appendix F (Figure 3), Theorem 1 (Table 1) and Theorem 2.

    >>> from cloudchamber.training import load_recipe
    >>> recipe = load_recipe(overrides=["model.depth=3", "model.width=8", "observe.probe_samples=20"])
    >>> found = second_pass(recipe, end_step=4, classes=[0, 1], directions=2)
    >>> found.layers, found.groups
    (('linear1', 'linear2', 'linear3'), ('all', '0', '1'))
    >>> found.to_dataset().strength.shape
    (3, 3, 2)
    """
    _require_counts(every=every, directions=directions, close_steps=close_steps)
    past = Past.of(source)
    start, stop = past.phase(start_step, end_step)
    groups = _groups(past.best_classes(stop) if classes is None else classes)
    rerun = Rerun(past.recipe, past.threads, stop, range(start + 1, stop + 1, every), layers)
    found = _measured(rerun, past, groups, directions, _spread(rerun.visited, close_steps), _Told(2 * stop, progress))
    if past.folder is not None:
        save_record(found.to_dataset(), past.folder / FIRST_PHASE_NAME)
    return found


@dataclass
class _Told:
    """Counts the updates of both passes for whoever wants to know."""

    total: int
    progress: Callable[[int, int], None] | None
    done: int = 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _measured(
    rerun: Rerun, past: Past, groups: Sequence[Group], directions: int, close: tuple[int, ...], told: _Told
) -> FirstPhase:
    moments = Moments(groups)
    losses = rerun.walk(moments.visit, past.losses, told)
    known = moments.result(directions)
    _require_samples(groups, known)
    rate = past.recipe.optimizer.lr
    strengths = Strengths(groups, known, rate, frozenset(close))
    rerun.walk(strengths.visit, dict(enumerate(losses.tolist(), start=1)), told)
    return FirstPhase(
        recipe=recipe_yaml(past.recipe),
        start=rerun.visited.start - 1,
        stop=rerun.stop,
        steps=rerun.visited,
        close=close,
        verified=sum(step <= rerun.stop for step in past.losses),
        learning_rate=rate,
        parts=strengths.result(),
    )


def _groups(classes: Sequence[int]) -> tuple[Group, ...]:
    return (Group("all"), *(Group(str(label), label) for label in dict.fromkeys(classes)))


def _spread(steps: range, count: int) -> tuple[int, ...]:
    """At most `count` of the steps, evenly, the first and the last among them."""
    chosen = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    return tuple(steps[i] for i in chosen.tolist())


def _require_counts(**counts: int) -> None:
    for name, count in counts.items():
        require(count >= 1, f"`{name}` is at least 1", count, "ask for one or more")


def _require_samples(groups: Sequence[Group], known: Mapping[Key, Known]) -> None:
    seen = {group for group, _ in known}
    for group in groups:
        require(
            group.name in seen,
            "a class that is looked at apart has samples in the visited batches",
            f"class {group.name} without any",
            "choose other classes, or visit more steps",
        )
