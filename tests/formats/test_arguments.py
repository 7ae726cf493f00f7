"""Arguments are checked by the signature of what they are for, of a class with further arguments too."""

from typing import Any

import pytest

from unnoise.errors import InputError
from unnoise.formats.arguments import check_arguments
from unnoise.nets.autoencoder import Autoencoder
from unnoise.nets.dit import DiT
from unnoise.nets.unet import UNet

WHOLE = {"channels": 3, "widths": [32, 32], "depths": [1, 1], "heads": [0, 0]}


@pytest.mark.parametrize(
    ("constructor", "args"),
    [
        (UNet, WHOLE),
        (UNet, {**WHOLE, "context": None, "clock": "unit", "rank": 1}),
        (Autoencoder, {}),
    ],
)
def test_right_arguments_pass(constructor: Any, args: dict[str, Any]) -> None:
    check_arguments(constructor, args, {})


@pytest.mark.parametrize(
    ("constructor", "args", "message"),
    [
        (UNet, {**WHOLE, "clocks": "unit"}, r"unknown argument 'clocks': did you mean 'clock'\? known: chan"),
        (UNet, {**WHOLE, "clock": "slow"}, "clock 'slow': must be 'native' or 'unit'"),
        (UNet, {**WHOLE, "widths": [32, 32.5]}, r"widths \[32, 32.5\]: must be a list, each a whole number"),
        (UNet, {**WHOLE, "context": True}, "context True: must be a whole number"),
        (DiT, {"channels": 3}, "width, depth: missing; known: channels, width"),
        (Autoencoder, {"factor": "4"}, "factor '4': must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(constructor: Any, args: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_arguments(constructor, args, {})
