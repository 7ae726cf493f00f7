"""Several threads call one pipeline at the same time.

Why: the scheduler of a pipeline stores its step counter. Two concurrent calls of 20 steps count to 40 in a schedule of
20: the result is an index error, or images that mix both requests. Web frameworks run plain handlers in threads:
FastAPI in up to 40, Flask in one for each request.
Shown: the function that threads run, and that no lock guards the call.
Instead: a lock around the call, one worker, or a copy for each request: `Pipeline.from_pipe(shared,
scheduler=Scheduler.from_config(shared.scheduler.config))`.
Fix: show.
Source: huggingface/diffusers#3672, #7450, #9833; diffusers, docs, "Create a server" (a scheduler for each request);
AnyIO, default thread limiter (40 threads).
"""

import ast
import re
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import calls, constant, keyword, last_name, name_of, nodes, place_of

RULE = Rule(id="UN907", name="pipeline-shared-by-threads", severity=WARN, checks="script")
ROUTES = ("get", "post", "put", "api_route", "route")
WEB = ("fastapi", "flask", "starlette")
STARTS = {"submit": 0, "map": 0, "run_in_executor": 1, "to_thread": 0, "run_in_threadpool": 0}
GUARDS = re.compile(r"\b(Lock|RLock|Semaphore|BoundedSemaphore|Queue)\(|from_pipe\(|deepcopy\(|processes=")
POOLS = ("ThreadPoolExecutor", "ThreadPool")
POOL_METHODS = ("submit", "map")  # Gradio's events and data sets have methods of these names too
INSTEAD = "put a lock around the call, or give each request its own scheduler with from_pipe"
LOOPS = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def check(source: Script) -> Iterator[Finding]:
    if GUARDS.search("\n".join(source.lines)):
        return
    shared = set(_pipelines(source))
    functions = {node.name: node for node in nodes(source.tree) if isinstance(node, Function)}
    reported: set[ast.AST] = set()
    for function, how in _threaded(source, functions, shared):
        found = _used(function, shared)
        if found is not None and found not in reported:
            reported.add(found)
            message = "several threads call this pipeline at once and share the step counter of its scheduler"
            measured = f"{found.id} called in {how}, 0 locks"
            fix = Fix.show(INSTEAD)
            yield Finding(RULE, place_of(source, found), message, measured, "1 call at a time", INSTEAD, fix=fix)


def _pipelines(source: Script) -> Iterator[str]:
    """List the names of pipelines at the top level of the script."""
    for statement in source.tree.body:
        if isinstance(statement, ast.Assign) and _makes_pipeline(statement.value):
            yield from (target.id for target in statement.targets if isinstance(target, ast.Name))


def _makes_pipeline(node: ast.AST) -> bool:
    """Return whether an expression is `SomePipeline.from_pretrained(...)`, with or without `.to(...)`."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        if node.func.attr in ("from_pretrained", "from_single_file") and "Pipeline" in name_of(owner):
            return True
        node = owner
    return False


def _threaded(source: Script, functions: dict[str, Function], shared: set[str]) -> Iterator[tuple[ast.AST, str]]:
    """List what threads run: handlers of a web framework, and functions passed to threads or thread pools."""
    web = any(re.search(rf"^\s*(from|import) {name}\b", line) for line in source.lines for name in WEB)
    for function in functions.values():
        if web and isinstance(function, ast.FunctionDef) and any(_is_route(one) for one in function.decorator_list):
            yield function, f"the handler {function.name}"
    several, pools = _starts_several(source), set(_pools(source))
    for node, name in calls(source):
        runs_it = several if name == "Thread" else name not in POOL_METHODS or _is_pool(node.func, pools)
        target = _started(node, name) if runs_it else None
        workers = keyword(node, "max_workers")
        if target is None or (workers is not None and constant(workers, source) == 1):
            continue
        if isinstance(target, ast.Lambda) or (isinstance(target, ast.Name) and target.id in shared):
            yield target, f"a thread of {name}"
        elif name_of(target) in functions:
            yield functions[name_of(target)], f"threads of {name}"


def _starts_several(source: Script) -> bool:
    """Return whether the script starts more than one thread itself; a single one does no harm."""
    threads = {node for node, name in calls(source) if name == "Thread"}
    loops = (node for node in nodes(source.tree) if threads and isinstance(node, LOOPS))
    return len(threads) > 1 or any(node in threads for loop in loops for node in ast.walk(loop))


def _pools(source: Script) -> Iterator[str]:
    """List the names that the script binds to a pool of threads."""
    for node in nodes(source.tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and last_name(node.value) in POOLS:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name_of(target) for target in targets)
        elif (
            isinstance(node, ast.withitem) and node.optional_vars is not None and last_name(node.context_expr) in POOLS
        ):
            yield name_of(node.optional_vars)


def _is_pool(func: ast.expr, pools: set[str]) -> bool:
    """Return whether a method is one of a pool of threads: made in the script, or named so where it is not."""
    owner = func.value if isinstance(func, ast.Attribute) else None
    if owner is None:
        return False
    name = name_of(owner)
    return name in pools or last_name(owner) in POOLS or "executor" in name.lower()


def _is_route(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) in ROUTES


def _started(node: ast.Call, name: str) -> ast.expr | None:
    """Return the function that a call starts in a thread."""
    if name == "Thread":
        return keyword(node, "target")
    at = STARTS.get(name)
    return node.args[at] if at is not None and len(node.args) > at else None


def _used(run: ast.AST, shared: set[str]) -> ast.Name | None:
    """Find the shared pipeline that a thread calls or runs."""
    if isinstance(run, ast.Name):
        return run if run.id in shared else None
    for node in ast.walk(run):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in shared:
            return node.func
    return None


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        from fastapi import FastAPI
        app = FastAPI()
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        @app.get("/draw")
        def draw(prompt: str):
            pipe(prompt, num_inference_steps=30).images[0].save("last.png")
    """)


def good() -> Subject:
    return script("""
        from threading import Lock
        from diffusers import StableDiffusionPipeline
        from fastapi import FastAPI
        app, lock = FastAPI(), Lock()
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        @app.get("/draw")
        def draw(prompt: str):
            with lock:
                pipe(prompt, num_inference_steps=30).images[0].save("last.png")
    """)
