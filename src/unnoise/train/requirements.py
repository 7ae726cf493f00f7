"""What a training will need, checked before its first step: the size, the prompts of its sheets, shapes of networks."""

from collections.abc import Sequence

import torch

from unnoise.components import Components
from unnoise.errors import InputError
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.text.encode import PromptEncoder


def check_sheet(components: Components, prompts: Sequence[str], size: int) -> None:
    """Raise InputError where the contact sheets of a training could not be drawn."""
    if size % components.factor:
        raise InputError(f"data.size {size}: a multiple of {components.factor}, for {components.card.name!r}")
    try:
        resolve(request_of(tuple(prompts), size=size, prompt_weighting="literal"), components)
    except InputError as error:
        raise InputError(f"contact sheets (data.size, prompts, advice): {error}") from None


def check_captions(args: dict[str, object], width: int) -> None:
    """Raise InputError unless a network takes the captions of its text encoder as an input.

    Args:
        args: of the network.
        width: of the text encoder.
    """
    given = {name: args[name] for name in ("context", "vector") if args.get(name)}
    if not given:
        raise InputError(
            f"denoiser.net.args: neither context nor vector is set, so that captions would have no effect; set "
            f"context = {width}, the width of denoiser.text"
        )
    for name, value in given.items():
        if value != width:
            raise InputError(
                f"denoiser.net.args.{name} {value!r}: denoiser.text.width is {width}, and both must be the same"
            )


@torch.no_grad()
def check_networks(components: Components, size: int) -> None:
    """Run networks on the meta device, and raise InputError where their shapes do not fit each other or the size."""
    encoder = components.text_encoder
    if not isinstance(encoder, PromptEncoder):
        raise InputError("the card has no text encoder; training on captions needs one")
    try:
        with torch.device("meta"):
            x0 = components.space.encode(torch.empty(1, 3, size, size))
            components.space.decode(x0)
            mask = torch.ones(1, encoder.length, dtype=torch.bool)
            cond = encoder.net(torch.zeros(1, encoder.length, dtype=torch.int64), mask)
            components.denoiser.net(x0, torch.ones(1), cond)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"denoiser.net, denoiser.text, autoencoder: they do not fit each other or data.size {size}: "
            f"{str(error).splitlines()[0]}"
        ) from error
