"""Tell which network of a model an adapter file is for, where its own names do not say it.

Wan 2.2 has two transformers of the same shape: `transformer` above a noise level, `transformer_2` below it. Files for
either have the same names, so that only the file's metadata or its own name tells them apart, or the user.
Source: diffusers, pipelines/wan/pipeline_wan.py (boundary_ratio); Wan-Video/Wan2.2, high_noise_model, low_noise_model.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from unnoise.adapters.lora.names import WRAPPED
from unnoise.errors import InputError
from unnoise.families import own

EXPERTS = {"transformer": "high noise", "transformer_2": "low noise"}
NAMED = "unnoise.networks"  # the key of a file whose names state the network
STATING = ("modelspec.title", "modelspec.architecture", "ss_output_name", "ss_sd_model_name", "ss_base_model_version")
NOISE = re.compile(r"(?<![a-z])(high|low)[ _.-]?noise(?![a-z])", re.IGNORECASE)
CAMEL = re.compile(r"(High|Low)Noise")


def network_of(
    path: Path, modules: Iterable[str], metadata: Mapping[str, str], networks: Collection[str], chosen: str
) -> str:
    """Return the only network that a file is applied to, "" where the names of its modules say it.

    Args:
        path: the file.
        modules: names of its modules, as in the file.
        metadata: of its header.
        networks: the names of the model's networks.
        chosen: by the user, "" if nothing was.

    Raises:
        InputError: the model has no such network, or has two that the file could be for.
    """
    if chosen and chosen not in networks:
        raise InputError(f"{path}@{chosen}: this model has no such network; it has {', '.join(networks)}")
    if chosen or not EXPERTS.keys() <= set(networks) or own.LORA in metadata or NAMED in metadata:
        return chosen
    if any(name.removeprefix(WRAPPED).startswith("transformer_2.") for name in modules):
        return ""
    found = stated(path, metadata)
    if len(found) != 1:
        says = "does not say which" if not found else "says both"
        choices = " or ".join(f"{path.name}@{network} ({noise})" for network, noise in EXPERTS.items())
        raise InputError(
            f"{path.name}: the model has one transformer for high noise and one for low noise, and the "
            f"file {says}: write {choices}"
        )
    return found.pop()


def contradiction(path: Path, metadata: Mapping[str, str], chosen: str) -> str:
    """Return a warning where the user's choice is another network than the file states, else ""."""
    found = stated(path, metadata)
    if chosen not in EXPERTS or found != EXPERTS.keys() - {chosen}:
        return ""
    return (
        f"{path.name}: applied to {chosen} ({EXPERTS[chosen]}) as asked for; it says that it is for the other network"
    )


def stated(path: Path, metadata: Mapping[str, str]) -> set[str]:
    """Return the transformers of Wan 2.2 that the metadata states, else those that the name of the file does."""
    texts = [metadata.get(key, "")[:300] for key in STATING]
    return set().union(*map(_experts, texts)) or _experts(path.name)


def _experts(text: str) -> set[str]:
    words = {word.lower() for word in (*NOISE.findall(text), *CAMEL.findall(text))}
    return {network for network, noise in EXPERTS.items() if noise.split()[0] in words}
