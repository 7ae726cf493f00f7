"""Recognise a family by the names and shapes of the tensors in a header."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from unnoise.families.autoencoders import find_autoencoder
from unnoise.families.detection import SIGNS, first_that_fits, make_net
from unnoise.families.identity import UNKNOWN, Identity
from unnoise.families.names import by_name
from unnoise.families.unets import find_unet
from unnoise.formats.header import Entry

T = TypeVar("T")
# Prefixes of the names of a denoiser, and of an autoencoder that is a file of its own. Source: the checkpoints of
# each family; ComfyUI, comfy/model_detection.py, unet_prefix_from_state_dict
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.model.", "net.", "unet.", "transformer.", "model.", "")
LATENT = ("first_stage_model.", "vae.", "autoencoder.", "")
CONTROLS = ("controlnet_blocks", "controlnet_down_blocks", "controlnet_x_embedder", "control_model", "input_hint_block")
# What training programs put in front of all names. Source: PyTorch, nn.DataParallel and torch.compile; Lightning
WRAPPERS = ("state_dict.", "module.", "_orig_mod.")
CARD = "unnoise"  # the key of a card of this program, and the family of files that have one
PREDICTIONS = {"epsilon": "eps", "eps": "eps", "v": "v", "v_prediction": "v", "v-prediction": "v"}
# Variants with the tensors of another variant: only a name identifies them.
SAME_TENSORS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("flux1", "dev"): ("kontext", "krea"),
    ("flux1", "control"): ("depth", "canny"),
    ("flux2", "4b"): ("klein-4b", "klein-base-4b"),
    ("flux2", "9b"): ("klein-9b", "klein-base-9b"),
    ("sd3", "3.5-large"): ("3.5-large-turbo",),
    ("pixart", "alpha"): ("lcm", "dmd"),
    ("wan", "1.3b"): ("lightning",),
    ("wan", "14b"): ("a14b", "lightning"),
    ("wan", "a14b"): ("lightning",),
}


def recognise(tensors: Mapping[str, Entry], metadata: Mapping[str, str]) -> Identity:
    """Recognise a checkpoint, a network or an autoencoder.

    Shapes come before metadata, which only adds what shapes cannot show: the prediction type and distilled variants.
    """
    if CARD in metadata:
        return Identity(CARD, known_by="the card in the file")
    found = _found({name: entry.shape for name, entry in tensors.items()})
    return found if found.family == UNKNOWN else marked(found, tensors, metadata)


def unwrapped(tensors: Mapping[str, T]) -> dict[str, T]:
    """Remove the prefixes that a training program puts in front of all names."""
    found = dict(tensors)
    while found and (prefix := next((one for one in WRAPPERS if all(name.startswith(one) for name in found)), "")):
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def refined(found: Identity, named: Identity) -> Identity:
    """Add the variant of a name to an identity by tensors that leaves it open."""
    same = SAME_TENSORS.get((found.family, found.variant), ())
    if not named.variant or named.family != found.family or (found.variant and named.variant not in same):
        return found
    known_by = f"{found.known_by}; the variant by {named.known_by}"
    return replace(found, variant=named.variant, prediction=found.prediction or named.prediction, known_by=known_by)


def ema(tensors: Mapping[str, Entry]) -> int:
    """Count the tensors of the EMA weights in a checkpoint."""
    return sum(name.startswith("model_ema.") for name in tensors)


def _found(shapes: Mapping[str, tuple[int, ...]]) -> Identity:
    for prefix in _present(shapes, PREFIXES):
        net = make_net(shapes, prefix)
        found = first_that_fits(net, SIGNS) or find_unet(net)
        if found is not None:
            return replace(found, variant="") if any(name in net for name in CONTROLS) else found
    nets = (make_net(shapes, prefix) for prefix in _present(shapes, LATENT) if _is_all(shapes, prefix))
    return next((found for net in nets if (found := find_autoencoder(net)) is not None), Identity())


def _present(shapes: Mapping[str, tuple[int, ...]], prefixes: tuple[str, ...]) -> list[str]:
    return [prefix for prefix in prefixes if any(name.startswith(prefix) for name in shapes)]


def _is_all(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in shapes)


def marked(found: Identity, tensors: Mapping[str, Entry], metadata: Mapping[str, str]) -> Identity:
    """Add the evidence of marker tensors and metadata to an identity.

    Source: ComfyUI, comfy/supported_models.py, SDXL; ModelSpec 1.0.1.
    """
    zero = "ztsnr" in tensors
    if found.family == "sdxl" and "edm_vpred.sigma_max" in tensors:
        return replace(found, variant="cosxl", prediction="v", known_by="tensor edm_vpred.sigma_max")
    if found.family == "sdxl" and "edm_mean" in tensors:
        return replace(found, variant="playground-2.5", known_by="tensor edm_mean")
    if "v_pred" in tensors:
        variant = "v-pred" if found.family == "sdxl" and not found.variant else found.variant
        return replace(found, variant=variant, prediction="v", zero_snr=zero, known_by="tensor v_pred")
    architecture = metadata.get("modelspec.architecture", "")
    prediction = PREDICTIONS.get(metadata.get("modelspec.prediction_type", ""), "")
    if found.family == "sd2" and not found.variant:
        variant = {"stable-diffusion-v2-512": "base", "stable-diffusion-v2-768-v": "768-v"}.get(architecture, "")
        found = replace(found, variant=variant)
        prediction = prediction or {"base": "eps", "768-v": "v"}.get(variant, "")
    found = replace(found, prediction=prediction or found.prediction, zero_snr=zero)
    title = metadata.get("modelspec.title", "")
    return refined(found, replace(by_name(title), known_by=f"modelspec.title {title[:100]}"))
