"""Count how often a script multiplies latents by their scale, and whether it centres them by the shift.

Latents from `vae.encode(...).latent_dist` were scaled 0 times, those of a scheduler's step or of a pipeline once. The
count of any other tensor is not known, and an unknown tensor makes no event. The result of a function of the script is
that of its returns, where all agree.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from unnoise.check.rules.space._factors import Scale, is_shift, is_text, named_scales, written
from unnoise.check.script_results import agreed, return_owners
from unnoise.check.script_walk import ScriptWalk
from unnoise.check.subject import Location, Script, Subject
from unnoise.check.syntax import Places, dotted, keyword, name_of, nodes
from unnoise.families.facts import Facts

SAME = frozenset(
    {"to", "cuda", "cpu", "float", "half", "bfloat16", "double", "detach", "clone", "contiguous", "sample", "mode",
     "mean", "squeeze", "unsqueeze", "repeat", "prev_sample", "images", "latent_dist"}
)  # fmt: skip
# Functions that return their first argument in another form.   Source: diffusers, pipeline_flux.py and
# pipeline_stable_diffusion_img2img.py
PASSED = frozenset({"retrieve_latents", "_pack_latents", "_unpack_latents", "pack_latents", "unpack_latents"})
OPERATORS: Mapping[str, type[ast.operator]] = {
    "mul": ast.Mult, "multiply": ast.Mult, "div": ast.Div, "divide": ast.Div, "true_divide": ast.Div,
    "add": ast.Add, "sub": ast.Sub, "subtract": ast.Sub,
}  # fmt: skip
DENOISERS = ("unet", "transformer")
DEEPEST = 40
MOST = 200  # events of a script
OTHER_SCALES = ("AutoencoderTiny", "taesd", "TAESD")  # whose latents need no scale
Kind = Literal["literal", "uncentred", "unscaled", "denoised", "scaled", "twice"]


@dataclass(frozen=True, slots=True)
class LatentState:
    """Describe a tensor of latents.

    Args:
        times: how often it was multiplied by the scale, 0 or 1
        centred: the shift was subtracted
    """

    times: int
    centred: bool


RAW, READY = LatentState(0, False), LatentState(1, True)  # as the autoencoder encodes, and as the denoiser was trained
Known = dict[str, LatentState | None]


@dataclass(frozen=True, slots=True)
class Event:
    """Report what a script does to latents.

    Args:
        kind: "literal": scaled by a number; "uncentred": scaled without the shift, or decoded without it; "twice":
            scaled a second time; "unscaled": noise is added before they are scaled; "denoised": the denoiser runs on
            them before they are scaled; "scaled": decoded while they are scaled
        place: of the expression
        value: the number, for "literal", and the one of the scale for "uncentred", 0 where it is not written
    """

    kind: Kind
    place: Location
    value: float = 0.0


def script_facts(subject: Subject) -> Facts | None:
    """Return the facts of the latent space that all models of a script share; None if there is not exactly one."""
    known = {(one.facts.scale, one.facts.shift): one.facts for one in subject.models if one.facts}
    return next(iter(known.values())) if len(known) == 1 else None


def followed(subject: Subject) -> tuple[Event, ...]:
    """List what a script does to latents."""
    return _events(subject.script) if subject.script is not None else ()


@lru_cache(maxsize=1)
def _events(script: Script) -> tuple[Event, ...]:
    if not any("vae" in line for line in script.lines):
        return ()
    if any(name in line for line in script.lines for name in OTHER_SCALES):
        return ()
    places, controls = Places(script.path, script.lines), _controls(script.tree)
    first = _Follower(places, named_scales(script.tree), controls, return_owners(script.tree))
    ScriptWalk(first.visit).block(script.tree.body, {})
    latents = _Follower(places, first.scales, controls, {}, agreed(first.ends))
    ScriptWalk(latents.visit, passes=2).block(script.tree.body, {})
    return tuple(latents.events)


def _controls(tree: ast.Module) -> frozenset[str]:
    """Return the names of control images that a ControlNet takes as latents; those of SD3 have no shift.

    Source: diffusers, examples/controlnet/train_controlnet_sd3.py, controlnet_image
    """
    calls = (node for node in nodes(tree) if isinstance(node, ast.Call))
    given = (keyword(node, "controlnet_cond") for node in calls)
    return frozenset(name for node in given if node is not None and (name := dotted(node)))


def _target(node: ast.Assign | ast.AugAssign) -> ast.expr:
    return node.target if isinstance(node, ast.AugAssign) else node.targets[0]


@dataclass(slots=True)
class _Follower:
    """Count how often each tensor was multiplied by the scale, and collect events.

    Args:
        places: of the script
        scales: names of a scale
        controls: names of latents of a control image
        owners: the function of each `return`
        results: of functions
        events: found so far
        ends: what each function returned
    """

    places: Places
    scales: Mapping[str, Scale]
    controls: frozenset[str]
    owners: Mapping[ast.AST, str]
    results: Mapping[str, LatentState] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    ends: dict[str, list[LatentState | None]] = field(default_factory=dict)

    def add(self, kind: Kind, node: ast.AST, value: float = 0.0) -> None:
        event = Event(kind, self.places.at(node), value)
        if len(self.events) < MOST and event not in self.events:
            self.events.append(event)

    def visit(self, node: ast.AST, known: Known) -> None:
        """Follow one statement."""
        if isinstance(node, ast.Assign | ast.AugAssign) and dotted(_target(node)) in self.controls:
            known[dotted(_target(node))] = None
            return
        changed: list[ast.Call] = []
        for call in ast.walk(node):
            if isinstance(call, ast.BinOp):
                self.state(call, known, 0)  # events, wherever the result goes
            if isinstance(call, ast.Call):
                self._sink(call, known)
                if isinstance(call.func, ast.Attribute) and _is_in_place(call.func.attr):
                    changed.append(call)
                if isinstance(call.func, ast.Attribute) and dotted(call.func).count(".") == 1:
                    self._forget(dotted(call.func.value), known)
        if isinstance(node, ast.AugAssign) and dotted(node.target):
            known[dotted(node.target)] = self._product(node, node.op, (node.target, node.value), known, 0)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            state = self.state(node.value, known, 0)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self._bind(target, state, known)
        elif isinstance(node, ast.Return) and self.owners.get(node):
            state = self.state(node.value, known, 0) if node.value is not None else None
            self.ends.setdefault(self.owners[node], []).append(state)
        elif isinstance(node, ast.Expr):
            self._in_place(node.value, changed, known)
            return
        self._in_place(getattr(node, "value", None), changed, known)

    @staticmethod
    def _forget(owner: str, known: Known) -> None:
        """Forget the attributes of an object of the script, which any of its methods may change."""
        if owner == "self":
            for name in [name for name in known if name.startswith("self.")]:
                del known[name]

    @staticmethod
    def _bind(target: ast.expr, state: LatentState | None, known: Known) -> None:
        for name in ast.walk(target):
            if isinstance(name, ast.Name | ast.Attribute) and isinstance(name.ctx, ast.Store) and dotted(name):
                known[dotted(name)] = state if name is target else None

    def _in_place(self, value: ast.AST | None, calls: list[ast.Call], known: Known) -> None:
        """Follow calls such as `x.mul_(...)`, which change x; only the outermost has a known result."""
        for call in calls:
            name = dotted(call.func.value) if isinstance(call.func, ast.Attribute) else ""
            if name in known:
                known[name] = self.state(call, known, 0) if call is value else None

    def _sink(self, call: ast.Call, known: Known) -> None:
        given = call.args[0] if call.args else None
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        owner = _owner(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        is_decode = method == "decode" and owner == "vae"
        is_noise = method in ("add_noise", "scale_noise") and "sched" in owner
        if given is None or not (is_decode or is_noise or name_of(call.func) in DENOISERS):
            return
        state = self.state(given, known, 0)
        if state is None:
            return
        if is_decode and state.times == 1:
            self.add("scaled", given)
        elif is_decode and state.centred:
            self.add("uncentred", given)
        elif not is_decode and state.times == 0:
            self.add("unscaled" if is_noise else "denoised", given)

    def state(self, node: ast.expr, known: Known, depth: int) -> LatentState | None:
        """Return the state of a tensor; None where it is not known."""
        if depth > DEEPEST:
            return None
        if isinstance(node, ast.Name | ast.Attribute) and dotted(node) in known:
            return known[dotted(node)]
        if isinstance(node, ast.BinOp):
            return self._product(node, node.op, (node.left, node.right), known, depth + 1)
        if isinstance(node, ast.Subscript):
            return self.state(node.value, known, depth + 1)
        if isinstance(node, ast.Attribute):
            return self.state(node.value, known, depth + 1) if node.attr in SAME else None
        return self._call(node, known, depth) if isinstance(node, ast.Call) else None

    def _call(self, node: ast.Call, known: Known, depth: int) -> LatentState | None:
        if is_text(keyword(node, "output_type"), "latent"):
            return READY
        name = name_of(node.func)
        if name in PASSED and node.args:
            return self.state(node.args[0], known, depth + 1)
        owner = _owner(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name in self.results and owner in ("", "self"):
            return self.results[name]
        if not isinstance(node.func, ast.Attribute):
            return None
        if name == "encode" and owner == "vae":
            return RAW
        if name == "step" and "sched" in owner:
            return READY
        operator = OPERATORS.get(name.removesuffix("_"))
        if operator is not None:
            sides = (*node.args[:2],) if owner == "torch" else (node.func.value, *node.args[:1])
            fits = len(sides) == 2 and len(node.args) + (owner != "torch") == 2 and not node.keywords
            return self._product(node, operator(), sides, known, depth + 1) if fits else None
        return self.state(node.func.value, known, depth + 1) if name in SAME else None

    def _product(
        self, node: ast.AST, how: ast.operator, sides: tuple[ast.expr, ...], known: Known, depth: int
    ) -> LatentState | None:
        left, right = sides
        scale = self._scale(right)
        if isinstance(how, ast.Div):
            return self._moved(self.state(left, known, depth), scale, -scale.power, node)
        if isinstance(how, ast.Mult):
            tensor = left if scale.power else right
            scale = scale if scale.power else self._scale(left)
            return self._moved(self.state(tensor, known, depth), scale, scale.power, node)
        if isinstance(how, ast.Add | ast.Sub) and is_shift(right):
            state = self.state(left, known, depth)
            return LatentState(state.times, isinstance(how, ast.Sub)) if state is not None else None
        return None

    def _moved(self, state: LatentState | None, scale: Scale, power: int, node: ast.AST) -> LatentState | None:
        if state is None or not power:
            return None
        if scale.node is not None:
            self.add("literal", scale.node, scale.value)
        if not 0 <= state.times + power <= 1:
            self.add("twice", node)
            return None
        if power == 1 and not state.centred:
            self.add("uncentred", node, scale.value)
        return LatentState(state.times + power, state.centred)

    def _scale(self, node: ast.expr) -> Scale:
        """Return the power of the scale that an expression is; 0 for other expressions."""
        named = self.scales.get(dotted(node))
        if named is not None:
            return Scale(1, node if named.node is not None else None, named.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            scale = self._scale(node.right)
            is_one = isinstance(node.left, ast.Constant) and node.left.value == 1
            return Scale(-scale.power, scale.node, scale.value) if is_one else Scale(0)
        return written(node)


def _owner(node: ast.expr) -> str:
    """Return the last name of the object of a method, without the wrappers of parallel training."""
    if isinstance(node, ast.Call) and name_of(node.func) in ("unwrap_model", "unwrap") and node.args:
        node = node.args[0]
    if isinstance(node, ast.Attribute) and node.attr == "module":
        node = node.value
    return name_of(node)


def _is_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")
