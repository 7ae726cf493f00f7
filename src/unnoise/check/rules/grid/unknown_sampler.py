"""The tool has no sampler or spacing of this name.

Why: names differ from tool to tool: AUTOMATIC1111's "Euler a" is "euler_ancestral" in ComfyUI. For an unknown spacing
ComfyUI's samplers fall back to "simple"; other programs use the first of their list. 0 steps then follow the setting.
Shown: the name and the tool's nearest one.
Instead: write a name from the tool's list.
Fix: unsafe where the nearest name is one letter away, or another tool's name for it: write that.
Source: ComfyUI, comfy/samplers.py, calculate_sigmas and KSampler; AUTOMATIC1111/stable-diffusion-webui, sd_samplers.py;
rbbrdckybk/dream-factory#57.
"""

from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.sampler_names import known_grids, known_names, sampler_facts
from unnoise.check.subject import GenerationRun, Located, Subject

RULE = Rule(id="UN115", name="unknown-sampler", severity=WARN, checks="run")
NODES = ("KSampler", "KSamplerAdvanced", "KSamplerSelect", "SamplerCustom", "SamplerCustomAdvanced", "BasicScheduler")
OTHERS = ("a1111", "forge", "sdcpp")  # tools whose names are written into ComfyUI's workflows by mistake
NONE = "a name from its list"


def check(run: GenerationRun) -> Iterator[Finding]:
    own = run.tool != "comfyui" or run.pipeline in NODES
    if run.sampler is not None and own:
        yield from _unknown(run.sampler, known_names(run.tool), "sampler", run.tool)
    if run.grid is not None and own:
        yield from _unknown(run.grid, known_grids(run.tool), "spacing", run.tool)


def _unknown(located: Located[str], known: frozenset[str], what: str, tool: str) -> Iterator[Finding]:
    """Warn of a misspelt name; a name unlike all others may come from an extension, and gets a note in a workflow."""
    name = located.value[:60]
    if not known or not name or name.lower() in {one.lower() for one in known}:
        return
    near = next((one for one in sorted(known) if _is_near(name, one)), "") or _translated(located.value, known, tool)
    if near or (tool == "comfyui" and sampler_facts(tool, located.value) is None):
        suggestion = f"write {near!r}" if near else "check that the extension that defines it is installed"
        message = f"{tool} has no built-in {what} of this name"
        fix = Fix.unsafe(located.place, near, repr(near)) if near else None
        yield Finding(RULE, located.place, message, name, near or NONE, suggestion, WARN if near else NOTE, fix)


def _is_near(name: str, known: str) -> bool:
    """Return whether two names differ by one letter or one swap of neighbours, apart from case and signs."""
    one, other = _plain(name), _plain(known)
    if one == other:
        return True
    if abs(len(one) - len(other)) > 1 or min(len(one), len(other)) < 4 or _digits(one) != _digits(other):
        return False
    start = next((index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
    rest, others = one[start:], other[start:]
    exchanged = rest[:2] == others[1::-1] and rest[2:] == others[2:] and len(rest) > 1
    return rest[1:] == others or rest == others[1:] or rest[1:] == others[1:] or exchanged


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in " _-")


def _digits(name: str) -> str:
    return "".join(letter for letter in name if letter.isdigit())


def _translated(name: str, known: frozenset[str], tool: str) -> str:
    """Return ComfyUI's name of a sampler that is written as another tool names it; "" where it is not."""
    found = sampler_facts(tool, name)
    theirs = {one.lower() for other in OTHERS for one in known_names(other)}
    if tool != "comfyui" or found is None or name.lower() not in theirs:
        return ""
    return min((one for one in known if sampler_facts(tool, one) == found), key=len, default="")


def bad() -> Subject:
    return workflow(steps=25, sampler_name="euler_a")


def good() -> Subject:
    return workflow(steps=25, sampler_name="euler_ancestral")
