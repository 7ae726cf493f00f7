"""Count how often a script multiplies latents by their scale.

Latents from `vae.encode(...).latent_dist` were scaled 0 times, those of a scheduler's step or of a pipeline once. The
count of any other tensor is not known, and an unknown tensor makes no event.
"""

import ast
from dataclasses import dataclass, field
from typing import Literal

from unnoise.check.script_walk import ScriptWalk
from unnoise.check.subject import Location, Subject
from unnoise.check.syntax import Places, keyword, name_of
from unnoise.families.facts import Facts

SCALES = (0.18215, 0.13025, 1.5305, 0.3611)
SAME = frozenset(
    {"to", "cuda", "cpu", "float", "half", "bfloat16", "double", "detach", "clone", "contiguous", "sample", "mode",
     "mean", "squeeze", "unsqueeze", "repeat", "prev_sample", "images", "latent_dist"}
)  # fmt: skip
DEEPEST = 40
MOST = 200  # events of a script
OTHER_SCALES = ("AutoencoderTiny", "taesd", "TAESD")  # whose latents need no scale
Kind = Literal["literal", "moved", "unscaled", "scaled", "twice"]
Known = dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Event:
    """Report what a script does to latents.

    Args:
        kind: "literal": scaled by a number; "moved": scaled or unscaled; "twice": scaled a second time; "unscaled":
            noise is added before they are scaled; "scaled": decoded while they are scaled
        place: of the expression
        value: the number, for "literal"
    """

    kind: Kind
    place: Location
    value: float = 0.0


def script_facts(subject: Subject) -> Facts | None:
    """Return the facts of the latent space that all models of a script share; None if there is not exactly one."""
    known = {(one.facts.scale, one.facts.shift): one.facts for one in subject.models if one.facts}
    return next(iter(known.values())) if len(known) == 1 else None


def followed(subject: Subject) -> list[Event]:
    """List what a script does to latents."""
    script = subject.script
    if script is None or not any("vae" in line for line in script.lines):
        return []
    if any(name in line for line in script.lines for name in OTHER_SCALES):
        return []
    latents = _Latents(Places(subject.path, script.lines))
    ScriptWalk(latents.visit).block(script.tree.body, {})
    return latents.events


@dataclass(slots=True)
class _Latents:
    """Count how often each tensor was multiplied by the scale, and collect events."""

    places: Places
    events: list[Event] = field(default_factory=list)

    def add(self, kind: Kind, node: ast.AST, value: float = 0.0) -> None:
        event = Event(kind, self.places.at(node), value)
        if len(self.events) < MOST and event not in self.events:
            self.events.append(event)

    def visit(self, node: ast.AST, known: Known) -> None:
        """Follow one statement."""
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args:
                self._sink(call.func, call.args[0], known)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            known[node.target.id] = self._product(node, node.op, (node.target, node.value), known, 0)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            times = self.times(node.value, known, 0)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        known[name.id] = times if name is target else None

    def _sink(self, method: ast.Attribute, given: ast.expr, known: Known) -> None:
        owner = name_of(method.value)
        if method.attr == "decode" and owner == "vae" and self.times(given, known, 0) == 1:
            self.add("scaled", given)
        if method.attr in ("add_noise", "scale_noise") and "sched" in owner and self.times(given, known, 0) == 0:
            self.add("unscaled", given)

    def times(self, node: ast.expr, known: Known, depth: int) -> int | None:
        """Return how often a tensor was multiplied by the scale; None where that is not known."""
        if depth > DEEPEST:
            return None
        if isinstance(node, ast.Name):
            return known.get(node.id)
        if isinstance(node, ast.BinOp):
            return self._product(node, node.op, (node.left, node.right), known, depth + 1)
        if isinstance(node, ast.Subscript):
            return self.times(node.value, known, depth + 1)
        if isinstance(node, ast.Attribute):
            return self.times(node.value, known, depth + 1) if node.attr in SAME else None
        if isinstance(node, ast.Call):
            return self._call(node, known, depth)
        return None

    def _call(self, node: ast.Call, known: Known, depth: int) -> int | None:
        if _is(keyword(node, "output_type"), "latent"):
            return 1
        if not isinstance(node.func, ast.Attribute):
            return None
        owner = name_of(node.func.value)
        if node.func.attr == "encode" and owner == "vae":
            return 0
        if node.func.attr == "step" and "sched" in owner:
            return 1
        return self.times(node.func.value, known, depth + 1) if node.func.attr in SAME else None

    def _product(
        self, node: ast.AST, how: ast.operator, sides: tuple[ast.expr, ast.expr], known: Known, depth: int
    ) -> int | None:
        left, right = sides
        by, number = _scale(right)
        if isinstance(how, ast.Div):
            return self._moved(self.times(left, known, depth), -by, number, node)
        if isinstance(how, ast.Mult):
            tensor = left if by else right
            by, number = (by, number) if by else _scale(left)
            return self._moved(self.times(tensor, known, depth), by, number, node)
        if isinstance(how, ast.Add | ast.Sub) and _is_shift(right):
            return self.times(left, known, depth)
        return None

    def _moved(self, times: int | None, by: int, number: ast.Constant | None, node: ast.AST) -> int | None:
        if times is None or not by:
            return None
        self.add("moved", node)
        if number is not None and isinstance(number.value, float):
            self.add("literal", number, number.value)
        if not 0 <= times + by <= 1:
            self.add("twice", node)
            return None
        return times + by


def _scale(node: ast.expr) -> tuple[int, ast.Constant | None]:
    """Return 1 for the scale, -1 for its inverse and 0 for other expressions, and the number it is written as."""
    if isinstance(node, ast.Constant):
        return (1, node) if isinstance(node.value, float) and node.value in SCALES else (0, None)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        by, number = _scale(node.right)
        is_one = isinstance(node.left, ast.Constant) and node.left.value == 1
        return (-by, number) if is_one else (0, None)
    if isinstance(node, ast.Call) and _is_name(node.func, "getattr") and len(node.args) > 1:
        return (1, None) if _is(node.args[1], "scaling_factor") else (0, None)
    if isinstance(node, ast.Subscript):
        return (1, None) if _is(node.slice, "scaling_factor") else (0, None)
    return (1, None) if name_of(node).endswith("scaling_factor") else (0, None)


def _is_shift(node: ast.expr) -> bool:
    return "shift" in name_of(node) or (isinstance(node, ast.Constant) and node.value in (0.0609, 0.1159))


def _is(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
