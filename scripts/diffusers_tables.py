"""Write what `unnoise check` knows of the classes of the installed diffusers: `python scripts/diffusers_tables.py`.

Schedulers are asked for their signatures. Pipelines are read as text, because most of them cannot be imported without
packages that nothing here needs. tests/check/test_tables.py fails where the tables differ from the installed diffusers.
"""

import ast
import inspect
import math
import re
from pathlib import Path
from textwrap import wrap
from typing import Any

import diffusers

TABLES = Path(__file__).parents[1] / "src/unnoise/check/tables"
RESULTS = {"self", "return_dict", "model_output", "timestep", "sample", "kwargs"}
CALL = ("num_inference_steps", "guidance_scale", "true_cfg_scale", "height", "width", "num_frames", "strength")
CLASS = re.compile(r"^class (\w+Pipeline)\(([^)]*)\):", re.MULTILINE)
SIGNATURE = re.compile(r"^    def __call__\((.*?)\n?    \)[^\n]*:\n", re.MULTILINE | re.DOTALL)
NOTHING = inspect.Parameter.empty


def schedulers() -> dict[str, type]:
    """Give every scheduler class that diffusers exports and that can be imported."""
    names = [name for name in dir(diffusers) if name.endswith("Scheduler") and not name.startswith("Flax")]
    classes = {name: getattr(diffusers, name) for name in names}
    return {
        name: found
        for name, found in classes.items()
        if "dummy" not in found.__module__ and hasattr(found, "load_config")
    }


def constructors() -> dict[str, dict[str, Any]]:
    """Give the parameters of every scheduler class, with their defaults; a required one has None."""
    return {name: _defaults(found.__init__) for name, found in schedulers().items()}


def _defaults(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        given.name: None if given.default is NOTHING else given.default
        for given in parameters
        if given.name != "self" and given.kind not in kinds
    }


def methods(name: str) -> dict[str, tuple[str, ...]]:
    """Give what a method of every scheduler class takes, without what every one of them takes."""
    found = {}
    for class_, type_ in schedulers().items():
        function = getattr(type_, name, None)
        if function is not None:
            found[class_] = tuple(key for key in inspect.signature(function).parameters if key not in RESULTS)
    return found


def pipelines() -> dict[str, dict[str, Any]]:
    """Give the defaults of every pipeline's call, and its task, from the text of the package."""
    bases: dict[str, list[str]] = {}
    calls: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(diffusers.__file__).parent.joinpath("pipelines").rglob("*.py")):
        text = path.read_text()
        starts = list(CLASS.finditer(text))
        for found, end in zip(starts, [*(after.start() for after in starts[1:]), len(text)], strict=False):
            body = text[found.end() : end]
            bases[found[1]] = re.findall(r"\w+", found[2])
            if call := SIGNATURE.search(body):
                tree = ast.parse(f"def call({call[1]}\n): pass").body[0]
                calls[found[1]] = _call(found[1], tree, body[call.start() :])
    for name in bases:
        if name not in calls and (found_ := next((calls[base] for base in bases[name] if base in calls), None)):
            calls[name] = found_
    exported = set(dir(diffusers))
    return {name: calls[name] for name in sorted(calls) if name in exported}


def arguments() -> dict[str, tuple[str, ...]]:
    """Give every argument that the call of some pipeline takes."""
    return {"any": tuple(sorted({key for row in pipelines().values() for key in row["arguments"]}))}


def calls_of_pipelines() -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, ...]]]:
    """Give the defaults of every pipeline that has some, and the names of the pipelines of each task."""
    found = pipelines()
    tasks = {
        task: tuple(name for name in found if found[name]["task"] == task) for task in ("image", "inpaint", "edit")
    }
    tasks["embedded"] = tuple(name for name in found if found[name]["embedded"])
    rows = {name: {key: value for key, value in row.items() if key in CALL} for name, row in found.items()}
    return {name: row for name, row in rows.items() if row and not name.startswith("Onnx")}, tasks


def _call(name: str, node: Any, text: str) -> dict[str, Any]:
    places = [given.arg for given in (*node.args.posonlyargs, *node.args.args)]
    values = [None] * (len(places) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = [
        *zip(places, values, strict=True),
        *zip((a.arg for a in node.args.kwonlyargs), node.args.kw_defaults, strict=True),
    ]
    known = {key: value.value for key, value in pairs if key in CALL and isinstance(value, ast.Constant)}
    row = {key: value for key, value in known.items() if isinstance(value, int | float)}
    named = {key for key, _ in pairs}
    handed = any(f"guidance = torch.{made}" in text for made in ("full", "tensor([guidance_scale]"))
    distilled_guidance = "true_cfg_scale" in named or handed or name.startswith("LatentConsistencyModel")
    return {
        **row,
        "task": _task(name, named),
        "embedded": distilled_guidance and not name.startswith(("Chroma", "HunyuanImage")),
        "arguments": tuple(named - {"self"}),
    }


def _task(name: str, named: set[str]) -> str:
    if "Inpaint" in name or ("mask_image" in named and "Fill" not in name) or "Fill" in name:
        return "inpaint"
    if "Edit" in name or "Pix2Pix" in name or "Kontext" in name or "InstructPix" in name:
        return "edit"
    return "image" if "Img2Img" in name or ("strength" in named and "image" in named) else "text"


def _rows(table: dict[str, Any]) -> str:
    lines = []
    for name, row in table.items():
        items = row if isinstance(row, tuple) else [f'"{key}": {_literal(value)}' for key, value in row.items()]
        if isinstance(row, tuple):
            items = [_literal(item) for item in row]
            text = f'    "{name}": ({", ".join(items)}{"," if len(items) == 1 else ""}),'
        else:
            text = f'    "{name}": {{{", ".join(items)}}},'
        tied = text.replace(": ", ":\0").strip()
        lines += wrap(tied, 118, initial_indent="    ", subsequent_indent="        ", break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def _literal(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float) and math.isinf(value):
        return "float('-inf')" if value < 0 else "float('inf')"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def write(name: str, docstring: str, *tables: tuple[str, str, dict[str, Any]]) -> None:
    """Write one module of tables; each is a name, its type and its content."""
    body = "\n".join(f"{table}: {kind} = {{\n{_rows(rows)}\n}}  # fmt: skip" for table, kind, rows in tables)
    origin = f"# Written by scripts/diffusers_tables.py from diffusers {diffusers.__version__}; not by hand."
    text = f'"""{docstring}"""\n\n{origin}\n'
    text += (
        f"from collections.abc import Mapping\nfrom typing import Any\n\n{body}\n"
        if "Any" in body
        else (f"from collections.abc import Mapping\n\n{body}\n")
    )
    (TABLES / name).write_text(text)


def main() -> None:
    """Write all tables."""
    kind = "Mapping[str, Mapping[str, Any]]"
    write(
        "classes.py",
        "What the constructors of diffusers' schedulers take, with defaults.",
        ("CLASSES", kind, constructors()),
    )
    names = "Mapping[str, tuple[str, ...]]"
    write(
        "calls.py",
        "The arguments of `step` of diffusers' schedulers, without those that all have, and of calls of any pipeline.",
        ("STEP", names, methods("step")),
        ("CALL", names, arguments()),
    )
    rows, tasks = calls_of_pipelines()
    write("pipelines.py", "Defaults of calls of diffusers' pipelines.", ("PIPELINES", kind, rows))
    write(
        "tasks.py",
        "Which of diffusers' pipelines take an image, and which embed the guidance scale.",
        ("TASKS", names, tasks),
    )


if __name__ == "__main__":
    main()
