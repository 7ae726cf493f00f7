"""Min-SNR weights for v-prediction are not min(SNR, gamma)/(SNR + 1): up to 200 times too large at high noise.

Why: the right weight of an error in v is min(SNR, gamma)/(SNR + 1). With one added before the minimum, the weight at
the last time of Stable Diffusion's schedule is 1 instead of 0.0047, and 0.91 on average instead of 0.29 (computed for
gamma 5). The weights of noise prediction, min(SNR, gamma)/SNR, are 1 there too. Training then concentrates on levels
from which almost nothing can be learnt. Where a script trains either target, the second is a note.
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
from unnoise.check.rule import NOTE, WARN, Finding, Rule, Severity
from unnoise.check.rules.training._shared import alphas, snr
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import dotted, last_name, nodes, place_of

RULE = Rule(id="UN505", name="min-snr-with-v", severity=WARN, checks="script", with_subject=True)
LEAST = {"min", "minimum", "clamp", "clip", "clamp_max"}
GAMMA = 5.0
MOST = 200  # parts of an expression that are read


def check(script: Script, subject: Subject) -> Iterator[Finding]:
    last = snr(alphas()[-1])
    expected = f"{min(last, GAMMA) / (last + 1):.2g}, min(snr, gamma) / (snr + 1)"
    suggestion = "take the minimum of snr and gamma, then divide by (snr + 1)"
    raised, plain = _quotients(script.tree)
    for node in raised:
        message = "one is added to the SNR before its minimum with gamma, so weights at high noise are too large"
        measured = f"weight {min(last + 1, GAMMA) / (last + 1):.4g} at SNR {last:.2g}"
        yield Finding(RULE, place_of(script, node), message, measured, expected, suggestion)
    severity = _trains_v(script, subject) if plain and not raised else None
    for node in plain if severity is not None else ():
        message = "the SNR weights are those of noise prediction, and the target is v"
        measured = f"weight {min(last, GAMMA) / last:.4g} at SNR {last:.2g}"
        yield Finding(RULE, place_of(script, node), message, measured, expected, suggestion, severity)


def _trains_v(script: Script, subject: Subject) -> Severity | None:
    """Return how sure it is that the target is v and that no weight is that of v; None where it is not."""
    parts = nodes(script.tree)
    if any(isinstance(node, ast.BinOp) and _is_snr_plus_one(node) for node in parts):
        return None
    if any(True for body in _bodies(script.tree) for _ in _raised(body)):
        return None
    stated = {setting.value for config in subject.configs if (setting := config.get("prediction_type"))}
    known = {model.facts.prediction for model in subject.models if model.facts}
    if stated == {"v_prediction"} or (known == {"v"} and not stated):
        return WARN
    if not any(isinstance(node, ast.Call) and last_name(node.func) == "get_velocity" for node in parts):
        return None
    words = {node.value for node in parts if isinstance(node, ast.Constant)}
    return NOTE if "epsilon" in words or known == {"eps"} else WARN


def _quotients(tree: ast.Module) -> tuple[list[ast.BinOp], list[ast.BinOp]]:
    """List the divisions of a minimum of SNR + 1 by SNR + 1, and those of a minimum of the SNR by the SNR."""
    names = {name for body in _bodies(tree) for name in _raised(body)}
    raised: list[ast.BinOp] = []
    plain: list[ast.BinOp] = []
    for node in nodes(tree):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
            continue
        below = _form(node.right)
        if (below in names or _is_snr_plus_one(node.right)) and _takes_least(node.left, below):
            raised.append(node)
        elif "snr" in below.lower() and not isinstance(node.right, ast.BinOp) and _takes_least(node.left, below):
            plain.append(node)
    return raised, plain


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    for node in nodes(tree):
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
