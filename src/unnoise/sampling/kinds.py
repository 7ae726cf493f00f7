"""The names of the four kinds of prediction; `diffusion/prediction.py` has what they mean."""

from typing import Final, Literal

Kind = Literal["x0", "eps", "v", "flow"]
KINDS: Final[tuple[Kind, ...]] = ("x0", "eps", "v", "flow")
