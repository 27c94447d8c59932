"""The thresholds by which phases are found."""

from __future__ import annotations

from dataclasses import dataclass, fields

from cloudchamber._core.errors import require


@dataclass(frozen=True)
class PhaseRule:
    """Every number in the definition of the phases (`find_phases`), with its default.

    Losses are compared with L_const, the loss of the best constant output. "Held" means for `hold` observations, or
    to the end of the record if it has fewer.

    Attributes:
        drop: the loss marker is where the loss falls below (1 − drop) · L_const and is held there.
        plateau_share: of the time from reaching the plateau to the loss marker, the loss stays within drop/3 of L_const
            for at least this share. A straight line has 0.33, one that comes from far above 0.5, the default run 0.7.
        plateau_observations: a plateau has at least this many observations before the loss marker.
        hold: observations after which a crossing is no excursion.
        window: observations in the running median (odd).
        rise: a similarity peaks only if it has risen by this much before.
        fall: a similarity peaks only if it has fallen by this much after.
        noise_factor: rise and fall also exceed this many standard deviations of the curve's noise.
        agreement: the feature peak ends the first phase only if it comes no later than this many times the loss marker.
        stuck_tolerance: a stuck loss is never better than L_const by more than this fraction of it,
        stuck_fall: nor falls by more than this fraction of it (between the medians of the halves of `stuck_steps`),
        stuck_steps: for at least this many steps, up to the end of the record,
        stuck_observations: and at least this many observations.
        explosion: a loss this many times both its start and L_const has exploded.

    Raises:
        InvalidInput: if a threshold cannot be one.

    >>> PhaseRule(stuck_steps=2000).stuck_tolerance
    0.01
    """

    drop: float = 0.15
    plateau_share: float = 0.55
    plateau_observations: int = 3
    hold: int = 10
    window: int = 5
    rise: float = 0.01
    fall: float = 0.01
    noise_factor: float = 5.0
    agreement: float = 3.0
    stuck_tolerance: float = 0.01
    stuck_fall: float = 0.001
    stuck_steps: int = 500
    stuck_observations: int = 10
    explosion: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            require(value > 0, f"`{field.name}` is positive", value, "leave it out for the default")
        for name in ("drop", "plateau_share", "stuck_tolerance", "stuck_fall"):
            value = getattr(self, name)
            require(value < 1, f"`{name}` is a fraction below 1", value, "write 0.15 for 15 %")
        require(self.window % 2 == 1, "`window` is odd", self.window, "take the next odd number")
        require(
            self.stuck_tolerance < self.drop,
            f"`stuck_tolerance` is below `drop` ({self.drop})",
            self.stuck_tolerance,
            "a loss that is stuck has not left its plateau",
        )


DEFAULT_RULE = PhaseRule()
