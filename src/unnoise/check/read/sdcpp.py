"""Read a command line of stable-diffusion.cpp.

Source: leejet/stable-diffusion.cpp, examples/common/common.cpp, SDContextParams and SDGenerationParams::get_options.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from unnoise.check.coerce import number, text, whole
from unnoise.check.read.infotext import tagged_loras
from unnoise.check.subject import GenerationRun, Located, Location, NamedModel, Use
from unnoise.families.names import by_checkpoint, by_name

PROGRAMS = ("sd", "sd.exe", "sd-cli", "sd-cli.exe")  # "sd" in versions before 2026
SHORT = {
    "m": "model", "p": "prompt", "n": "negative_prompt", "H": "height", "W": "width", "b": "batch_count", "s": "seed",
    "i": "init_img", "M": "mode", "r": "ref_image",
}  # fmt: skip
DRAWING = ("img_gen", "vid_gen", "txt2img", "img2img", "img2vid", "edit")  # modes; others draw nothing


def is_program(word: str) -> bool:
    """Return whether a word of a command is the program, with or without folders."""
    return PurePosixPath(word.replace("\\", "/")).name in PROGRAMS


def run_of(options: Mapping[str, Located[Any]], place: Location) -> GenerationRun | None:
    """Describe a run.

    Args:
        options: of the command, by name
        place: of the program

    Returns:
        None where the command draws nothing, or is another program's
    """
    settings = {SHORT.get(name, name): value for name, value in options.items()}
    mode = settings.get("mode")
    named = text(settings.get("diffusion_model")) or text(settings.get("model"))
    prompt = _joined(settings.get("prompt"))
    if named is None or prompt is None or (mode is not None and mode.value not in DRAWING):
        return None
    model = NamedModel(named.value, named.place, by_checkpoint(named.value))
    vae, image, mask = (text(settings.get(name)) for name in ("vae", "init_img", "mask"))
    seed, skip = whole(settings.get("seed")), whole(settings.get("clip_skip"))
    found = {"image": image} if image else {}
    return GenerationRun(
        place=place,
        tool="sdcpp",
        task="inpaint" if mask else "edit" if "ref_image" in settings else "image" if image else "text",
        model=model,
        vae=NamedModel(vae.value, vae.place, by_name(vae.value)) if vae else None,
        adapters=(*tagged_loras(prompt, model), *_controlnets(settings, model)),
        sampler=text(settings.get("sampling_method")),
        grid=text(settings.get("scheduler") or settings.get("schedule")),
        steps=whole(settings.get("steps")),
        guidance=number(settings.get("cfg_scale")),
        embedded=number(settings.get("guidance")),
        prompt=prompt,
        negative=_joined(settings.get("negative_prompt")),
        width=whole(settings.get("width")),
        height=whole(settings.get("height")),
        frames=whole(settings.get("video_frames")),
        batch=whole(settings.get("batch_count")),
        strength=number(settings.get("strength")) if image else None,
        shift=number(settings.get("flow_shift")),
        seed=seed if seed and seed.value >= 0 else None,
        clip_skip=skip if skip and skip.value > 0 else None,
        others={**settings, **found},
    )


def _joined(setting: Located[Any] | None) -> Located[str] | None:
    """Return a prompt; several words without quotes are one text."""
    if setting is None or setting.value is True:
        return None
    value = setting.value
    return Located(" ".join(map(str, value)) if isinstance(value, list) else str(value), setting.place)


def _controlnets(settings: Mapping[str, Located[Any]], base: NamedModel) -> Iterator[Use]:
    named = text(settings.get("control_net"))
    if named is not None:
        strength = number(settings.get("control_strength"))
        adapter = NamedModel(named.value, named.place, by_name(named.value))
        yield Use(named.place, adapter, base, strength, kind="controlnet")
