"""The closed table of classes that a foreign model may be made of, and how one is made without weights.

A file names classes; what is not in the table is refused, so no file can bring code.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from unnoise.errors import InputError, nearest
from unnoise.integrations.diffusers.table import NETWORKS

PIP = "pip install 'unnoise[diffusers]'"


def class_of(name: str, table: Mapping[str, str] = NETWORKS) -> type[Any]:
    """Give a class of the table. Raises InputError for another, and where its library is not installed."""
    if name not in table:
        raise InputError(f"class {name!r}: {nearest(name, table)}")
    try:
        found: type[Any] = getattr(import_module(table[name]), name)
    except ImportError as error:
        raise InputError(f"foreign models need more packages ({error}): {PIP}") from None
    return found


def empty(name: str, config: Mapping[str, Any], where: str) -> nn.Module:
    """Make a network whose parameters are on the meta device, and whose buffers are real.

    Raises InputError for a class that is not in the table and a config that the class does not take.
    """
    made = class_of(name)
    plain = {key: value for key, value in config.items() if not key.startswith("_")}
    try:
        with _without_values():
            if table_of(name) == "transformers":
                from transformers.initialization import no_init_weights

                with no_init_weights():
                    found: nn.Module = made(made.config_class.from_dict(plain))
            else:
                found = made.from_config(plain)
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, RuntimeError) as error:
        raise InputError(f"{where}: config of {name}: {str(error).partition(chr(10))[0]}") from None
    return found.requires_grad_(False).eval()


def table_of(name: str) -> str:
    """Say which library a class of the table is from."""
    return NETWORKS[name].partition(".")[0]


class _NoInit(TorchFunctionMode):
    """Leave parameters as they are made: their values come from a file."""

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init" or func in (Tensor.normal_, Tensor.uniform_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def _without_values() -> Iterator[None]:
    def to_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None or parameter.is_meta:
            return None
        return nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)

    hook = register_module_parameter_registration_hook(to_meta)  # type: ignore[arg-type]
    try:
        with _NoInit(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what the libraries themselves still use
            yield
    finally:
        hook.remove()
