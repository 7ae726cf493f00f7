"""A masked diffusion model of text draws its tokens with Gumbel noise in less than float64.

Why: the largest of logits plus Gumbel noise is an exact draw only if the noise has its whole tail. A uniform number of
float32 has 24 bits, which cuts the tail: over 1000 steps 27 % of the tokens of probability 1e-4 are lost, and the text
looks surer and repeats itself. bfloat16 has 8 bits. A temperature of 0 uses no noise; where no other is stated, it is a
note.
Shown: the function, and the bits of its noise.
Instead: `logits.to(torch.float64)` and `torch.rand_like(logits, dtype=torch.float64)`, or `torch.multinomial`.
Fix: none; two lines change.
Source: Zheng et al. 2024, arXiv:2409.02908, section 4; ML-GSAI/LLaDA, generate.py, add_gumbel_noise.
"""

import ast
import re
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.script_numbers import script_numbers
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import calls, keyword, name_of, nodes, place_of

RULE = Rule(id="UN813", name="gumbel-below-double", severity=WARN, checks="script")
MASKED = re.compile(r"mask_id|mask_token|remask", re.IGNORECASE)
MODELS = re.compile(r"llada|dream|mdlm|sedd|\bduo\b|masked.?diffusion|diffusion_generate|low_confidence", re.IGNORECASE)
DOUBLE = {"float64", "double"}
BITS = {"float16": "11", "half": "11", "bfloat16": "8", "float32": "24", "float": "24"}
UNSTATED = "8 to 24 bits, the type of the logits"
UNIFORM = {"rand", "rand_like", "uniform_", "uniform"}


def check(script: Script) -> Iterator[Finding]:
    texts = script.lines
    if not any(MASKED.search(line) for line in texts) or not any(MODELS.search(line) for line in texts):
        return
    severity = WARN if _is_warm(script) else NOTE
    for node in nodes(script.tree):
        if not isinstance(node, ast.FunctionDef) or "gumbel" not in node.name.lower():
            continue
        names = {name_of(part) for part in ast.walk(node) if isinstance(part, ast.Attribute | ast.Name)}
        if "log" not in names or not names & UNIFORM or names & DOUBLE:
            continue
        drawn = next((part for part in ast.walk(node) if _draws(part)), node)
        bits = next(
            (f"{BITS[name]} bits, {name}" for name in BITS if name in names), "8 to 24 bits, the type of the logits"
        )
        message = f"{node.name} draws tokens with noise of less than float64"
        suggestion = "draw in torch.float64, or with torch.multinomial"
        yield Finding(RULE, place_of(script, drawn), message, bits, "53 bits, float64", suggestion, severity)


def _draws(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) in UNIFORM


def _is_warm(script: Script) -> bool:
    """Return whether a call of the script states a temperature above 0."""
    number = script_numbers(script).number
    stated = [value for call, _ in calls(script) if (value := keyword(call, "temperature")) is not None]
    return any((found := number(value)) is not None and found > 0 for value in stated)


SAMPLE = """
    import torch

    def add_gumbel_noise(logits, temperature):
        logits = logits.to(torch.{0})
        noise = torch.rand_like(logits, dtype=torch.{0})
        return logits.exp() / (-torch.log(noise)) ** temperature

    def generate(model, x, mask_id=126336, remasking="low_confidence", temperature=0.7):
        chosen = add_gumbel_noise(model(x).logits, temperature=temperature).argmax(-1)
        return torch.where(x == mask_id, chosen, x)
"""


def bad() -> Subject:
    return script(SAMPLE.format("float32"))


def good() -> Subject:
    return script(SAMPLE.format("float64"))
