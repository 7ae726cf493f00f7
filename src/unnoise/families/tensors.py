"""Tell a family by the names and shapes of its tensors, which a header gives."""

from collections.abc import Mapping
from dataclasses import replace

from unnoise.families.autoencoders import find_autoencoder
from unnoise.families.detection import SIGNS, first_that_fits, make_net
from unnoise.families.identity import UNKNOWN, Identity
from unnoise.families.names import by_name
from unnoise.families.unets import find_unet
from unnoise.formats.header import Entry

# What stands before the names of a denoiser, or of an autoencoder that has a file to itself. Source: the checkpoints of
# each family; ComfyUI, comfy/model_detection.py, unet_prefix_from_state_dict
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.model.", "net.", "unet.", "transformer.", "model.", "")
LATENT = ("first_stage_model.", "vae.", "autoencoder.", "")
CONTROLS = ("controlnet_blocks", "controlnet_down_blocks", "controlnet_x_embedder", "control_model", "input_hint_block")
CARD = "unnoise"  # the key of this program's own card, and the family of what has one
PREDICTIONS = {"epsilon": "eps", "eps": "eps", "v": "v", "v_prediction": "v", "v-prediction": "v"}
# Variants that have the tensors of another: only a name tells them.
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
    """Recognise a checkpoint, a network or an autoencoder; unknown where it is none that is known.

    Shapes count more than metadata, which only adds what no shape can show: how the network predicts, and variants of
    distillation.
    """
    if CARD in metadata:
        return Identity(CARD, known_by="the card in the file")
    found = _found({name: entry.shape for name, entry in tensors.items()})
    return found if found.family == UNKNOWN else _marked(found, tensors, metadata)


def refined(shown: Identity, told: Identity) -> Identity:
    """Add to what tensors show the variant that a name tells, where they leave it open."""
    same = SAME_TENSORS.get((shown.family, shown.variant), ())
    if not told.variant or told.family != shown.family or (shown.variant and told.variant not in same):
        return shown
    known_by = f"{shown.known_by}; the variant by {told.known_by}"
    return replace(shown, variant=told.variant, prediction=shown.prediction or told.prediction, known_by=known_by)


def ema(tensors: Mapping[str, Entry]) -> int:
    """Count the tensors of a moving average that a checkpoint holds beside its weights."""
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


def _marked(found: Identity, tensors: Mapping[str, Entry], metadata: Mapping[str, str]) -> Identity:
    """Add what marker tensors and metadata say.   Source: ComfyUI, comfy/supported_models.py, SDXL; ModelSpec 1.0.1."""
    zero = "ztsnr" in tensors
    if found.family == "sdxl" and "edm_vpred.sigma_max" in tensors:
        return replace(found, variant="cosxl", prediction="v", known_by="tensor edm_vpred.sigma_max")
    if found.family == "sdxl" and "edm_mean" in tensors:
        return replace(found, variant="playground-2.5", known_by="tensor edm_mean")
    if "v_pred" in tensors:
        variant = "v-pred" if found.family == "sdxl" and not found.variant else found.variant
        return replace(found, variant=variant, prediction="v", zero_snr=zero, known_by="tensor v_pred")
    architecture = metadata.get("modelspec.architecture", "")
    told = PREDICTIONS.get(metadata.get("modelspec.prediction_type", ""), "")
    if found.family == "sd2" and not found.variant:
        variant = {"stable-diffusion-v2-512": "base", "stable-diffusion-v2-768-v": "768-v"}.get(architecture, "")
        found = replace(found, variant=variant)
        told = told or {"base": "eps", "768-v": "v"}.get(variant, "")
    found = replace(found, prediction=told or found.prediction, zero_snr=zero)
    title = metadata.get("modelspec.title", "")
    return refined(found, replace(by_name(title), known_by=f"modelspec.title {title[:100]}"))
