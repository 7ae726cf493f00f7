"""fuse_lora is called on a fused LoRA, or again with a scale after unfuse_lora; each time it has less effect.

Why: unfusing a LoRA leaves its scale on the layers, and the next scale is multiplied by it. Measured with diffusers
0.42.1 and peft 0.21.2: fuse_lora(lora_scale=0.5) and unfuse_lora in a loop add 0.5, 0.25, 0.125 of the LoRA; fused
twice without unfusing, 0.25 of it stays in the weights after unfuse_lora.
Shown: the scale of this call and the resulting one.
Instead: unfuse and unload the LoRA and load it again, or leave it unfused and set its weight with set_adapters.
Fix: none; where to unload the LoRA is your choice.
Source: diffusers/loaders/peft.py, _fuse_lora_apply; peft/tuners/lora/layer.py, scale_layer; measured.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.script_walk import ScriptWalk
from unnoise.check.subject import Location, Script, Subject
from unnoise.check.syntax import constant, dotted, keyword, name_of, place_of

RULE = Rule(id="UN606", name="fused-twice", severity=WARN, checks="script")
AFRESH = {"load_lora_weights", "unload_lora_weights", "set_adapters", "delete_adapters", "from_pretrained"}


@dataclass(frozen=True, slots=True)
class _Fusion:
    """Hold whether the LoRA of a pipeline is fused, and the scale of its layers."""

    fused: bool = False
    scale: float = 1.0


def check(script: Script) -> Iterator[Finding]:
    found: dict[Location, Finding] = {}

    def visit(node: ast.AST, states: dict[str, _Fusion]) -> None:
        for call in ast.walk(node):
            owner = (
                dotted(call.func.value) if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else ""
            )
            if not owner or not isinstance(call, ast.Call):
                continue
            method, before = name_of(call.func), states.get(owner, _Fusion())
            if method == "fuse_lora":
                scale = _scale(call, script)
                if scale is not None and (before.scale != 1.0 or (before.fused and scale != 1.0)):
                    finding = _finding(place_of(script, call), scale, before)
                    found.setdefault(finding.place, finding)
                states[owner] = _Fusion(True, before.scale * (1.0 if scale is None else scale))
            elif method == "unfuse_lora" and owner in states:
                states[owner] = replace(before, fused=False)
            elif method in AFRESH:
                states.pop(owner, None)

    ScriptWalk(visit, passes=2).block(script.tree.body, {})
    yield from found.values()


def _scale(call: ast.Call, script: Script) -> float | None:
    """Return the scale of a call; None where it is not a constant."""
    given = keyword(call, "lora_scale")
    value = 1.0 if given is None else constant(given, script)
    return float(value) if type(value) in (int, float) and abs(value) < 1e6 else None


def _finding(place: Location, scale: float, before: _Fusion) -> Finding:
    return Finding(
        RULE,
        place,
        message="fuse_lora is called while the LoRA is already fused"
        if before.fused
        else "fuse_lora is called while the layers keep the scale of an earlier call",
        measured=f"a scale of {scale * before.scale:g}",
        expected=f"{scale:g}",
        suggestion="unload and reload the LoRA before, or set its weight with set_adapters and do not fuse",
    )


def bad() -> Subject:
    return script(
        """
        import torch
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe.load_lora_weights("style.safetensors")
        for seed in range(4):
            pipe.fuse_lora(lora_scale=0.5)
            noise = torch.Generator("cpu").manual_seed(seed)
            image = pipe("a lighthouse", num_inference_steps=30, generator=noise).images[0]
            pipe.unfuse_lora()
        """
    )


def good() -> Subject:
    return script(
        """
        import torch
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe.load_lora_weights("style.safetensors")
        pipe.fuse_lora(lora_scale=0.5)
        for seed in range(4):
            noise = torch.Generator("cpu").manual_seed(seed)
            image = pipe("a lighthouse", num_inference_steps=30, generator=noise).images[0]
        """
    )
