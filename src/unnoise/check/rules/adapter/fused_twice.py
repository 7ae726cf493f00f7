"""fuse_lora again on what is fused already, or with a scale once more after unfuse_lora: each time with less effect.

Why: a scale stays on the layers when a LoRA is unfused, and the next one is multiplied onto it. Measured with
diffusers 0.42.1 and peft 0.21.2: fuse_lora(lora_scale=0.5) and unfuse_lora in a loop add 0.5, 0.25, 0.125 of the LoRA;
fused twice without unfusing, 0.25 of it stays in the weights after unfuse_lora.
Shown: the scale of this call, and what it comes to after those before it.
Instead: unfuse and unload the LoRA and load it again, or leave it unfused and set its weight with set_adapters.
Fix: none; where the LoRA should be taken out is the author's choice.
Source: diffusers/loaders/peft.py, _fuse_lora_apply; peft/tuners/lora/layer.py, scale_layer; measured.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import Place, Subject

RULE = Rule(id="UN606", name="fused-twice", severity=WARN)
AFRESH = {"load_lora_weights", "unload_lora_weights", "set_adapters", "delete_adapters", "from_pretrained"}
BLOCKS = ("body", "orelse", "finalbody")
TWICE = (ast.For, ast.AsyncFor, ast.While)


@dataclass(slots=True)
class _State:
    """Follow one pipeline: whether its LoRA is in the weights, and the scale that is on its layers."""

    fused: bool = False
    scale: float = 1.0


@dataclass(slots=True)
class _Walk:
    subject: Subject
    found: dict[tuple[int, int], Finding] = field(default_factory=dict)
    steps: int = 0

    def block(self, body: Sequence[ast.stmt], states: dict[str, _State]) -> None:
        """Follow statements in order; what is in a loop twice, what is in a branch apart from the other branches."""
        for statement in body:
            self.steps += 1
            if self.steps > 20_000:
                return
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.block(statement.body, {})
                continue
            inner = [getattr(statement, name) for name in BLOCKS if getattr(statement, name, None)]
            if not inner:
                self.calls(statement, states)
            elif isinstance(statement, TWICE):
                for _ in range(2):
                    self.block(statement.body, states)
            elif isinstance(statement, ast.If):
                self.branches(inner, states)
            else:
                for branch in inner:
                    self.block(branch, states)

    def branches(self, branches: Sequence[Sequence[ast.stmt]], states: dict[str, _State]) -> None:
        """Follow each branch apart; what any of them changes is not known afterwards."""
        before = {name: replace(state) for name, state in states.items()}
        for branch in branches:
            after = {name: replace(state) for name, state in before.items()}
            self.block(branch, after)
            for name in before.keys() | after.keys():
                if after.get(name) != before.get(name):
                    states.pop(name, None)

    def calls(self, statement: ast.stmt, states: dict[str, _State]) -> None:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner, method = _owner(node.func.value), node.func.attr
                if not owner:
                    continue
                if method == "fuse_lora":
                    self.fuse(node, states.setdefault(owner, _State()))
                elif method == "unfuse_lora" and owner in states:
                    states[owner].fused = False
                elif method in AFRESH:
                    states.pop(owner, None)

    def fuse(self, call: ast.Call, state: _State) -> None:
        given = next((keyword.value for keyword in call.keywords if keyword.arg == "lora_scale"), None)
        scale = _number(given, self.subject) if given is not None else 1.0
        before = state.scale
        if (state.fused or before != 1.0) and scale is not None and (before != 1.0 or scale != 1.0):
            self.found.setdefault((call.lineno, call.col_offset), self.finding(call, scale, before, state.fused))
        state.fused, state.scale = True, before * (1.0 if scale is None else scale)

    def finding(self, call: ast.Call, scale: float, before: float, fused: bool) -> Finding:
        end = call.end_lineno, call.end_col_offset
        return Finding(
            RULE,
            Place(self.subject.path, line=call.lineno, column=call.col_offset, end_line=end[0], end_column=end[1]),
            says="fuse_lora while the LoRA is already in the weights"
            if fused
            else "fuse_lora with the scale of an earlier call still on the layers",
            measured=f"a scale of {scale * before:g}",
            expected=f"{scale:g}",
            instead="unload the LoRA and load it again before, or set its weight with set_adapters and do not fuse",
        )


def check(subject: Subject) -> Iterator[Finding]:
    """Find calls of fuse_lora that meet the leavings of an earlier one."""
    if subject.script is not None:
        walk = _Walk(subject)
        walk.block(subject.script.tree.body, {})
        yield from walk.found.values()


def _owner(node: ast.expr) -> str:
    """Spell what a method is called on, a name or names with dots; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < 8:
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _number(node: ast.expr, subject: Subject) -> float | None:
    value: Any = node.value if isinstance(node, ast.Constant) else None
    if isinstance(node, ast.Name) and subject.script is not None:
        value = subject.script.constants.get(node.id)
    return float(value) if type(value) in (int, float) and abs(value) < 1e6 else None


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
