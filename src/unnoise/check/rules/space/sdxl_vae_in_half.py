"""The original SDXL autoencoder decodes in float16 and overflows to NaN: the image is black.

Why: activations of the original VAE exceed 65504, the largest float16. diffusers' pipelines therefore run it in float32
if its settings have `force_upcast`. They do not if it is false, or if code calls `vae.decode` itself on a float16
pipeline, or on an AutoencoderKL that it loaded alone in float16. NaN is then saved as 0, which is black, with only a
NumPy warning.
Shown: the precision, and the setting or call that causes it.
Instead: decode in float32 (`pipe.vae.to(torch.float32)` and the latents too), or load madebyollin/sdxl-vae-fp16-fix.
Fix: show: the line to write.
Source: huggingface/diffusers#4325, invoke-ai/InvokeAI#4083; madebyollin/sdxl-vae-fp16-fix, model card;
diffusers/pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl.py, `needs_upcasting`.
"""

import ast
from collections.abc import Iterator, Sequence

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.rules.space._shared import autoencoders
from unnoise.check.subject import GenerationRun, Location, Script, Subject
from unnoise.check.syntax import calls, constant, dotted, keyword, name_of, nodes, place_of

RULE = Rule(id="UN304", name="sdxl-vae-in-half", severity=ERROR)
ORIGINAL = ("stabilityai/sdxl-vae", "stabilityai/stable-diffusion-xl-base-1.0")
MENDED = ("upcast", "float32", ".float()", "bfloat16", "fp16-fix", "fp16_fix")  # any of these counts as a correction
HALVES, LOADED = ("float16", "half"), "AutoencoderKL"
FAMILY, OTHERS = "sdxl", ("playground-2.5", "ssd-1b", "vega", "koala")


def check(subject: Subject) -> Iterator[Finding]:
    for model, config in autoencoders(subject):
        upcast, origin = config.get("force_upcast"), config.get("_name_or_path")
        if model.identity.family != FAMILY or upcast is None or origin is None:
            continue
        if upcast.value is False and origin.value in ORIGINAL:
            yield _finding(upcast.place, "force_upcast false", "force_upcast true")
    if subject.script is None or any(word in line for line in subject.script.lines for word in MENDED):
        return
    half = next((run.dtype.value for run in subject.runs if run.dtype and _is_half(run)), None)
    place = _decode(subject.script) if half is not None else _decode_alone(subject.script)
    if place is not None:
        yield _finding(place, half or "float16", "float32")


def _is_half(run: GenerationRun) -> bool:
    known = run.model.identity if run.model else None
    if known is None or known.family != FAMILY or known.variant in OTHERS or run.vae is not None:
        return False
    return run.dtype is not None and run.dtype.value in ("float16", "fp16", "half")


def _decode(script: Script) -> Location | None:
    """Find a call of `decode` on the VAE of a pipeline."""
    for node, name in calls(script):
        owner = node.func.value if name == "decode" and isinstance(node.func, ast.Attribute) else None
        if isinstance(owner, ast.Attribute) and owner.attr == "vae":
            return place_of(script, node)
    return None


def _decode_alone(script: Script) -> Location | None:
    """Find a call of `decode` or `encode` on an autoencoder of SDXL that was loaded without a pipeline, in float16."""
    if not any(LOADED in line for line in script.lines):
        return None
    assigned = [node for node in nodes(script.tree) if isinstance(node, ast.Assign) and len(node.targets) == 1]
    kinds = _float16_names(assigned)
    halves = {dotted(node.func).rpartition(".")[0] for node, _ in calls(script) if _halves(node, kinds)}
    for node in assigned:
        owner, chain = dotted(node.targets[0]), list(_chain(node.value))
        is_half = owner in halves or any(_halves(call, kinds) for call in chain)
        if owner and is_half and any(_loads(call, script) for call in chain):
            return _run_on(script, owner, node.lineno)
    return None


def _float16_names(assigned: Sequence[ast.Assign]) -> set[str]:
    """List the names that are only ever assigned torch.float16."""
    values: dict[str, set[str]] = {}
    for node in assigned:
        values.setdefault(name_of(node.targets[0]), set()).add(name_of(node.value))
    return {name for name, found in values.items() if found <= {*HALVES}} | {*HALVES}


def _chain(node: ast.expr) -> Iterator[ast.Call]:
    """List the calls of `a(...).b(...).c(...)`, from the last."""
    while isinstance(node, ast.Call):
        yield node
        node = node.func.value if isinstance(node.func, ast.Attribute) else node.func


def _loads(call: ast.Call, script: Script) -> bool:
    """Return whether a call loads the original autoencoder of SDXL."""
    owner = dotted(call.func).split(".")
    source = constant(call.args[0] if call.args else None, script)
    folder = constant(keyword(call, "subfolder"), script)
    is_original = source in ORIGINAL[:1] or (source in ORIGINAL and folder == "vae")
    return owner[-2:] == [LOADED, "from_pretrained"] and is_original


def _halves(call: ast.Call, kinds: set[str]) -> bool:
    """Return whether a call makes what it loads, or what it is a method of, float16."""
    name = name_of(call.func)
    given = [keyword(call, "torch_dtype"), keyword(call, "dtype"), *(call.args if name == "to" else ())]
    is_float16 = any(one is not None and name_of(one) in kinds for one in given)
    return name == "half" or (name in ("to", "from_pretrained") and is_float16)


def _run_on(script: Script, owner: str, line: int) -> Location | None:
    found = (node for node, name in calls(script) if name in ("decode", "encode") and node.lineno > line)
    return next((place_of(script, node) for node in found if dotted(node.func).rpartition(".")[0] == owner), None)


def _finding(place: Location, measured: str, expected: str) -> Finding:
    message = "the original SDXL autoencoder overflows to NaN in half precision, and the image is black"
    suggestion = "decode in float32, or load madebyollin/sdxl-vae-fp16-fix as the VAE"
    fix = Fix.show("pipe.vae.to(torch.float32) before, and latents.float() in the call")
    return Finding(RULE, place, message, measured, expected, suggestion, fix=fix)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionXLPipeline

        model = "stabilityai/stable-diffusion-xl-base-1.0"
        pipe = StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=torch.float16)
        noise = torch.Generator("cpu").manual_seed(1)
        latents = pipe("a lighthouse", generator=noise, output_type="latent").images
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionXLPipeline

        model = "stabilityai/stable-diffusion-xl-base-1.0"
        pipe = StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=torch.float16)
        noise = torch.Generator("cpu").manual_seed(1)
        latents = pipe("a lighthouse", generator=noise, output_type="latent").images
        pipe.vae.to(torch.float32)
        image = pipe.vae.decode(latents.float() / pipe.vae.config.scaling_factor).sample
        """)
