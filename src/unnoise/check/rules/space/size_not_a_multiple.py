"""A width or height does not fit the latents: it is silently rounded, or the run raises an error.

Why: a latent cell is 8 pixels wide, and transformers use patches of 2 x 2 cells, 16 pixels. Flux at 1000 x 1000 gives
992 x 992 in diffusers, with a log line. ComfyUI and AUTOMATIC1111 round down to a multiple of 8 without one. Most other
pipelines of diffusers raise an error, after the model has been loaded.
Shown: the side and the multiple.
Instead: write a multiple.
Fix: safe where it is rounded: write the rounded size; unsafe where it raises: write the nearest multiple.
Source: diffusers/pipelines, `check_inputs` of each; comfyanonymous/ComfyUI, nodes.py, EmptyLatentImage;
AUTOMATIC1111/stable-diffusion-webui, modules/processing.py, `opt_f`.
"""

from collections.abc import Iterator, Mapping

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, WARN, Finding, Fix, Rule
from unnoise.check.rules.space._shared import LARGEST
from unnoise.check.subject import GenerationRun, Located, Subject

RULE = Rule(id="UN307", name="size-not-a-multiple", severity=WARN, checks="run")
REFUSED: Mapping[str, int] = {
    "sd1": 8, "sd2": 8, "sdxl": 8, "kolors": 8, "pixart": 8, "hunyuan-dit": 8, "svd": 8, "cogvideox": 8, "mochi": 8,
    "sd3": 16, "auraflow": 16, "lumina2": 16, "cogview4": 16, "wan": 16, "hunyuan-video": 16, "cosmos": 16, "anima": 16,
    "z-image": 16, "sana": 32, "ltx": 32, "ltx2": 32,
}  # fmt: skip
ROUNDED: Mapping[str, int] = {"flux1": 16, "flux2": 16, "chroma": 16, "qwen-image": 16, "hidream": 16}
CUT = ("comfyui", "a1111", "forge")
OWN_CELLS = ("cascade", "ltx", "ltx2", "hunyuan-image")  # whose latent cells in ComfyUI are not 8 pixels


def check(run: GenerationRun) -> Iterator[Finding]:
    multiple, refused = _needs(run)
    for name, side in (("width", run.width), ("height", run.height)):
        if side is None or not multiple or not multiple < side.value <= LARGEST or side.value % multiple == 0:
            continue
        yield _finding(name, side, multiple, refused)


def _needs(run: GenerationRun) -> tuple[int, bool]:
    """Return the multiple that sides must be of, and whether others raise; 0 where it is not known."""
    family = run.model.identity.family if run.model else ""
    if run.tool == "diffusers":
        return REFUSED.get(family) or ROUNDED.get(family, 0), family in REFUSED
    return (8 if run.tool in CUT and family not in OWN_CELLS else 0), False


def _finding(name: str, side: Located[int], multiple: int, refused: bool) -> Finding:
    whole = side.value // multiple * multiple
    if refused and side.value - whole > multiple // 2:
        whole += multiple
    message = f"the {name} is {'not a valid size and raises' if refused else f'silently rounded to {whole}'}"
    suggestion = f"write {whole}"
    fix = Fix.unsafe(side.place, whole) if refused else Fix.safe(side.place, whole)
    measured = f"{side.value}"
    expected = f"a multiple of {multiple}"
    return Finding(RULE, side.place, message, measured, expected, suggestion, ERROR if refused else WARN, fix)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline

        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", width=1000, height=1024, generator=noise).images[0]
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline

        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", width=992, height=1024, generator=noise).images[0]
        """)
