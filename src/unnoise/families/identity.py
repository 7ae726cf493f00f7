"""The identity of a model and the evidence for it. What is not recognised is "unknown"."""

from dataclasses import dataclass

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Identity:
    """Name the family and variant of a model, keys of `table.FAMILIES` and `table.VARIANTS`.

    Args:
        family, variant: a variant of "" is unknown.
        prediction: "eps", "v", "flow", "x0", or "" without evidence.
        zero_snr: trained with zero terminal SNR.
        known_by: the evidence, in words.
    """

    family: str = UNKNOWN
    variant: str = ""
    prediction: str = ""
    zero_snr: bool = False
    known_by: str = ""

    @property
    def known(self) -> bool:
        return self.family != UNKNOWN

    def __str__(self) -> str:
        return f"{self.family} {self.variant}".strip()
