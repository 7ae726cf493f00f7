"""Loss scaling: small gradients of activations in float16 become zero, unless the loss is multiplied by a large number.

Source: Micikevicius et al. 2018, "Mixed precision training", section 3.2.
"""

from collections.abc import Iterable

from torch import Tensor

FIRST, LEAST, PATIENCE = 2.0**16, 2.0**-10, 2000  # the factor at first and at last, and steps before it is doubled


class LossScale:
    """A factor on the loss, a power of two: halved where a gradient overflows, doubled after PATIENCE steps.

    enabled: the factor is 1 otherwise, and does not change.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled, self.value, self.steps = enabled, FIRST if enabled else 1.0, 0

    def unscale(self, parameters: Iterable[Tensor]) -> None:
        """Divide gradients by the factor."""
        for parameter in parameters if self.enabled else ():
            if parameter.grad is not None:
                parameter.grad /= self.value

    def lowered(self) -> bool:
        """Halve the factor, after an overflow; return False where it is at its least, or disabled."""
        if not self.enabled or self.value <= LEAST:
            return False
        self.value, self.steps = self.value / 2, 0
        return True

    def passed(self) -> None:
        """Count a step without overflow."""
        self.steps += 1
        if self.enabled and self.steps == PATIENCE:
            self.value, self.steps = self.value * 2, 0

    def facts(self) -> dict[str, str]:
        """Return the state, for a checkpoint."""
        return {"loss_scale": f"{self.value!r} {self.steps}"} if self.enabled else {}

    def restore(self, facts: dict[str, str]) -> None:
        """Continue from the state of a checkpoint."""
        if self.enabled and "loss_scale" in facts:
            value, steps = facts["loss_scale"].split()
            self.value, self.steps = float(value), int(steps)
