"""The dtype of each network of a foreign model, and of the layers that stay in float32 in a narrow network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.errors import InputError

AUTOENCODER = "vae"


def in_float32(module: nn.Module, dtype: torch.dtype) -> frozenset[str]:
    """Return the names of the layers whose weights stay in float32 in a network of a narrow dtype.

    Source: diffusers, models/model_loading_utils.py, load_model_dict_into_meta; transformers, modeling_utils.py,
    _get_dtype_plan, where one list acts in float16 only, and another, called strict, in bfloat16 as well.
    """
    names = getattr(module, "_keep_in_fp32_modules", None) or ()
    of_transformers = hasattr(module, "_keep_in_fp32_modules_strict")
    if not of_transformers:
        return frozenset(names)
    strict = getattr(module, "_keep_in_fp32_modules_strict", None) or ()
    return frozenset((*strict, *(names if dtype == torch.float16 else ())))


def dtype_of(module: nn.Module, name: str, value: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """Return the dtype in which a network keeps a weight. dtype: of the network; None is as the file has it."""
    if dtype is None or not value.is_floating_point():
        return value.dtype
    return dtype if in_float32(module, dtype).isdisjoint(name.split(".")) else torch.float32


def narrow(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert a network to a dtype, as loading in that dtype does."""
    stored = module.state_dict().keys()
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if name in stored:
            value.data = value.to(dtype_of(module, name, value, dtype))


def autoencoder_dtype(
    config: Mapping[str, Any], family: str, dtype: torch.dtype, wanted: torch.dtype | None
) -> torch.dtype:
    """Return the dtype of an autoencoder beside networks of a dtype.

    Float16 overflows in autoencoders whose config says `force_upcast`, and in that of Stable Diffusion XL, whose first
    config did not say so: they stay in float32.

    Args:
        config: of the autoencoder.
        family: of the model.
        dtype: of the other networks.
        wanted: by the user; None chooses.

    Raises:
        InputError: a dtype is wanted and the model has no autoencoder.

    Source: diffusers, models/autoencoders/autoencoder_kl.py, force_upcast; madebyollin/sdxl-vae-fp16-fix.
    """
    if wanted is not None and not config:
        raise InputError(f"vae_dtype {str(wanted).removeprefix('torch.')!r}: this model has no autoencoder")
    if wanted is not None:
        return wanted
    overflows = config.get("force_upcast", family == "sdxl")
    return torch.float32 if overflows and dtype == torch.float16 else dtype
