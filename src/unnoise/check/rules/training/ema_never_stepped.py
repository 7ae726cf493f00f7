"""An EMA of the weights is created but never updated, so it stays at the untrained start.

Why: EMAModel copies the weights when it is created, and changes only in step(). Without a call of step() the saved or
sampled average is the initial weights after 0 updates, however long the training was.
Shown: that step is called 0 times.
Instead: call step() after every optimizer step.
Fix: none; where the call belongs depends on the loop.
Source: diffusers/training_utils.py, EMAModel.step; huggingface/diffusers#5783, #1818.
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import dotted, last_name, nodes, place_of

RULE = Rule(id="UN512", name="ema-never-stepped", severity=WARN, checks="script")
CLASS = "EMAModel"


def check(script: Script) -> Iterator[Finding]:
    tree = script.tree
    created = {name: call for name, call in _created(tree) if name}
    if not created:
        return
    used = _stepped(tree) | _passed_on(tree)
    for name, call in created.items():
        if name not in used:
            message = f"{name} is never updated, so it keeps the initial weights"
            suggestion = f"call {name}.step(model.parameters()) after optimizer.step()"
            measured = "0 calls of step"
            expected = "1 after every optimizer step"
            yield Finding(RULE, place_of(script, call), message, measured, expected, suggestion)


def _created(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in nodes(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and last_name(node.value.func) == CLASS:
            yield from ((dotted(target), node.value) for target in node.targets)


def _stepped(tree: ast.Module) -> set[str]:
    """Return the names whose `step` is called or passed on."""
    return {dotted(node.value) for node in nodes(tree) if isinstance(node, ast.Attribute) and node.attr == "step"}


def _passed_on(tree: ast.Module) -> set[str]:
    """Return the names that are passed, stored, returned or assigned: other code may step those."""
    found: set[str] = set()
    for node in nodes(tree):
        if isinstance(node, ast.Call):
            found |= {dotted(one) for one in node.args} | {dotted(one.value) for one in node.keywords}
        elif isinstance(node, ast.Return | ast.Assign) and node.value is not None:
            found.add(dotted(node.value))
        elif isinstance(node, ast.List | ast.Tuple | ast.Set):
            found |= {dotted(one) for one in node.elts}
        elif isinstance(node, ast.Dict):
            found |= {dotted(one) for one in node.values}
    return found


def bad() -> Subject:
    return script(
        """
        from diffusers.training_utils import EMAModel

        def train(unet, optimizer, batches):
            ema = EMAModel(unet.parameters(), decay=0.9999)
            for loss in batches:
                loss.backward()
                optimizer.step()
            ema.copy_to(unet.parameters())
        """
    )


def good() -> Subject:
    return script(
        """
        from diffusers.training_utils import EMAModel

        def train(unet, optimizer, batches):
            ema = EMAModel(unet.parameters(), decay=0.9999)
            for loss in batches:
                loss.backward()
                optimizer.step()
                ema.step(unet.parameters())
            ema.copy_to(unet.parameters())
        """
    )
