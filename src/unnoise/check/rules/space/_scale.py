"""Follow the scale of latents through the plain lines of a script: how often a tensor was multiplied by it.

Only what is sure is followed: what `vae.encode(...).latent_dist` gives was scaled 0 times, what a scheduler's step or a
pipeline's latents are, once. Whatever is not understood makes a tensor unknown, and of unknown tensors nothing is said.
"""

import ast
from dataclasses import dataclass, field
from typing import Literal

from unnoise.check.read.python.places import Places
from unnoise.check.subject import Place, Subject
from unnoise.families.facts import Facts

SCALES = (0.18215, 0.13025, 1.5305, 0.3611)
SAME = frozenset(
    {"to", "cuda", "cpu", "float", "half", "bfloat16", "double", "detach", "clone", "contiguous", "sample", "mode",
     "mean", "squeeze", "unsqueeze", "repeat", "prev_sample", "images", "latent_dist"}
)  # fmt: skip
DEEPEST = 40
MOST = 200  # events of a script
OTHER_SCALES = ("AutoencoderTiny", "taesd", "TAESD")  # whose latents are those of the denoiser as they are
Kind = Literal["literal", "moved", "unscaled", "scaled", "twice"]
Known = dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Event:
    """Say what a script does to latents.

    "literal": scaled by the number `value`; "moved": scaled, either way; "twice": scaled once more than once;
    "unscaled": noise is added before they are scaled; "scaled": decoded while they are still scaled.
    """

    kind: Kind
    place: Place
    value: float = 0.0


def script_facts(subject: Subject) -> Facts | None:
    """Give what is known of the one space that the models of a script share; None where there are several, or none."""
    known = {(one.facts.scale, one.facts.shift): one.facts for one in subject.models if one.facts}
    return next(iter(known.values())) if len(known) == 1 else None


def followed(subject: Subject) -> list[Event]:
    """Follow the latents of a script."""
    if subject.script is None or len(subject.script.lines) > 20_000:
        return []
    text = "\n".join(subject.script.lines)
    if "vae" not in text or any(name in text for name in OTHER_SCALES):
        return []
    walk = _Walk(Places(subject.path, text))
    walk.block(subject.script.tree.body, {}, 0)
    return walk.events


@dataclass(slots=True)
class _Walk:
    places: Places
    events: list[Event] = field(default_factory=list)

    def tell(self, kind: Kind, node: ast.AST, value: float = 0.0) -> None:
        event = Event(kind, self.places.at(node), value)
        if len(self.events) < MOST and event not in self.events:
            self.events.append(event)

    def block(self, body: list[ast.stmt], known: Known, depth: int) -> None:
        """Follow statements in their order; both ways of a branch, and the body of a loop once."""
        for node in body if depth < DEEPEST else []:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.block(node.body, {}, depth + 1)
            elif isinstance(node, ast.If | ast.Try):
                others = [one.body for one in node.handlers] if isinstance(node, ast.Try) else []
                self._ways([node.body, node.orelse, *others], known, depth)
            elif isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith):
                self.block(node.body, known, depth + 1)
            else:
                self._statement(node, known)

    def _ways(self, bodies: list[list[ast.stmt]], known: Known, depth: int) -> None:
        ends = [dict(known) for _ in bodies]
        for body, end in zip(bodies, ends, strict=True):
            self.block(body, end, depth + 1)
        for name in {name for end in ends for name in end}:
            values = {end.get(name) for end in ends}
            known[name] = values.pop() if len(values) == 1 else None

    def _statement(self, node: ast.stmt, known: Known) -> None:
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
        owner = _last(method.value)
        if method.attr == "decode" and owner == "vae" and self.times(given, known, 0) == 1:
            self.tell("scaled", given)
        if method.attr in ("add_noise", "scale_noise") and "sched" in owner and self.times(given, known, 0) == 0:
            self.tell("unscaled", given)

    def times(self, node: ast.expr, known: Known, depth: int) -> int | None:
        """Say how often a tensor was multiplied by the scale; None where that is not known."""
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
        if any(word.arg == "output_type" and _is(word.value, "latent") for word in node.keywords):
            return 1
        if not isinstance(node.func, ast.Attribute):
            return None
        owner = _last(node.func.value)
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
        self.tell("moved", node)
        if number is not None and isinstance(number.value, float):
            self.tell("literal", number, number.value)
        if not 0 <= times + by <= 1:
            self.tell("twice", node)
            return None
        return times + by


def _scale(node: ast.expr) -> tuple[int, ast.Constant | None]:
    """Say whether an expression is the scale (1) or one over it (-1), and the number that it is written as."""
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
    return (1, None) if _last(node).endswith("scaling_factor") else (0, None)


def _is_shift(node: ast.expr) -> bool:
    return "shift" in _last(node) or (isinstance(node, ast.Constant) and node.value in (0.0609, 0.1159))


def _is(node: ast.expr, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
