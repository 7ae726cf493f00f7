"""The conditioning of a network: text, labels, images, the scales of ControlNets and adapters."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain

import torch
from torch import Tensor, nn

from unnoise.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """The inputs of a network besides x and sigma, one row for each row of x. A field that is not used is None.

    With every field None the length is 0, which fits any batch.

    Args:
        tokens: (B, L, C), features of the prompt.
        mask: (B, L) bool, True for a real token, False for padding.
        vector: (B, C), pooled features.
        sizes: (B, C), numbers that a network takes besides its text: sizes of the image in pixels, a score.
        label: (B,) int64, the number of a class.
        distilled_guidance: (B,), the guidance scale that a distilled network takes as an input.
        end: (B,), sigma/(1 + sigma) of the level at which a jump ends, 0 to 1, of a network that takes a second time.
        image: (B, c, *d), extra input channels, on the cells of x.
        control_image: (B, c, *D), the image of a ControlNet, in pixels.
        control_scale: (B,), the weight of the ControlNet, 1 as trained.
        ip_adapter_tokens: (B, L, C), features of the image of an IP-Adapter.
        ip_adapter_scale: (B,), the weight of the IP-Adapter, 1 as trained.
        adapter_scales: (B, K), the weight of each of K LoRA adapters.
    """

    tokens: Tensor | None = None
    mask: Tensor | None = None
    vector: Tensor | None = None
    sizes: Tensor | None = None
    label: Tensor | None = None
    distilled_guidance: Tensor | None = None
    end: Tensor | None = None
    image: Tensor | None = None
    control_image: Tensor | None = None
    control_scale: Tensor | None = None
    ip_adapter_tokens: Tensor | None = None
    ip_adapter_scale: Tensor | None = None
    adapter_scales: Tensor | None = None

    def __post_init__(self) -> None:
        sizes = {name: len(value) for name, value in self.given().items()}
        if len(set(sizes.values())) > 1:
            counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InputError(f"cond: fields with {counts} rows; all must have the same number")
        if self.mask is not None and (self.tokens is None or self.mask.shape != self.tokens.shape[:2]):
            raise InputError(f"mask {tuple(self.mask.shape)}: must be (B, L) of tokens: (B, L, C)")

    def __len__(self) -> int:
        return next((len(value) for value in self.given().values()), 0)

    def given(self) -> dict[str, Tensor]:
        """Return the fields that are not None, by name."""
        every = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in every if value is not None}

    def rows(self, index: Tensor | slice | Sequence[int]) -> "Conditioning":
        """Return the rows at an index, which may repeat: rows([0] * 4) is a batch of four times the first."""
        pick = index if isinstance(index, Tensor | slice) else list(index)
        return Conditioning(**{name: value[pick] for name, value in self.given().items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Conditioning":
        """Move to a device and a dtype; dtype applies to floating-point fields only."""
        return Conditioning(
            **{
                name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
                for name, value in self.given().items()
            }
        )


NET_INPUTS = {"unit_clock": False, "takes_end": False, "points": 1}  # attributes of a network, and their defaults


def same_inputs(wrapper: nn.Module, net: nn.Module) -> None:
    """State of a network around another that it gets the same inputs, and returns the same outputs."""
    for name, default in NET_INPUTS.items():
        setattr(wrapper, name, getattr(net, name, default))


def collate(conds: Sequence[Conditioning]) -> Conditioning:
    """Concatenate the rows of several conditionings. Tokens are padded with zeros to the longest, and masked.

    Raises InputError where a field is None in one and not in another, or its widths differ.
    """
    names = {frozenset(cond.given()) - {"mask"} for cond in conds}
    if len(names) > 1:
        raise InputError(f"cond: all or none of a batch must have {', '.join(sorted(frozenset.union(*names)))}")
    if "tokens" in next(iter(names), frozenset()):
        conds = _padded(conds)
    parts = [cond.given() for cond in conds]
    try:
        return Conditioning(**{name: torch.cat([part[name] for part in parts]) for name in chain(*parts[:1])})
    except RuntimeError as error:
        raise InputError(f"cond: widths differ within a batch, and must be the same ({error})") from error


def _padded(conds: Sequence[Conditioning]) -> list[Conditioning]:
    """Pad tokens to one length and add masks, unless all have one length and none has a mask."""
    tokens = [cond.tokens for cond in conds if cond.tokens is not None]
    lengths = {part.shape[1] for part in tokens}
    if len(lengths) == 1 and all(cond.mask is None for cond in conds):
        return list(conds)
    padded = []
    for cond, part in zip(conds, tokens, strict=True):
        real = part.new_ones(part.shape[:2], dtype=torch.bool) if cond.mask is None else cond.mask
        more = max(lengths) - part.shape[1]
        longer = nn.functional.pad(part, (0, 0, 0, more))
        padded.append(replace(cond, tokens=longer, mask=nn.functional.pad(real, (0, more))))
    return padded
