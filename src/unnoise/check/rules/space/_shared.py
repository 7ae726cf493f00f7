"""Helpers of the rules of the space: models with their autoencoder, and sizes of runs."""

from collections.abc import Iterator

from unnoise.check.subject import Config, GenerationRun, NamedModel, Subject

LARGEST = 1 << 16  # longest side in pixels that is checked
# Settings of what draws the first levels of a large image with smaller features.   Source: ComfyUI,
# comfy_extras/nodes_model_downscale.py; stable-diffusion-webui-forge, extensions-builtin/sd_forge_kohya_hrfix
SHRINKS = ("PatchModelAddDownscale.", "kohya_hrfix")
REGIONS = "regions"  # key of what composes the image in ComfyUI
PLAIN = ("AutoencoderKL",)  # whose scale and shift are those of the family


def autoencoders(subject: Subject) -> Iterator[tuple[NamedModel, Config]]:
    """List the models of a subject with the complete settings of their autoencoder, each once."""
    listed: set[int] = set()
    for model in (*subject.models, *(run.model for run in subject.runs if run.model)):
        config = model.configs.get("vae")
        if config is not None and config.complete and config.class_ in PLAIN and id(config) not in listed:
            listed.add(id(config))
            yield model, config


def size_of(run: GenerationRun) -> tuple[int, int] | None:
    """Return width and height of a run, in pixels; None where one of them is not stated."""
    if run.width is None or run.height is None:
        return None
    width, height = run.width.value, run.height.value
    return (width, height) if 0 < width <= LARGEST and 0 < height <= LARGEST else None


def area_ratio(run: GenerationRun, cell: int = 1) -> float | None:
    """Return the area of a run over the native area of its family.

    Args:
        run: the run
        cell: factor of both sides, 8 for sizes that are counted in latents

    Returns:
        None where an area is not known
    """
    size = size_of(run)
    if size is None or run.facts is None or run.facts.size is None:
        return None
    return size[0] * size[1] * cell * cell / (run.facts.size[0] * run.facts.size[1])


def is_latent_size(run: GenerationRun) -> bool:
    """Return whether a size in pixels is unusual for the family, but usual if counted in latents."""
    ratio, in_latents = area_ratio(run), area_ratio(run, 8)
    if ratio is None or in_latents is None or run.facts is None:
        return False
    low, high = run.facts.area
    return ratio < low and low <= in_latents <= high


def is_plain(run: GenerationRun) -> bool:
    """Return whether a run makes one image of its size from text, without tiles, areas, stages or an input image."""
    special = ("Upscale", "Panorama", "Tiling", "DemoFusion", "ImageVariation")
    if REGIONS in run.others or any(key.startswith(SHRINKS) for key in run.others):
        return False
    is_whole = run.strength is None or run.strength.value == 1  # ComfyUI always states it
    return run.task == "text" and is_whole and not any(word in run.pipeline for word in special)
