"""What a run saves, and how often."""

from dataclasses import dataclass
from typing import Literal

from unnoise.errors import InputError, check_whole
from unnoise.formats.strict_json import Strict
from unnoise.train.fit_options import FitOptions

LONGEST_EMA = 0.28  # sigma_rel of an average over the whole run; EDM2, section C.1


@dataclass(frozen=True, slots=True)
class CheckpointOptions(Strict):
    """What a run saves, and how often, in steps.

    Args:
        ema_lengths: lengths of the two averages of the weights, as shares of the run (sigma_rel of EDM2); above 0, at
            most 0.28, the shorter first.
        ema_length: length of the average in the finished model; any value between the two, and can change afterwards;
            "auto" is the best of five on the held-out images, and the shorter for denoiser.text.fit, which has none. A
            task that another one rests on keeps its length once it has ended.
        ema_every: steps between updates of the averages, at least 1.
        snapshot_every: steps between copies of the averages, from which other lengths are computed, at least 1.
        every: steps between checkpoints, from which a run resumes, at least 1.
        sheet_every: steps between contact sheets, at least 1; the last step always has one.
        validate_every: steps between validations, and losses by noise level in the log, at least 1.
    """

    ema_lengths: tuple[float, float] = (0.05, 0.1)
    ema_length: float | Literal["auto"] = 0.05
    ema_every: int = 4
    snapshot_every: int = 1000
    every: int = 500
    sheet_every: int = 1000
    validate_every: int = 250

    def __post_init__(self) -> None:
        for name in ("ema_every", "snapshot_every", "every", "sheet_every", "validate_every"):
            check_whole(f"checkpoints.{name}", getattr(self, name), 1, 10**9)
        low, high = self.ema_lengths
        if not 0 < low < high <= LONGEST_EMA:
            raise InputError(f"checkpoints.ema_lengths {[low, high]}: a shorter and a longer one, to {LONGEST_EMA}")
        if self.ema_length != "auto" and not low <= self.ema_length <= high:
            raise InputError(f"checkpoints.ema_length {self.ema_length:g}: from {low:g} to {high:g}, the ema_lengths")

    def check(self, *fits: FitOptions) -> None:
        """Raise InputError for a run that ends before its weights are averaged once."""
        for fit in fits:
            if fit.steps < self.ema_every:
                raise InputError(f"fit.steps {fit.steps}: at least checkpoints.ema_every, {self.ema_every} steps")
