"""The shape of the source: floors, sizes, names, and what must not appear. docs/design.md gives the reasons.

Every rule is a function from a module to its faults, shown to fire on the smallest module that breaks it.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clock import IN_CHILD

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

FLOORS = {
    "errors": 0,
    "sampling": 0,
    "files.header": 0,
    "files.gguf": 0,
    "files.peek": 0,
    "files.families": 0,
    "diffusion": 1,
    "nets": 1,
    "spaces": 2,
    "text": 2,
    "files.foreign": 2,
    "files.film": 2,
    "files": 2,
    "data": 2,
    "given": 2,
    "sample": 2,
    "render": 2,
    "pipeline": 2,
    "train": 3,
    "distill": 3,
    "lora": 2,
    "tune": 3,
    "check": 3,
    "interop": 3,
    "serve": 4,
    "cli": 4,
    "": 5,  # the package itself: lazy names of everything
    "__main__": 6,
}
# Imports between siblings that are meant; within floor 2 all are: a pipeline joins files, spaces and text.
SIDEWAYS = {
    ("files.families", "unnoise.files.header"): "the shape of a header",
    ("files.gguf", "unnoise.files.header"): "the shape of a header",
    ("files.peek", "unnoise.files.header"): "the shape of a header",
    ("nets", "unnoise.diffusion.model"): "Cond, the type in which a net is told what to draw",
    ("cli", "unnoise"): "the names that users have, and the version",
}
# Modules from outside that a floor, or one unit of it, may import; None = all of the standard library.
FLOOR_0 = frozenset({"math", "dataclasses", "typing", "collections"})
STDLIB = frozenset(sys.stdlib_module_names)
FLOOR_2 = STDLIB | {"torch", "numpy", "safetensors", "PIL"}
OUTSIDE = {
    "errors": STDLIB,
    "sampling": FLOOR_0,
    "files.header": STDLIB | {"PIL"},
    "files.gguf": STDLIB,
    "files.peek": STDLIB,
    "files.families": STDLIB | {"PIL"},
    "diffusion": STDLIB | {"torch", "numpy"},
    "nets": STDLIB | {"torch"},
    "files.foreign": FLOOR_2 | {"diffusers", "transformers"},
    "interop": FLOOR_2 | {"diffusers"},
    "files.film": FLOOR_2 | {"av"},
    2: FLOOR_2,
    3: FLOOR_2 | {"rich"},
    4: FLOOR_2 | {"rich", "cyclopts"},
    5: STDLIB,
    6: STDLIB,
}
VERSION = "unnoise.__version__"  # all that anyone may ask of the package itself
FILE_LINES, FUNCTION_LINES, ARGUMENTS = 350, 50, 8
MANY_ARGUMENTS = {"unnoise.pipeline.Pipeline.generate"}  # one call takes everything that a person can ask for
BANNED = {
    "scheduler": "sampler, process or grid",
    "timestep": "time, step or level",
    "timesteps": "grid",
    "num_inference_steps": "steps",
    "sigmas": "grid",
    "noise_pred": "eps",
    "cfg_scale": "weight",
    "guidance_scale": "weight",
    "init_noise_sigma": "nothing: pure noise is N(0, I)",
    "scale_model_input": "nothing: x has unit variance",
}
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_NAMES = {"eval", "exec", "compile", "__import__"}
UNSAFE_NAMES |= {"torch.load", "torch.save", "torch.hub", "torch.package"}
# The one reader of pickles: weights only, run in a process of its own, tests/cli/test_convert.py.
READS_PICKLES = "unnoise.files.unpickle"
UNSAFE_KEYWORDS = {"allow_pickle", "weights_only", "trust_remote_code"}


@dataclass(frozen=True)
class Module:
    """A parsed source file under its dotted name, without `.__init__`."""

    name: str
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def unit(self) -> str:
        return unit(self.name)


def unit(name: str) -> str:
    """Give the entry of FLOORS that a module belongs to, its longest prefix there."""
    parts = name.split(".")[1:]
    prefixes = [".".join(parts[:length]) for length in range(len(parts), -1, -1)]
    return next(prefix for prefix in prefixes if prefix in FLOORS)


def modules() -> Iterator[Module]:
    for path in sorted((SRC / "unnoise").rglob("*.py")):
        name = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        yield Module(name, path.read_text())


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """List line and target of every import, also of those inside functions."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                path = SRC / full.replace(".", "/")
                is_module = path.with_suffix(".py").exists() or path.is_dir()
                yield node.lineno, full if is_module or full == VERSION else str(node.module)


def floors(module: Module) -> Iterator[str]:
    floor = FLOORS[module.unit]
    if module.unit == "" and module.name != "unnoise":
        yield f"{module.name} stands on no floor: add it to FLOORS and to docs/design.md"
    outside = OUTSIDE.get(module.unit) or OUTSIDE[floor]
    for line, target in imports(module):
        top = target.partition(".")[0]
        if top != "unnoise":
            if top not in outside:
                yield f"line {line}: floor {floor} ({module.unit}) may not import {top}"
            continue
        other = "errors" if target == VERSION else unit(target)
        below = FLOORS[other] < floor or other in (module.unit, "errors") or floor == FLOORS[other] == 2
        if not below and (module.unit, target) not in SIDEWAYS:
            yield f"line {line}: floor {floor} ({module.unit}) may not import {target}, floor {FLOORS[other]}"


def absolute_imports(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"line {node.lineno}: a relative import"


def definitions(module: Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """List every function with its dotted name."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            name = f"{prefix}.{child.name}" if hasattr(child, "name") and child.name else prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, child
            yield from walk(child, name)

    return walk(module.tree, module.name)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [rest for rest in (arguments.vararg, arguments.kwarg) if rest is not None]
    return [argument.arg for argument in named if argument.arg not in ("self", "cls")]


def sizes(module: Module) -> Iterator[str]:
    lines = module.source.count("\n")
    if lines > FILE_LINES:
        yield f"{lines} lines, {FILE_LINES} are allowed"
    for name, function in definitions(module):
        length = (function.end_lineno or 0) - function.lineno + 1
        if length > FUNCTION_LINES and name not in MANY_ARGUMENTS:
            yield f"{name}: {length} lines, {FUNCTION_LINES} are allowed"
        count = len(parameters(function))
        if count > ARGUMENTS and name not in MANY_ARGUMENTS:
            yield f"{name}: {count} arguments, {ARGUMENTS} are allowed"


def public_names(module: Module) -> Iterator[str]:
    """List what others can write: modules, classes, functions, their arguments, fields and constants."""
    yield from module.name.split(".")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield from parameters(node)
        if isinstance(node, ast.ClassDef | ast.Module):
            for child in node.body:
                targets = child.targets if isinstance(child, ast.Assign) else [getattr(child, "target", None)]
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def words(module: Module) -> Iterator[str]:
    if module.name == "unnoise.interop":
        return  # it answers to the names of another library
    for name in public_names(module):
        if name.startswith("_"):
            continue
        spelled = "_".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)).lower()
        for word, instead in BANNED.items():
            if re.search(rf"(?:^|_){word}(?:_|$)", spelled):
                yield f"{name}: {word!r} is not a word of this project, say {instead}"


def dotted(node: ast.AST, known: dict[str, str]) -> str:
    """Spell `a.b.c` with the import behind `a`; empty for anything that is not such a chain."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value, known)):
        return f"{owner}.{node.attr}"
    return ""


def safety(module: Module) -> Iterator[str]:
    known: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                if alias.asname or prefix:
                    known[alias.asname or alias.name] = prefix + alias.name
                if {alias.name.partition(".")[0], prefix.partition(".")[0]} & UNSAFE_MODULES:
                    yield f"line {node.lineno}: imports {prefix}{alias.name}"
    if module.name == READS_PICKLES:
        return
    for node in ast.walk(module.tree):
        is_read = isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        if is_read and dotted(node, known) in UNSAFE_NAMES:
            yield f"line {node.lineno}: uses {dotted(node, known)}"
        if isinstance(node, ast.keyword) and node.arg in UNSAFE_KEYWORDS:
            yield f"line {node.value.lineno}: sets {node.arg}"


RULES = [floors, absolute_imports, sizes, words, safety]


@pytest.mark.parametrize("rule", RULES)
def test_source_keeps_the_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    faults = [f"{module.name}: {fault}" for module in modules() for fault in rule(module)]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (floors, "unnoise.sampling.level", "import torch"),
        (floors, "unnoise.sampling.level", "def f():\n    from unnoise.diffusion.model import Model"),
        (floors, "unnoise.sampling.level", "from unnoise.files import header"),
        (floors, "unnoise.files.header", "import safetensors"),
        (floors, "unnoise.files.header", "from unnoise.files.card import Card"),
        (floors, "unnoise.diffusion.run", "from unnoise.nets.unet import UNet"),
        (floors, "unnoise.diffusion.run", "from unnoise.pipeline import Pipeline"),
        (floors, "unnoise.nets.unet", "from unnoise.diffusion.loss import loss"),
        (floors, "unnoise.data.folder", "import rich"),
        (floors, "unnoise.train.loop", "from unnoise.cli.main import main"),
        (floors, "unnoise.train.loop", "from unnoise.tune.grid import fit"),
        (floors, "unnoise.serve.engine", "from unnoise.cli.main import main"),
        (floors, "unnoise.pipeline", "from unnoise import load"),
        (floors, "unnoise.helpers", ""),
        (floors, "unnoise", "import torch"),
        (absolute_imports, "unnoise.pipeline", "from .sampling import State"),
        (sizes, "unnoise.pipeline", "\n" * 351),
        (sizes, "unnoise.pipeline", "def f():" + "\n    pass" * 50),
        (sizes, "unnoise.pipeline", "class C:\n    def f(self, a, b, c, d, e, f, g, *h, i): ..."),
        (words, "unnoise.sampling.scheduler", ""),
        (words, "unnoise.pipeline", "class NoiseScheduler: ..."),
        (words, "unnoise.pipeline", "def f(timesteps): ..."),
        (words, "unnoise.pipeline", "class C:\n    init_noise_sigma: float = 1.0"),
        (safety, "unnoise.pipeline", "import pickle"),
        (safety, "unnoise.pipeline", "from pickle import loads"),
        (safety, "unnoise.pipeline", "import torch\ntorch.load('a')"),
        (safety, "unnoise.pipeline", "from torch import load as read\nread('a')"),
        (safety, "unnoise.pipeline", "import torch as t\nt.hub.load('a')"),
        (safety, "unnoise.pipeline", "eval('1')"),
        (safety, "unnoise.pipeline", "f(weights_only=False)"),
    ],
)
def test_rule_fires(rule: Callable[[Module], Iterator[str]], name: str, source: str) -> None:
    assert list(rule(Module(name, source)))


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (floors, "unnoise.nets.unet", "from unnoise.diffusion.model import Cond"),
        (floors, "unnoise.cli.main", "from unnoise.train.loop import train\nimport cyclopts"),
        (floors, "unnoise.files.model_file", "from unnoise.pipeline import Pipeline"),
        (floors, "unnoise.files.card", "from unnoise import __version__\nfrom unnoise.files import header"),
        (floors, "unnoise.__main__", "from unnoise.cli.main import main"),
        (sizes, "unnoise.pipeline", "class Pipeline:\n    def generate(self, a, b, c, d, e, f, g, h, i): 0"),
        (words, "unnoise.pipeline", "def _f(timesteps): ...\nlines = 'scheduler'"),
        (safety, "unnoise.pipeline", "import re, torch\nre.compile('a')\nnet.eval()\ntorch.compile(net)"),
    ],
)
def test_rule_is_silent(rule: Callable[[Module], Iterator[str]], name: str, source: str) -> None:
    assert not list(rule(Module(name, source)))


def fresh(code: str) -> str:
    """Run code in a new interpreter and give what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "heavy"),
    [
        ("unnoise", {"torch", "numpy", "PIL", "pydantic", "safetensors", "rich"}),
        ("unnoise.sampling", {"torch", "numpy", "PIL", "pydantic", "safetensors", "rich"}),
        ("unnoise.files.header", {"torch", "numpy", "pydantic", "safetensors"}),
        ("unnoise.cli.main", {"torch", "numpy", "PIL"}),
        ("unnoise.cli.check", {"torch", "numpy", "PIL", "pydantic", "safetensors", "rich", "diffusers"}),
    ],
)
def test_import_is_light(name: str, heavy: set[str]) -> None:
    assert not heavy & set(fresh(f"import sys, {name}; print(*sys.modules)").split())


def test_rules_are_light() -> None:
    code = "import sys; from unnoise.check.catalogue import rules; rules(); print(*sys.modules)"
    assert not {"torch", "numpy", "PIL", "safetensors", "diffusers"} & set(fresh(code).split())


def test_import_takes_under_100_ms_of_the_cpu() -> None:
    code = IN_CHILD.format(work="import unnoise")
    assert min(float(fresh(code)) for _ in range(5)) < 6  # million turns of an empty loop, about 100 ms


PLACES = re.compile(r"(?<![\w.~])/(?:home|root|Users|work|mnt|tmp|private)/|\b[A-Z]:\\Users")
TEXTS = ["*.md", "*.toml", "*.txt", "Makefile", ".ci/run", "src/**/*.py", "tests/**/*.py", "docs/**/*.md"]
TEXTS += ["recipes/**/*", "scripts/**/*.py", "examples/**/*"]


def test_no_path_of_one_machine() -> None:
    files = {path for pattern in TEXTS for path in ROOT.glob(pattern) if path.is_file()}
    assert {ROOT / "README.md", ROOT / "Makefile"} <= files
    faults = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted(files)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PLACES.search(line)
    ]
    assert not faults, "\n".join(faults)
