"""Min-SNR weights for v-prediction are min(SNR + 1, gamma)/(SNR + 1): up to 200 times too large at high noise.

Why: the right weight of an error in v is min(SNR, gamma)/(SNR + 1). With one added before the minimum, the weight at
the last time of Stable Diffusion's schedule is 1 instead of 0.0047, and 0.91 on average instead of 0.29 (computed for
gamma 5). Training then concentrates on levels from which almost nothing can be learnt.
Shown: the formula and its value at the last time.
Instead: take the minimum of the SNR itself, and divide by SNR + 1.
Fix: none; the lines are shown.
Source: Hang et al. 2023, arXiv:2303.09556, section 3.4; huggingface/diffusers#5654, fixed in #6307;
kohya-ss/sd-scripts#673.
"""

import ast
from collections.abc import Iterator
from itertools import islice

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.training._shared import alphas, snr
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import dotted, last_name, place_of

RULE = Rule(id="UN505", name="min-snr-with-v", severity=WARN, checks="script")
LEAST = {"min", "minimum", "clamp", "clip", "clamp_max"}
GAMMA = 5.0
MOST = 200  # parts of an expression that are read


def check(script: Script) -> Iterator[Finding]:
    for node in _quotients(script.tree):
        last = snr(alphas()[-1])
        message = "one is added to the SNR before its minimum with gamma, so weights at high noise are too large"
        suggestion = "take the minimum of snr and gamma, then divide by (snr + 1)"
        measured = f"weight {min(last + 1, GAMMA) / (last + 1):.4g} at SNR {last:.2g}"
        expected = f"{min(last, GAMMA) / (last + 1):.2g}, min(snr, gamma) / (snr + 1)"
        yield Finding(RULE, place_of(script, node), message, measured, expected, suggestion)


def _quotients(tree: ast.Module) -> Iterator[ast.BinOp]:
    """List the divisions of a minimum of SNR + 1 by SNR + 1, where both are written in the same way."""
    raised = {name for body in _bodies(tree) for name in _raised(body)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
            continue
        below = _form(node.right)
        if (below in raised or _is_snr_plus_one(node.right)) and _takes_least(node.left, below):
            yield node


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for field in ("body", "orelse"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                yield body


def _raised(body: list[ast.stmt]) -> Iterator[str]:
    """List names of an SNR to which one is added in place."""
    for node in body:
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and _is_one(node.value):
            name, matches = last_name(node.target), isinstance(node.target, ast.Name)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.BinOp):
            name = last_name(node.targets[0])
            matches = _is_snr_plus_one(node.value) and last_name(node.value.left) == name
        else:
            continue
        if matches and "snr" in name.lower():
            yield name


def _is_one(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and not isinstance(node.value, bool) and node.value == 1


def _is_snr_plus_one(node: ast.AST) -> bool:
    return "snr" in _form(node).lower() and isinstance(node, ast.BinOp)


def _form(node: ast.AST) -> str:
    """Spell a name, or a name plus one; "" for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and _is_one(node.right):
        return f"{dotted(node.left)} + 1" if dotted(node.left) else ""
    return dotted(node)


def _takes_least(node: ast.AST, below: str) -> bool:
    """Return whether an expression is a minimum of the divisor."""
    parts = list(islice(ast.walk(node), MOST))
    calls = [one for one in parts if isinstance(one, ast.Call) and last_name(one.func) in LEAST]
    return any(below == _form(part) for call in calls[:10] for part in islice(ast.walk(call), MOST))


def bad() -> Subject:
    return script(
        """
        import torch

        def weights(snr, gamma, prediction_type):
            if prediction_type == "v_prediction":
                snr = snr + 1
            return torch.stack([snr, gamma * torch.ones_like(snr)], dim=1).min(dim=1)[0] / snr
        """
    )


def good() -> Subject:
    return script(
        """
        import torch

        def weights(snr, gamma, prediction_type):
            least = torch.stack([snr, gamma * torch.ones_like(snr)], dim=1).min(dim=1)[0]
            return least / (snr + 1) if prediction_type == "v_prediction" else least / snr
        """
    )
