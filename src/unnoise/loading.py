"""Load a model: an embedded one by its name, a file of this program, a diffusers folder or a foreign single file."""

import os
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, Unpack, get_args

import torch

from unnoise import model_file
from unnoise.card import OWN, has_card
from unnoise.components import Components, Dtype
from unnoise.devices import known_device
from unnoise.embedded import CONTROLS, find
from unnoise.errors import InputError, checked_path, nearest, quoted
from unnoise.pipeline import Pipeline

PathLike = str | os.PathLike[str]
DTYPES = get_args(Dtype)


class ForeignOptions(TypedDict, total=False):
    """How a foreign model is loaded, see `load`."""

    dtype: str
    vae_dtype: str | None
    components: PathLike | None
    prediction_type: Literal["eps", "v", "flow"] | None
    compile: bool


def load(
    model: PathLike,
    device: str | torch.device = "cpu",
    *,
    control: PathLike | None = None,
    ip_adapter: Sequence[PathLike] | None = None,
    **foreign: Unpack[ForeignOptions],
) -> Pipeline:
    """Load a model.

    Args:
        model: the name of an embedded model, the path of a .safetensors file, or a diffusers folder.
        device: "auto" is the best there is; "cpu", "cuda", "cuda:1", "mps", ...
        control: name or file of a control, for `control_image`.
        ip_adapter: file of an IP-Adapter and folder of its image encoder, for `ip_adapter_image`.
        foreign: of a foreign model, each by its name:
            dtype: of the weights: "float32", which is the default, "bfloat16" or "float16".
            vae_dtype: of the autoencoder; None is float32 where it is known to overflow in float16, else `dtype`.
            components: a diffusers folder with what a single file lacks, such as text encoders and tokenizers.
            prediction_type: of the network, if its files do not state it.
            compile: compile the repeated blocks of the network; the first call then takes about a minute.

    Returns:
        The pipeline, with weights on the device.

    Raises:
        InputError: the model is unknown, damaged or incomplete, or an argument has no effect on it.
    """
    path, place = find(model), known_device(device)
    _check_options(foreign)
    if has_card(path):
        for name, value in foreign.items():
            if value not in ("float32", None, False):
                raise InputError(
                    f"{name} {quoted(value)}: only for foreign models; {path} is complete and is loaded as float32"
                )
        if ip_adapter is not None:
            raise InputError(f"ip_adapter: only for foreign models, and {path} was trained by unnoise")
        loaded = model_file.load(path, place)
    else:
        from unnoise.integrations.diffusers.load import load as load_foreign

        given: dict[str, Any] = {"compiled": foreign.get("compile", False)}
        given |= {name: getattr(torch, str(value)) for name in ("dtype", "vae_dtype") if (value := foreign.get(name))}
        given["components"] = (
            None if (folder := foreign.get("components")) is None else checked_path("components", folder)
        )
        loaded = load_foreign(path, place, prediction_type=foreign.get("prediction_type"), **given)
    return Pipeline.of(_with_adapters(loaded, control, ip_adapter))


def _check_options(foreign: ForeignOptions) -> None:
    """Raise InputError for an unknown option or dtype."""
    for name, value in foreign.items():
        if name not in ForeignOptions.__annotations__:
            raise InputError(f"load: {name}: {nearest(name, ForeignOptions.__annotations__)}")
        if name in ("dtype", "vae_dtype") and value is not None and value not in DTYPES:
            raise InputError(f"{name} {quoted(value)}: {nearest(quoted(value), DTYPES)}")


def meta(
    model: PathLike, *, components: PathLike | None = None, prediction_type: Literal["eps", "v", "flow"] | None = None
) -> Pipeline:
    """Build the pipeline of a model on the meta device, without weights.

    Args:
        model, components, prediction_type: as for `load`.

    Raises:
        InputError: the model is unknown, incomplete or not valid.
    """
    path = find(model)
    if has_card(path):
        if components is not None or prediction_type is not None:
            raise InputError(f"components and prediction_type: only for foreign models; {path} is complete")
        return Pipeline.of(model_file.meta(path))
    from unnoise.integrations.diffusers.load import meta as foreign_meta

    return Pipeline.of(
        foreign_meta(path, None if components is None else checked_path("components", components), prediction_type)
    )


def _with_adapters(loaded: Components, control: PathLike | None, ip_adapter: Sequence[PathLike] | None) -> Components:
    """Add a control, an IP-Adapter or both to the denoiser."""
    if control is not None and loaded.card.family == OWN:
        from unnoise.adapters.controlnet import with_control

        return with_control(loaded, find(control, CONTROLS))
    if control is not None:
        from unnoise.integrations.diffusers.controlnet import with_control as with_foreign_control

        loaded = with_foreign_control(loaded, checked_path("control", control))
    if ip_adapter is None:
        return loaded
    from unnoise.integrations.diffusers.ip_adapter import with_ip_adapter

    if isinstance(ip_adapter, str) or not isinstance(ip_adapter, Sequence) or len(ip_adapter) != 2:
        raise InputError(
            f"ip_adapter {quoted(ip_adapter)}: two paths, the IP-Adapter's file and the folder of its encoder"
        )
    return with_ip_adapter(loaded, *(checked_path("ip_adapter", path) for path in ip_adapter))
