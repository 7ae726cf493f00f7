"""A usual guidance scale of other programs is used with a library where 0 means off.

Why: diffusers, ComfyUI, AUTOMATIC1111, InvokeAI and this program compute null + w*(cond - null), where 1 is off. azula
and smalldiffusion compute cond + w*(cond - null), where 0 is off. The same image needs w - 1 there: a copied 7.5 acts
as 8.5, and 1, which is off elsewhere, as 2.
Shown: the guidance scale in both conventions.
Instead: subtract 1 from a scale that comes from another program.
Fix: none; whether it was copied is not known.
Source: probabilists/azula, azula/guidance/cfg.py; yuanchenyang/smalldiffusion, src/smalldiffusion/model.py.
"""

import ast
from collections.abc import Iterator, Mapping

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import calls, keyword, nodes, place_of

RULE = Rule(id="UN406", name="guidance-of-another-convention", severity=NOTE, checks="script")
# package: (the argument for the scale, another argument of the same call)
FROM_ZERO: Mapping[str, tuple[str, str]] = {"azula": ("guidance", "positive"), "smalldiffusion": ("cfg_scale", "")}
USUAL = (5.0, 7.0, 7.5, 8.0)  # defaults of diffusers for SDXL, AUTOMATIC1111, diffusers for SD 1, and ComfyUI


def check(script: Script) -> Iterator[Finding]:
    packages = _packages(script)
    for call, _ in calls(script) if packages else ():
        for package in packages:
            name, needed = FROM_ZERO[package]
            value = keyword(call, name)
            alone = bool(needed) and keyword(call, needed) is None
            if isinstance(value, ast.Constant) and value.value in USUAL and not alone:
                message = f"{package} is off at guidance 0; this is a usual scale of programs that are off at 1"
                suggestion = "subtract 1"
                measured = f"{name} {value.value}, which is {float(str(value.value)) + 1:g} elsewhere"
                expected = f"{float(str(value.value)) - 1:g}, if it was copied"
                yield Finding(RULE, place_of(script, value), message, measured, expected, suggestion)


def _packages(script: Script) -> set[str]:
    found: set[str] = set()
    for node in nodes(script.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found & FROM_ZERO.keys()


def bad() -> Subject:
    return script("""
        from azula.guidance import CFGDenoiser
        from azula.sample import DDIMSampler

        sampler = DDIMSampler(CFGDenoiser(denoiser), steps=64)
        x0 = sampler(x1, positive={"label": cat}, negative={}, guidance=7.5)
        """)


def good() -> Subject:
    return script("""
        from azula.guidance import CFGDenoiser
        from azula.sample import DDIMSampler

        sampler = DDIMSampler(CFGDenoiser(denoiser), steps=64)
        x0 = sampler(x1, positive={"label": cat}, negative={}, guidance=6.5)
        """)
