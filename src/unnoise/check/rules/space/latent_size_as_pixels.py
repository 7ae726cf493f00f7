"""A size is given in latent cells instead of pixels, or a latent has the size of the image in pixels.

Why: one cell of a latent is 8 x 8 pixels. A width of 64 gives an image of 64 pixels with SD 1.5, a latent of 8 x 8,
1/64 of the area of training: the image is a smear of colour. Latents of (1, 4, 512, 512) give an image of 4096 x 4096,
64 times the area, and usually run out of memory.
Shown: the size, and the same size in the other unit.
Instead: give width and height in pixels, and latents an eighth of them.
Fix: unsafe: write the size in pixels.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py, `height = self.unet.config.sample_size *
self.vae_scale_factor` and `prepare_latents`.
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.rules.space._shared import is_latent_size, is_plain, size_of
from unnoise.check.subject import GenerationRun, Location, Script, Subject
from unnoise.check.syntax import name_of, place_of

RULE = Rule(id="UN309", name="latent-size-as-pixels", severity=ERROR, checks="run", with_subject=True)
NOISE = ("randn", "rand", "zeros", "empty", "randn_tensor")


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    size = size_of(run)
    if size is not None and run.width and run.height and is_plain(run) and is_latent_size(run):
        for side in (run.width, run.height):
            right = side.value * 8
            fix = Fix.unsafe(side.place, right)
            yield _finding(side.place, "this side is in latent cells, not in pixels", f"{side.value}", f"{right}", fix)
    if subject.script is not None and "latents" in run.others and run.tool == "diffusers":
        yield from _latents(run, subject.script)


def _latents(run: GenerationRun, script: Script) -> Iterator[Finding]:
    """Find tensors named latents, with the model's channels and the size of an image in pixels."""
    facts = run.facts
    if facts is None or facts.size is None or facts.channels is None or facts.modality != "image":
        return
    for node in ast.walk(script.tree):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if not isinstance(target, ast.Name) or "latent" not in target.id or not isinstance(node, ast.Assign):
            continue
        shape = _shape(node.value)
        if shape is None or shape[1] != facts.channels:
            continue
        high, wide = shape[2:]
        if high * wide * 64 / (facts.size[0] * facts.size[1]) > 16:
            message = "the latents have the size of an image in pixels"
            yield _finding(
                place_of(script, node.value),
                message,
                f"latents of {wide}x{high}",
                f"{facts.size[0] // 8}x{facts.size[1] // 8}",
            )


def _shape(node: ast.expr) -> tuple[int, ...] | None:
    """Return the four sizes of a call such as torch.randn((1, 4, 64, 64))."""
    if not isinstance(node, ast.Call) or not node.args:
        return None
    first = node.args[0]
    parts = first.elts if isinstance(first, ast.Tuple | ast.List) else node.args
    sizes = [one.value for one in parts if isinstance(one, ast.Constant) and type(one.value) is int]
    return tuple(sizes) if name_of(node.func) in NOISE and len(parts) == len(sizes) == 4 else None


def _finding(place: Location, message: str, measured: str, expected: str, fix: Fix | None = None) -> Finding:
    return Finding(
        RULE, place, message=message, measured=measured, expected=expected, suggestion=f"write {expected}", fix=fix
    )


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionPipeline

        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", width=64, height=64, generator=noise).images[0]
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionPipeline

        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", width=512, height=512, generator=noise).images[0]
        """)
