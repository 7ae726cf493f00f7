"""The shape of the source: floors, sizes, names, and what must not appear. docs/design.md gives the reasons.

Every rule is a function from a module to its faults, shown to fire on the smallest module that breaks it.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from clock import IN_CHILD

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

FLOORS = {
    "errors": 0,
    "embedded": 0,
    "sampling": 0,
    "formats": 0,
    "families": 0,
    "devices": 1,
    "diffusion": 1,
    "nets": 1,
    "spaces": 2,
    "text": 2,
    "data": 2,
    "card": 2,
    "components": 2,
    "model_file": 2,
    "adapters": 2,
    "progress": 3,
    "integrations": 3,
    "generation": 3,
    "pipeline": 4,
    "loading": 4,
    "estimate": 4,
    "train": 5,
    "distill": 5,
    "tune": 5,
    "check": 5,
    "serve": 5,
    "cli": 6,
    "": 7,  # the package itself: lazy names of everything
    "__main__": 8,
}
# Imports within a floor that are allowed: from a unit to a module, or to a unit. All may import errors.
ARROWS = {
    ("embedded", "errors"),
    ("families", "formats.header"),
    ("families", "formats.json_text"),
    ("nets", "diffusion.conditioning"),
    ("components", "card"),
    ("components", "spaces"),
    ("components", "text"),
    ("model_file", "card"),
    ("model_file", "components"),
    ("model_file", "text"),
    ("adapters", "card"),
    ("adapters", "components"),
    ("loading", "pipeline"),
    ("estimate", "pipeline"),
    ("distill", "train"),  # a distillation is a training: its loop, checkpoints, encoding and folder
    ("cli", ""),  # the names that users have
}
# Packages from outside that a floor may import; a unit's own line comes first.
FLOOR_0 = frozenset({"math", "dataclasses", "typing", "collections"})
STDLIB = frozenset(sys.stdlib_module_names)
FLOOR_2 = STDLIB | {"torch", "numpy", "safetensors", "PIL"}
OUTSIDE = {
    "errors": STDLIB,
    "embedded": STDLIB,
    "sampling": FLOOR_0,
    "formats": STDLIB | {"PIL"},
    "formats.tensors": STDLIB | {"torch"},
    "formats.mmap": STDLIB | {"torch"},
    "formats.gguf_blocks": STDLIB | {"torch"},
    "formats.eight_bit": STDLIB | {"torch"},
    "formats.quantised": STDLIB | {"torch"},
    "formats.unpickle": STDLIB | {"torch"},
    "families": STDLIB | {"PIL"},
    "diffusion": STDLIB | {"torch", "numpy"},
    1: STDLIB | {"torch"},
    2: FLOOR_2,
    "data.arrow_table": FLOOR_2 | {"pyarrow"},
    "progress": STDLIB | {"rich"},
    "integrations": FLOOR_2 | {"diffusers", "transformers"},
    "generation.media.video": FLOOR_2 | {"av"},
    "train.plot": FLOOR_2 | {"matplotlib"},
    3: FLOOR_2,
    4: FLOOR_2,
    5: FLOOR_2,
    6: FLOOR_2 | {"rich", "cyclopts"},
    7: STDLIB,
    8: STDLIB,
}
VERSION = "unnoise.__version__"  # may be imported everywhere: `unnoise/__init__.py` imports nothing of the program
FILE_LINES, FUNCTION_LINES, ARGUMENTS = 350, 50, 8
TYPE_CHECKING_BLOCKS = 12  # in the whole tree; none may hide a circle
BANNED = {
    "scheduler": "sampler, process or schedule",
    "timestep": "time, step or level",
    "timesteps": "grid or schedule",
    "num_inference_steps": "steps",
    "num_images_per_prompt": "n",
    "denoising_strength": "strength",
    "sigmas": "grid",
    "noise_pred": "eps",
    "cfg_scale": "guidance_scale",
    "init_noise_sigma": "nothing: pure noise is N(0, I)",
    "scale_model_input": "nothing: x has unit variance",
    "hint": "control_image",
    "look": "ip_adapter_image",
    "wear": "apply",
    "worn": "active or applied",
    "wardrobe": "active adapters",
    "thrift": "gradient_checkpointing",
    "told": "conditioning",
    "handed": "inputs or conditioning",
}
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_NAMES = {"eval", "exec", "compile", "__import__"}
UNSAFE_NAMES |= {"torch.load", "torch.save", "torch.hub", "torch.package"}
# The one reader of pickles: weights only, run in a process of its own, tests/cli/test_convert.py.
READS_PICKLES = "unnoise.formats.unpickle"
UNSAFE_KEYWORDS = {"allow_pickle", "weights_only", "trust_remote_code"}


@dataclass(frozen=True)
class Module:
    """A parsed source file under its dotted name, without `.__init__`."""

    name: str
    source: str

    @property
    def tree(self) -> ast.Module:
        return parsed(self.source)

    @property
    def unit(self) -> str:
        return unit(self.name)

    @property
    def outside(self) -> frozenset[str]:
        """The packages from outside that it may import."""
        own = (OUTSIDE[prefix] for prefix in prefixes(self.name) if prefix in OUTSIDE)
        return next(own, None) or OUTSIDE[FLOORS[self.unit]]


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def prefixes(name: str) -> list[str]:
    """List a module and the packages that it is in, without `unnoise`, the longest first; the last is empty."""
    parts = name.split(".")[1:]
    return [".".join(parts[:length]) for length in range(len(parts), -1, -1)]


def unit(name: str) -> str:
    """Return the entry of FLOORS that a module belongs to, its longest prefix there."""
    return next(prefix for prefix in prefixes(name) if prefix in FLOORS)


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
    for line, target in imports(module):
        top = target.partition(".")[0]
        if top != "unnoise":
            if top not in module.outside:
                yield f"line {line}: floor {floor} ({module.unit}) may not import {top}"
            continue
        other = "errors" if target == VERSION else unit(target)
        below = FLOORS[other] < floor or other in (module.unit, "errors")
        arrow = FLOORS[other] == floor or other == ""
        if not below and not (arrow and any((module.unit, prefix) in ARROWS for prefix in named(target))):
            yield f"line {line}: floor {floor} ({module.unit}) may not import {target}, floor {FLOORS[other]}"


def named(target: str) -> list[str]:
    """List what an arrow may name: the module or a package that it is in; the package itself only by its own name."""
    return prefixes(target)[:-1] or [""]


def circles(edges: Mapping[str, Collection[str]]) -> list[list[str]]:
    """List the groups of nodes that reach each other, directly or by way of others.

    Source: Tarjan 1972, "Depth-first search and linear graph algorithms", section 4.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        open_.append(node)
        for other in edges.get(node, ()):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in open_:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            at = open_.index(node)
            group = open_[at:]
            del open_[at:]
            if len(group) > 1 or node in edges.get(node, ()):
                found.append(sorted(group))

    for node in edges:
        if node not in order:
            visit(node)
    return found


def type_checking_blocks(module: Module) -> int:
    """Count `if TYPE_CHECKING:`."""
    tests = (node.test for node in ast.walk(module.tree) if isinstance(node, ast.If))
    return sum("TYPE_CHECKING" in ast.unparse(test) for test in tests)


def class_names(module: Module) -> Iterator[str]:
    yield from (node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef))


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
        if length > FUNCTION_LINES:
            yield f"{name}: {length} lines, {FUNCTION_LINES} are allowed"
        count = len(parameters(function))
        if count > ARGUMENTS:
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
    if module.name == "unnoise.integrations.diffusers.scheduler":
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


def arguments_called(tree: ast.AST, names: Collection[str]) -> Iterator[ast.Name]:
    """List every use of an argument that has one of the names: it is not the builtin."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            own = set(parameters(function)) & set(names)
            yield from (node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id in own)


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
    own = set(arguments_called(module.tree, UNSAFE_NAMES))
    for node in ast.walk(module.tree):
        is_read = isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        if is_read and node not in own and dotted(node, known) in UNSAFE_NAMES:
            yield f"line {node.lineno}: uses {dotted(node, known)}"
        if isinstance(node, ast.keyword) and node.arg in UNSAFE_KEYWORDS:
            yield f"line {node.value.lineno}: sets {node.arg}"


RULES = [floors, absolute_imports, sizes, words, safety]


@pytest.mark.parametrize("rule", RULES)
def test_source_keeps_the_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    faults = [f"{module.name}: {fault}" for module in modules() for fault in rule(module)]
    assert not faults, "\n" + "\n".join(faults)


def test_every_floor_and_arrow_is_used() -> None:
    every = list(modules())
    planned = {"serve"}
    assert {module.unit for module in every} == set(FLOORS) - planned
    used = {(one.unit, prefix) for one in every for _, target in imports(one) for prefix in named(target)}
    assert not ARROWS - used


def test_no_files_import_each_other() -> None:
    every = {module.name: module for module in modules()}
    edges = {
        name: {target for _, target in imports(module) if target in every and target != VERSION}
        for name, module in every.items()
    }
    found = circles(edges)
    assert not found, "\n".join(" <-> ".join(group) for group in found)


def test_the_package_itself_imports_nothing_of_the_program() -> None:
    tree = next(module.tree for module in modules() if module.name == "unnoise")
    run = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [ast.unparse(node) for node in run if "unnoise" in ast.unparse(node)]


def test_few_imports_are_for_types_alone() -> None:
    counts = {module.name: type_checking_blocks(module) for module in modules()}
    assert sum(counts.values()) <= TYPE_CHECKING_BLOCKS, [name for name, count in counts.items() if count]


def test_no_two_classes_share_a_name() -> None:
    homes = defaultdict(list)
    for module in modules():
        for name in class_names(module):
            homes[name].append(module.name)
    shared = {name: found for name, found in homes.items() if len(found) > 1}
    assert not shared, "\n".join(f"{name}: {', '.join(found)}" for name, found in sorted(shared.items()))


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b"], "b": ["a"]}, [["a", "b"]]),
        ({"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": []}, [["a", "b", "c"]]),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, []),
        ({"a": ["b"], "b": ["a"], "c": ["d", "a"], "d": ["c"]}, [["a", "b"], ["c", "d"]]),
        ({"a": ["a"]}, [["a"]]),
    ],
)
def test_circles_are_found(edges: dict[str, list[str]], found: list[list[str]]) -> None:
    assert sorted(circles(edges)) == found


def test_imports_in_functions_and_for_types_count() -> None:
    source = (
        "if TYPE_CHECKING:\n    from unnoise.card import Card\n\ndef f():\n    from unnoise.pipeline import Pipeline"
    )
    module = Module("unnoise.text.clip", source)
    assert {target for _, target in imports(module)} == {"unnoise.card", "unnoise.pipeline"}
    assert type_checking_blocks(module) == 1


def test_private_classes_count() -> None:
    module = Module("unnoise.card", "class A: ...\ndef f():\n    class _B: ...")
    assert list(class_names(module)) == ["A", "_B"]


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (floors, "unnoise.sampling.level", "import torch"),
        (floors, "unnoise.sampling.level", "def f():\n    from unnoise.diffusion.denoiser import Denoiser"),
        (floors, "unnoise.sampling.level", "from unnoise.formats import header"),
        (floors, "unnoise.formats.header", "import safetensors"),
        (floors, "unnoise.formats.header", "import torch"),
        (floors, "unnoise.formats.header", "from unnoise.card import Card"),
        (floors, "unnoise.formats.header", "from unnoise.families.detection import detect"),
        (floors, "unnoise.families.lora", "from unnoise.formats.gguf import read"),
        (floors, "unnoise.diffusion.loop", "from unnoise.nets.unet import UNet"),
        (floors, "unnoise.diffusion.loop", "from unnoise.pipeline import Pipeline"),
        (floors, "unnoise.nets.unet", "from unnoise.diffusion.loss import loss"),
        (floors, "unnoise.data.folder", "import rich"),
        (floors, "unnoise.text.clip", "from unnoise.spaces.latent import Latent"),
        (floors, "unnoise.card", "from unnoise.components import Components"),
        (floors, "unnoise.adapters.lora.read", "from unnoise.pipeline import Pipeline"),
        (floors, "unnoise.adapters.lora.read", "from unnoise.model_file import load"),
        (floors, "unnoise.integrations.diffusers.load", "from unnoise.generation.request import Request"),
        (floors, "unnoise.generation.media.audio", "import av"),
        (floors, "unnoise.pipeline", "from unnoise.loading import load"),
        (floors, "unnoise.pipeline", "from unnoise import load"),
        (floors, "unnoise.estimate.memory", "from unnoise.loading import load"),
        (floors, "unnoise.train.loop", "from unnoise.cli.main import main"),
        (floors, "unnoise.train.loop", "from unnoise.tune.grid import fit"),
        (floors, "unnoise.train.loop", "from unnoise import load"),
        (floors, "unnoise.serve.engine", "from unnoise.cli.main import main"),
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
        (words, "unnoise.pipeline", "def f(hint): ..."),
        (words, "unnoise.adapters.wear", ""),
        (words, "unnoise.pipeline", "class WornLora: ..."),
        (safety, "unnoise.pipeline", "import pickle"),
        (safety, "unnoise.pipeline", "from pickle import loads"),
        (safety, "unnoise.pipeline", "import torch\ntorch.load('a')"),
        (safety, "unnoise.pipeline", "from torch import load as read\nread('a')"),
        (safety, "unnoise.pipeline", "import torch as t\nt.hub.load('a')"),
        (safety, "unnoise.pipeline", "eval('1')"),
        (safety, "unnoise.pipeline", "def f(compile):\n    pass\ncompile('1')"),
        (safety, "unnoise.pipeline", "def f(compile):\n    eval('1')"),
        (safety, "unnoise.pipeline", "f(weights_only=False)"),
    ],
)
def test_rule_fires(rule: Callable[[Module], Iterator[str]], name: str, source: str) -> None:
    assert list(rule(Module(name, source)))


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (floors, "unnoise.nets.unet", "from unnoise.diffusion.conditioning import Conditioning"),
        (floors, "unnoise.cli.main", "from unnoise.train.loop import train\nimport cyclopts"),
        (floors, "unnoise.cli.check", "from unnoise import check"),
        (floors, "unnoise.model_file", "from unnoise.components import Components"),
        (floors, "unnoise.loading", "from unnoise.pipeline import Pipeline"),
        (floors, "unnoise.card", "from unnoise import __version__\nfrom unnoise.formats import header"),
        (floors, "unnoise.generation.media.video", "import av"),
        (floors, "unnoise.formats.mmap", "import torch"),
        (floors, "unnoise.__main__", "from unnoise.cli.main import main"),
        (words, "unnoise.pipeline", "def _f(timesteps): ...\nlines = 'scheduler'"),
        (words, "unnoise.pipeline", "def f(guidance_scale, overlook, wearable): ..."),
        (safety, "unnoise.pipeline", "def f(compile):\n    return g(compile)"),
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
        ("unnoise.formats.header", {"torch", "numpy", "pydantic", "safetensors"}),
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
