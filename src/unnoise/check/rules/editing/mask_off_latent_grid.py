"""A script combines latents with a mask that has the size of the picture, not of the latents.

Why: one cell of a latent is 8 x 8 pixels, so a mask of 512 x 512 has 64 times as many values as latents of 64 x 64.
torch refuses to multiply the two, unless one is cut or repeated; then the mask paints in another place, and noise is
left in the kept part.
Shown: the size of the mask and that of the latents.
Instead: `mask = F.interpolate(mask, size=latents.shape[-2:])` before the two meet.
Fix: none; the line may belong elsewhere.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_inpaint.py, prepare_mask_latents;
huggingface/diffusers#2067, #2147.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.script_numbers import ScriptNumbers, script_numbers
from unnoise.check.script_results import agreed, return_owners
from unnoise.check.script_walk import ScriptWalk
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import dotted, keyword, name_of, place_of

RULE = Rule(id="UN715", name="mask-off-latent-grid", severity=WARN, checks="script")
LEAST = 256  # pixels of a side: latents of this size make an image of 2048 pixels
DEEPEST = 30
LOADED = {"load_image", "imread"}
SHAPED = {"zeros", "ones", "full", "rand"}
# What changes the type of an image or the number of its axes, but not its sides.   Source: torch, numpy, Pillow
KEPT_METHODS = {
    "convert", "to", "cuda", "cpu", "half", "float", "bool", "int", "double", "unsqueeze", "squeeze", "numpy", "astype",
    "clone", "contiguous", "detach", "copy", "filter", "point", "type", "round", "clamp", "permute", "div", "div_",
    "ge", "gt", "lt", "le",
}  # fmt: skip
KEPT_FUNCTIONS = {
    "array", "asarray", "from_numpy", "tensor", "as_tensor", "to_tensor", "pil_to_tensor", "invert", "expand_dims",
    "float32", "ToTensor", "cvtColor",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GridState:
    """Describe a tensor: latents, or an image with its sides in pixels where they are known."""

    grid: Literal["latents", "pixels"]
    sides: tuple[int, int] | None = None


LATENTS = GridState("latents")
States = dict[str, GridState | None]


def check(script: Script) -> Iterator[Finding]:
    if not any("mask" in line for line in script.lines) or not any("latent" in line for line in script.lines):
        return
    numbers = script_numbers(script)
    first = _Grids(numbers, return_owners(script.tree))
    ScriptWalk(first.visit).block(script.tree.body, {})
    grids = _Grids(numbers, {}, agreed(first.ends))
    ScriptWalk(grids.visit).block(script.tree.body, {})
    for node, mask in grids.found.items():
        wide, high = mask.sides or (0, 0)
        measured = f"a mask of {wide}x{high}" if mask.sides else "a mask of the size of its picture"
        expected = f"{wide // 8}x{high // 8}" if mask.sides else "an eighth of each side"
        message = "a mask of the size of the picture is combined with latents"
        suggestion = "resize the mask to latents.shape[-2:] first"
        yield Finding(RULE, place_of(script, node), message, measured, expected, suggestion)


@dataclass(slots=True)
class _Grids:
    """Follow which tensors are latents and which have the size of a picture.

    Args:
        numbers: of the script
        owners: the function of each `return`
        results: of functions
        ends: what each function returned
        found: the masks that are combined with latents
    """

    numbers: ScriptNumbers
    owners: Mapping[ast.AST, str]
    results: Mapping[str, GridState] = field(default_factory=dict)
    ends: dict[str, list[GridState | None]] = field(default_factory=dict)
    found: dict[ast.AST, GridState] = field(default_factory=dict)

    def visit(self, node: ast.AST, known: States) -> None:
        """Follow one statement."""
        for part in ast.walk(node):
            self._meeting(part, known)
        if isinstance(node, ast.Return) and self.owners.get(node):
            state = self.state(node.value, known, 0) if node.value is not None else None
            self.ends.setdefault(self.owners[node], []).append(state)
        elif isinstance(node, ast.AugAssign) and dotted(node.target):
            known[dotted(node.target)] = self._product(node.target, node.value, known, 0)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            state = self.state(node.value, known, 0)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name | ast.Attribute) and isinstance(name.ctx, ast.Store):
                        known[dotted(name)] = state if name is target else None

    def _meeting(self, node: ast.AST, known: States) -> None:
        """Record a mask of pixels that one expression combines with latents."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            parts = [node.left, node.right]
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Mult):
            parts = [node.target, node.value]
        elif isinstance(node, ast.Call) and name_of(node.func) == "where":
            parts = node.args
        elif isinstance(node, ast.Call) and name_of(node.func) in ("cat", "concat") and node.args:
            parts = list(node.args[0].elts) if isinstance(node.args[0], ast.List | ast.Tuple) else []
        else:
            return
        states = [self.state(part, known, 0) for part in parts]
        masks = [
            state
            for part, state in zip(parts, states, strict=True)
            if state is not None and state.grid == "pixels" and "mask" in ast.unparse(part).lower()
        ]
        if masks and LATENTS in states:
            self.found.setdefault(node, masks[0])

    def state(self, node: ast.expr, known: States, depth: int) -> GridState | None:
        """Return the state of an expression; None where it is not known."""
        if depth > DEEPEST:
            return None
        if isinstance(node, ast.Name | ast.Attribute) and dotted(node) in known:
            return known[dotted(node)]
        if isinstance(node, ast.Attribute) and node.attr == "prev_sample":
            return self.state(node.value, known, depth + 1)
        if isinstance(node, ast.Subscript):
            state = self.state(node.value, known, depth + 1)
            return state if state == LATENTS or _keeps_sides(node.slice) else None
        if isinstance(node, ast.Compare):
            return self.state(node.left, known, depth + 1)
        if isinstance(node, ast.BinOp):
            return self._product(node.left, node.right, known, depth + 1)
        return self._call(node, known, depth) if isinstance(node, ast.Call) else None

    def _product(self, left: ast.expr, right: ast.expr, known: States, depth: int) -> GridState | None:
        """Return the state of a sum or product: latents stay latents, an image stays one beside a number."""
        states = [self.state(side, known, depth) for side in (left, right) if self.numbers.number(side) is None]
        if LATENTS in states:
            return LATENTS
        return states[0] if states and all(state == states[0] for state in states) else None

    def _call(self, node: ast.Call, known: States, depth: int) -> GridState | None:
        name = name_of(node.func)
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name in self.results and (owner is None or name_of(owner) == "self"):
            return self.results[name]
        if name in LOADED or (name == "open" and owner is not None and name_of(owner) == "Image"):
            return GridState("pixels")
        if name == "new" and owner is not None and name_of(owner) == "Image" and len(node.args) > 1:
            return self._pixels(node.args[1])
        if name in SHAPED and node.args:
            return self._of_shape(node)
        if name == "resize":
            return self._pixels(node.args[-1]) if node.args else None
        if name == "interpolate":
            size = keyword(node, "size")
            return self._pixels(size) if size is not None else None
        return self._of_model(node, known, depth)

    def _of_model(self, node: ast.Call, known: States, depth: int) -> GridState | None:
        """Follow what makes latents, and what keeps the sides of a tensor."""
        func = node.func
        owner = name_of(func.value) if isinstance(func, ast.Attribute) else ""
        if isinstance(func, ast.Attribute) and func.attr in ("sample", "mode") and "latent_dist" in ast.unparse(func):
            return LATENTS
        if isinstance(func, ast.Attribute) and func.attr in ("add_noise", "scale_noise", "step") and "sched" in owner:
            return LATENTS
        if isinstance(func, ast.Attribute) and func.attr in KEPT_METHODS:
            return self.state(func.value, known, depth + 1)
        given = node.args[0] if node.args else None
        if given is not None and (name_of(func) in KEPT_FUNCTIONS or _is_made(func)):
            return self.state(given, known, depth + 1)
        return None

    def _of_shape(self, node: ast.Call) -> GridState | None:
        shape = self.numbers.bound(node.args[0])
        parts = shape.elts if isinstance(shape, ast.Tuple | ast.List) else node.args
        return self._sides(parts[-1], parts[-2]) if len(parts) > 1 else None

    def _pixels(self, size: ast.expr) -> GridState | None:
        """Return the state of an image of a size, a pair or one number; None for a size that latents may have."""
        size = self.numbers.bound(size)
        if isinstance(size, ast.Tuple | ast.List) and len(size.elts) == 2:
            return self._sides(size.elts[0], size.elts[1])
        return self._sides(size, size)

    def _sides(self, wide: ast.expr, high: ast.expr) -> GridState | None:
        sides = self.numbers.number(wide), self.numbers.number(high)
        if sides[0] is None or sides[1] is None or not LEAST <= min(sides[0], sides[1]) < 1 << 16:
            return None
        return GridState("pixels", (int(sides[0]), int(sides[1])))


def _keeps_sides(index: ast.expr) -> bool:
    """Return whether an index keeps every axis or adds one, as `:` and None do."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return all(
        part.lower is part.upper is part.step is None
        if isinstance(part, ast.Slice)
        else isinstance(part, ast.Constant) and (part.value is None or part.value is Ellipsis)
        for part in parts
    )


def _is_made(func: ast.expr) -> bool:
    """Return whether a function is a transform that its call creates, such as `ToTensor()(image)`."""
    return isinstance(func, ast.Call) and name_of(func.func) in KEPT_FUNCTIONS


BLEND = """
    import torch
    import torch.nn.functional as F
    from diffusers import AutoencoderKL
    from diffusers.utils import load_image
    from torchvision.transforms.functional import to_tensor

    vae = AutoencoderKL.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5", subfolder="vae")
    latents = torch.load("latents.pt", weights_only=True)
    mask = to_tensor(load_image("mask.png").convert("L").resize((512, 512)))[None]
    kept = vae.encode(torch.load("photo.pt")).latent_dist.sample() * vae.config.scaling_factor
    {}
    latents = kept * (1 - mask) + latents * mask
"""


def bad() -> Subject:
    return script(BLEND.format(""))


def good() -> Subject:
    return script(BLEND.format("mask = F.interpolate(mask, size=(64, 64))"))
