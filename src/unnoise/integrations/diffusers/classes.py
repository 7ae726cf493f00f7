"""Build the networks of foreign models without weights, from a closed table of classes.

Files name classes. A class outside the table is refused, so a file cannot bring code.
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
    """Return a class of the table. Raises InputError for another class, and if its library is not installed."""
    if name not in table:
        raise InputError(f"class {name!r}: {nearest(name, table)}")
    try:
        found: type[Any] = getattr(import_module(table[name]), name)
    except ImportError as error:
        raise InputError(f"foreign models need more packages ({error}); install them: {PIP}") from None
    return found


def empty(name: str, config: Mapping[str, Any], where: str) -> nn.Module:
    """Build a network with parameters on the meta device and real buffers.

    Raises InputError for a class outside the table and for a config that the class does not accept.
    """
    class_ = class_of(name)
    plain = {key: value for key, value in config.items() if not key.startswith("_")}
    try:
        with _without_values():
            if table_of(name) == "transformers":
                from transformers.initialization import no_init_weights

                with no_init_weights():
                    found: nn.Module = class_(class_.config_class.from_dict(plain))
            else:
                found = class_.from_config(plain)
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, RuntimeError) as error:
        raise InputError(f"{where}: config of {name}: {str(error).partition(chr(10))[0]}") from None
    return found.requires_grad_(False).eval()


def table_of(name: str) -> str:
    """Return the library of a class of the table."""
    return NETWORKS[name].partition(".")[0]


class _NoInit(TorchFunctionMode):
    """Skip the initialisation of parameters: their values come from a file."""

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
            warnings.simplefilter("ignore", FutureWarning)  # of the libraries' own code
            yield
    finally:
        hook.remove()
