"""Build the networks of foreign models without weights, from a closed table of classes and their checked configs."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from unnoise.errors import InputError
from unnoise.integrations.diffusers.config import checked_config
from unnoise.integrations.diffusers.table import NETWORKS, class_of

NETS = 2500  # tensors of a network; the largest supported have 1,700


def empty(name: str, config: Mapping[str, Any], where: str) -> nn.Module:
    """Build a network with parameters on the meta device and real buffers.

    Raises InputError for a class outside the table and for a config that the class does not accept.
    """
    class_ = class_of(name)
    plain = checked_config(name, config, where)
    try:
        with _without_values(), _at_most(NETS, f"{where}: config of {name}"):
            if table_of(name) == "transformers":
                from transformers.initialization import no_init_weights

                with no_init_weights():
                    attention = "sdpa" if class_._supports_sdpa else "eager"
                    made = class_.config_class.from_dict({**plain, "attn_implementation": attention})
                    found: nn.Module = class_(made)
            else:
                found = class_.from_config(plain)
    except InputError:
        raise
    except Exception as error:  # the libraries' constructors raise anything for a wrong value
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
def _at_most(tensors: int, where: str) -> Iterator[None]:
    """Stop building a network of more parameters than any model has, before it fills the memory."""
    count = 0

    def check(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += 1
        if count > tensors:
            raise InputError(f"{where}: more than {tensors} tensors; no supported model has so many")

    hook = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        hook.remove()


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
