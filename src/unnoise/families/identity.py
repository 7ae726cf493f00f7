"""Which model something is, and how that is known. What is not recognised is "unknown", never guessed."""

from dataclasses import dataclass

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Identity:
    """Name a model's family and variant, keys of `table.FAMILIES` and `table.VARIANTS`.

    variant: "" where the family is all that is known; prediction: "eps", "v", "flow", "x0", or "" where the evidence
    does not say; zero_snr: it was trained to zero terminal SNR; known_by: the evidence, as a person would check it.
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
