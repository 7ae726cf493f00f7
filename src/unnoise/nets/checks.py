"""Checks of the arguments of networks, whose messages name the argument, its value and what is allowed."""

from collections.abc import Sequence

from unnoise.errors import InputError

GROUPS = 32  # of the norms of a U-Net and an autoencoder


def check_least(least: int, **numbers: int) -> None:
    """Raise InputError for a number below the least."""
    for name, number in numbers.items():
        if number < least:
            raise InputError(f"{name} {number}: at least {least}")


def check_multiple(name: str, number: int, of: int, why: str) -> None:
    """Raise InputError unless a number is a multiple of another. why: what needs it."""
    if number < 1 or number % of:
        raise InputError(f"{name} {number}: a multiple of {of}, {why}")


def check_stages(widths: Sequence[int], depths: Sequence[int], heads: Sequence[int]) -> None:
    """Raise InputError unless every resolution of a U-Net has a width, a depth and heads that fit each other."""
    if not len(widths) == len(depths) == len(heads):
        raise InputError(
            f"widths, depths, heads: of {len(widths)}, {len(depths)} and {len(heads)} entries; each has one entry a "
            f"resolution"
        )
    if len(widths) < 2:
        raise InputError(f"widths {list(widths)}: at least 2 resolutions")
    for i, (width, depth, head) in enumerate(zip(widths, depths, heads, strict=True)):
        check_least(1, **{f"widths[{i}]": width, f"depths[{i}]": depth})
        check_least(0, **{f"heads[{i}]": head})
        if i == 0 or head:
            check_multiple(f"widths[{i}]", width, GROUPS, "the groups of its norms")
        if head:
            check_multiple(f"widths[{i}]", width, head, f"the heads[{i}] of its attention")
