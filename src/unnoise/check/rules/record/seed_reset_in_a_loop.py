"""A loop sets the same seed before every image and changes nothing else, so that all images are equal.

Why: a generator gives the same noise for the same seed. With the same prompt and settings, 4 passes of such a loop draw
1 image 4 times. In a loop over prompts or settings the same seed is right: it makes the images comparable.
Shown: the seed, and the number of equal images.
Instead: a seed for each pass, `manual_seed(seed + k)`, or one generator made before the loop.
Fix: none; the seeds are your choice.
Source: PyTorch, torch.Generator.manual_seed; diffusers, docs, "Reproducible pipelines".
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import constant, keyword, last_name, name_of, nodes, place_of

RULE = Rule(id="UN914", name="seed-reset-in-a-loop", severity=WARN, checks="script")
SEEDS = ("manual_seed", "seed_everything", "set_seed", "manual_seed_all")
PIPE = "pipe"  # in the name of a pipeline
NOISE = "generator"
KEEPS = ("save", "append", "imwrite", "imsave", "save_image", "extend")  # calls that keep an image
TIMES = ("time", "bench", "warm", "profil", "perf_counter")  # words of loops where equal runs are meant


def check(script: Script) -> Iterator[Finding]:
    uses = any("diffusers" in line for line in script.lines)
    for loop in nodes(script.tree) if uses else ():
        if not isinstance(loop, ast.For) or any(isinstance(node, ast.For | ast.While) for node in _within(loop)):
            continue
        drawn, seeds = _pipeline_calls(loop), _seeds(loop, script)
        if len(drawn) != 1 or not seeds or not _keeps(loop) or _is_timed(loop, script):
            continue
        if not _varies(loop, drawn[0]):
            seed, value = seeds[0]
            message = "every pass of this loop draws the same image: the seed is set anew, and nothing else changes"
            shown = f"seed {value}, {_passes(loop)} equal images"
            yield Finding(RULE, place_of(script, seed), message, shown, "a seed for each", "add the number of the pass")


def _within(loop: ast.For) -> Iterator[ast.AST]:
    for statement in loop.body:
        yield from ast.walk(statement)


def _calls(loop: ast.For) -> list[ast.Call]:
    return [node for node in _within(loop) if isinstance(node, ast.Call)]


def _pipeline_calls(loop: ast.For) -> list[ast.Call]:
    """List the calls of a pipeline itself, which is known by its name."""
    return [call for call in _calls(loop) if PIPE in name_of(call.func).lower() and (call.args or call.keywords)]


def _seeds(loop: ast.For, script: Script) -> list[tuple[ast.expr, int]]:
    """List the seeds that a loop sets to a constant; none where it sets another one too."""
    stored, found = _stored(loop), []
    for call in _calls(loop):
        if last_name(call.func) in SEEDS:
            given = call.args[0] if call.args else keyword(call, "seed")
            value = constant(given, script)
            if given is None or type(value) is not int or _names(given) & stored:
                return []
            found.append((given, value))
    return found


def _stored(loop: ast.For) -> set[str]:
    """List the names that a loop assigns, or whose attributes or elements it does, its own variables included."""
    nodes = (*ast.walk(loop.target), *_within(loop))
    targets = (node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store))
    return {name for target in targets for name in _names(target)}


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _varies(loop: ast.For, drawn: ast.Call) -> bool:
    """Return whether anything but the noise may differ between the passes of a loop."""
    stored, noise, pipe = _stored(loop), keyword(drawn, NOISE), _names(drawn.func)
    given = [argument for argument in (*drawn.args, *(one.value for one in drawn.keywords)) if argument is not noise]
    if pipe & stored or any(one.arg is None for one in drawn.keywords):
        return True
    if any(_names(one) & stored or any(isinstance(node, ast.Call) for node in ast.walk(one)) for one in given):
        return True
    others = (call for call in _calls(loop) if call is not drawn and isinstance(call.func, ast.Attribute))
    return any(pipe & _names(call.func) and not _inside(call, drawn) for call in others) or _passed(loop, drawn, pipe)


def _passed(loop: ast.For, drawn: ast.Call, pipe: set[str]) -> bool:
    """Return whether a loop passes the pipeline to a function, which may change it."""
    given = (argument for call in _calls(loop) if call is not drawn for argument in call.args)
    return any(isinstance(argument, ast.Name) and argument.id in pipe for argument in given)


def _inside(call: ast.Call, drawn: ast.Call) -> bool:
    """Return whether a call is a method of what the pipeline returns, such as pipe(...).images[0].save(...)."""
    return any(node is drawn for node in ast.walk(call.func))


def _keeps(loop: ast.For) -> bool:
    return any(last_name(call.func) in KEEPS for call in _calls(loop))


def _is_timed(loop: ast.For, script: Script) -> bool:
    end = loop.end_lineno or loop.lineno
    return any(word in line.lower() for line in script.lines[max(0, loop.lineno - 2) : end] for word in TIMES)


def _passes(loop: ast.For) -> str:
    """Return the number of passes of a loop in words."""
    over = loop.iter
    if isinstance(over, ast.Call) and last_name(over.func) == "range" and len(over.args) == 1:
        return str(over.args[0].value) if isinstance(over.args[0], ast.Constant) else "all"
    return str(len(over.elts)) if isinstance(over, ast.List | ast.Tuple) else "all"


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        for number in range(4):
            seeded = torch.Generator("cpu").manual_seed(7)
            pipe("a lighthouse at dawn", num_inference_steps=30, generator=seeded).images[0].save(f"{number}.png")
    """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        for number in range(4):
            seeded = torch.Generator("cpu").manual_seed(7 + number)
            pipe("a lighthouse at dawn", num_inference_steps=30, generator=seeded).images[0].save(f"{number}.png")
    """)
