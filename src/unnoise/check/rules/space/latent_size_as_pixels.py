"""A size is given in latent cells instead of pixels, or a latent has the size of the image in pixels.

Why: one cell of a latent is 8 x 8 pixels. A width of 64 gives an image of 64 pixels with SD 1.5, a latent of 8 x 8,
1/64 of the area of training: the image is a smear of colour. Latents of (1, 4, 512, 512) give an image of 4096 x 4096,
64 times the area, and usually run out of memory.
Shown: the size, and the same size in the other unit.
Instead: give width and height in pixels, and latents an eighth of them.
Fix: unsafe: write the size in pixels.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py, `height = self.unet.config.sample_size *
self.vae_scale_factor` and `prepare_latents`. It is a note in a script or a workflow that only tries whether its code
works.
"""

import ast
from collections.abc import Iterator
from dataclasses import replace

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, NOTE, Finding, Fix, Rule
from unnoise.check.rules.space._shared import is_latent_size, is_plain, size_of
from unnoise.check.script_numbers import ScriptNumbers, script_numbers
from unnoise.check.subject import GenerationRun, Location, Script, Subject
from unnoise.check.syntax import name_of, nodes, place_of
from unnoise.families.facts import Facts

RULE = Rule(id="UN309", name="latent-size-as-pixels", severity=ERROR)
NOISE = ("randn", "rand", "zeros", "empty", "ones", "randn_tensor")
CHANNELS = ("in_channels", "latent_channels", "num_channels_latents", "num_channels_latent", "z_dim")
LATENT = {4, 8, 16, 32, 48}  # channels of the latents of known families
MOST = 16  # times the native area; published examples of the largest images have 4.2 times
SQUARE = (1024, 1024)  # the native size of the largest usual models, for a model that is not known


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        yield from _size(run)
    if subject.script is not None and subject.tool == "diffusers":
        yield from _latents(subject, subject.script)


def _size(run: GenerationRun) -> Iterator[Finding]:
    if size_of(run) is not None and run.width and run.height and is_plain(run) and is_latent_size(run):
        for side in (run.width, run.height):
            right = side.value * 8
            fix = Fix.unsafe(side.place, right)
            found = _finding(
                side.place, "this side is in latent cells, not in pixels", f"{side.value}", f"{right}", fix
            )
            yield replace(found, severity=NOTE) if run.trial else found


def _latents(subject: Subject, script: Script) -> Iterator[Finding]:
    """Find tensors of latents, with the model's channels and the size of an image in pixels."""
    known = {model.facts.size: model.facts for model in subject.models if model.facts and model.facts.size}
    facts = next(iter(known.values())) if len(known) == 1 else None
    native = max((size[0] * size[1] for size in known if size), default=SQUARE[0] * SQUARE[1])
    numbers = script_numbers(script)
    listed = set()
    for node in _made(script, numbers):
        sides = _sides(node, numbers, facts)
        if sides is None or node in listed or sides[0] * sides[1] * 64 < MOST * native:
            continue
        listed.add(node)
        high, wide = sides
        message = "the latents have the size of an image in pixels"
        yield _finding(place_of(script, node), message, f"latents of {wide}x{high}", f"{wide // 8}x{high // 8}")


def _made(script: Script, numbers: ScriptNumbers) -> Iterator[ast.Call]:
    """List the calls whose result is named latents or is passed as latents."""
    for node in nodes(script.tree):
        value: ast.expr | None = None
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and "latent" in name_of(node.targets[0]).lower():
            value = node.value
        elif isinstance(node, ast.keyword) and node.arg == "latents":
            value = numbers.bound(node.value)
        while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr not in NOISE:
            value = value.func.value  # such as .to("cuda")
        if isinstance(value, ast.Call) and name_of(value.func) in NOISE:
            yield value


def _sides(node: ast.Call, numbers: ScriptNumbers, facts: Facts | None) -> tuple[int, int] | None:
    """Return height and width of a call such as torch.randn((1, 4, 64, 64)), if its channels are those of latents."""
    first = numbers.bound(node.args[0]) if node.args else None
    parts = first.elts if isinstance(first, ast.Tuple | ast.List) else node.args
    if len(parts) not in (4, 5):
        return None
    channels = numbers.number(parts[1])
    named = name_of(parts[1]) in CHANNELS or name_of(numbers.bound(parts[1])) in CHANNELS
    right = {facts.channels} if facts is not None and facts.channels else LATENT
    high, wide = numbers.number(parts[-2]), numbers.number(parts[-1])
    if high is None or wide is None or not (named or channels in right):
        return None
    return (int(high), int(wide)) if 0 < high < 1 << 16 and 0 < wide < 1 << 16 else None


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
