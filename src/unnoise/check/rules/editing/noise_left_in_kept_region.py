"""The legacy inpainting pipeline leaves the kept part one step noisier than the rest.

Why: after each step from time t to the next it restores the kept part with the noise of t. With 20 steps of the usual
schedule the kept part has noise of 0.22 instead of 0.04 in the last network call, so the painted part adapts to noise,
and edges become visible.
Shown: the class.
Instead: StableDiffusionInpaintPipeline, which restores it at the next level.
Fix: none; the two need different models.
Source: huggingface/diffusers#2147; diffusers/pipelines/deprecated/stable_diffusion_variants/
pipeline_stable_diffusion_inpaint_legacy.py (add_noise with t after step).
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import name_of, nodes, place_of

RULE = Rule(id="UN712", name="noise-left-in-kept-region", severity=WARN, checks="script")
LEGACY = ("StableDiffusionInpaintPipelineLegacy", "OnnxStableDiffusionInpaintPipelineLegacy")


def check(script: Script) -> Iterator[Finding]:
    if not any(name in line for line in script.lines for name in LEGACY):
        return
    for node in nodes(script.tree):
        made = _made(node)
        if made is not None and name_of(made) in LEGACY:
            message = "this pipeline leaves the kept part noisier than the painted part"
            suggestion = "use StableDiffusionInpaintPipeline with an inpainting model"
            yield Finding(RULE, place_of(script, made), message, "the previous level", "the current level", suggestion)


def _made(node: ast.AST) -> ast.expr | None:
    """Return the class that a call makes an object of; its name in `isinstance` or in a table makes none."""
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Attribute) and node.func.attr.startswith("from_"):
        return node.func.value
    return node.func


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionInpaintPipelineLegacy
        from diffusers.utils import load_image
        pipe = StableDiffusionInpaintPipelineLegacy.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        photo, mask = load_image("harbour.png"), load_image("sky.png")
        pipe("a stormy sky", image=photo, mask_image=mask, strength=0.75, num_inference_steps=20)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionInpaintPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
        photo, mask = load_image("harbour.png"), load_image("sky.png")
        pipe("a stormy sky", image=photo, mask_image=mask, strength=0.75, padding_mask_crop=32, num_inference_steps=20)
    """)
