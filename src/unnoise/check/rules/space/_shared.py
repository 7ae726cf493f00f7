"""What the rules of the space share: models with their autoencoder, sizes that are asked for."""

from collections.abc import Iterator

from unnoise.check.subject import Config, Model, Run, Subject

LARGEST = 1 << 16  # pixels along a side that anybody asks for
PLAIN = ("AutoencoderKL",)  # whose scale and shift are those of the family


def autoencoders(subject: Subject) -> Iterator[tuple[Model, Config]]:
    """List the models of a subject with the whole settings of their autoencoder, each once."""
    seen: set[int] = set()
    for model in (*subject.models, *(run.model for run in subject.runs if run.model)):
        config = model.configs.get("vae")
        if config is not None and config.complete and config.class_ in PLAIN and id(config) not in seen:
            seen.add(id(config))
            yield model, config


def asked_size(run: Run) -> tuple[int, int] | None:
    """Give the width and height that a run asks for; None where it does not say both."""
    if run.width is None or run.height is None:
        return None
    width, height = run.width.value, run.height.value
    return (width, height) if 0 < width <= LARGEST and 0 < height <= LARGEST else None


def area_ratio(run: Run, cell: int = 1) -> float | None:
    """Give the area that a run asks for over that of its family's native size, sides taken `cell` times."""
    size = asked_size(run)
    if size is None or run.facts is None or run.facts.size is None:
        return None
    return size[0] * size[1] * cell * cell / (run.facts.size[0] * run.facts.size[1])


def is_latent_size(run: Run) -> bool:
    """Say whether the size that is asked for in pixels is a usual one of the family counted in latents."""
    ratio, in_latents = area_ratio(run), area_ratio(run, 8)
    if ratio is None or in_latents is None or run.facts is None:
        return False
    low, high = run.facts.area
    return ratio < low and low <= in_latents <= high


def is_plain(run: Run) -> bool:
    """Say whether a run draws one picture of the asked size from text, not by tiles, by steps or from a picture."""
    special = ("Upscale", "Panorama", "Tiling", "DemoFusion", "ImageVariation")
    is_whole = run.strength is None or run.strength.value == 1  # ComfyUI always says it
    return run.task == "text" and is_whole and not any(word in run.pipeline for word in special)
