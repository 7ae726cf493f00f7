"""Most of a mask of thin lines or small spots is lost when it is reduced to the size of the latents.

Why: width and height of the mask are divided by 8 with nearest-neighbour sampling, which reads 1 pixel of 64. A line of
1 pixel vanishes in 7 of 8 positions, and nothing is painted there.
Shown: the number of lost squares of 8 x 8 pixels that contain a painted pixel.
Instead: widen the painted part by 8 pixels (`mask.filter(ImageFilter.MaxFilter(17))`).
Fix: show.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_inpaint.py, prepare_mask_latents (interpolate to
height / 8); chandrasekaraditya/ReMOVE#2.
"""

from collections.abc import Iterator

from unnoise.check.examples import mask, script
from unnoise.check.rule import ERROR, WARN, Finding, Fix, Rule
from unnoise.check.rules.editing._shared import with_mask
from unnoise.check.subject import GenerationRun, Mask, Subject

RULE = Rule(id="UN706", name="thin-mask-vanishes", severity=WARN, checks="mask")
LOST = 0.5  # the edge of a large area loses about half of its squares, the whole area far less
INSTEAD = "widen the painted part by 8 pixels, as ImageFilter.MaxFilter(17) does"


def check(run: GenerationRun | None, found: Mask) -> Iterator[Finding]:
    if (run is not None and run.tool != "diffusers") or found.cells < 1 or found.lost <= LOST * found.cells:
        return
    gone = found.lost >= found.cells
    message = "the mask is too thin for the latents: " + ("none of it is left" if gone else "most of it is lost")
    measured = f"{found.lost} of {found.cells} squares of 8 x 8 pixels lost"
    yield Finding(RULE, found.place, message, measured, "0 lost", INSTEAD, ERROR if gone else WARN, Fix.show(INSTEAD))


WIRE = """
    from diffusers import StableDiffusionInpaintPipeline
    from diffusers.utils import load_image
    pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
    photo, mask = load_image("harbour.png"), load_image("wires.png")
    pipe("a clear sky", image=photo, mask_image=mask, padding_mask_crop=32)
"""


def bad() -> Subject:
    return with_mask(script(WIRE), mask(ones=0.004, cells=128, lost=112))


def good() -> Subject:
    return with_mask(script(WIRE), mask(ones=0.06, cells=384, lost=60))
