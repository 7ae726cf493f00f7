"""The tool has no sampler or spacing of this name.

Why: names differ from tool to tool: AUTOMATIC1111's "Euler a" is "euler_ancestral" in ComfyUI and "euler_a" in
InvokeAI; "dpmpp_2m_karras" is two settings in ComfyUI, the sampler dpmpp_2m and the scheduler karras. For an unknown
spacing ComfyUI's samplers fall back to "simple"; other programs use the first of their list, or refuse the name. 0
steps then follow the setting.
Shown: the name and the tool's nearest one.
Instead: write a name from the tool's list.
Fix: unsafe where the nearest name is one letter away, or another tool's name for it: write that.
Source: ComfyUI, comfy/samplers.py, calculate_sigmas and KSampler; AUTOMATIC1111/stable-diffusion-webui, sd_samplers.py,
sd_schedulers.py (schedulers_map has the names of spacings beside their labels);
invoke-ai/InvokeAI, invokeai/backend/stable_diffusion/schedulers/schedulers.py; rbbrdckybk/dream-factory#57.
"""

from collections.abc import Iterable, Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.sampler_names import known_grids, known_names, sampler_facts
from unnoise.check.subject import GenerationRun, Location, Subject
from unnoise.sampling.foreign import equivalent, foreign_schedule

RULE = Rule(id="UN115", name="unknown-sampler", severity=WARN, checks="run")
NODES = ("KSampler", "KSamplerAdvanced", "KSamplerSelect", "SamplerCustom", "SamplerCustomAdvanced", "BasicScheduler")
OTHERS = ("a1111", "forge", "sdcpp", "invokeai", "comfyui")  # tools whose names are written for others by mistake
LABELLED = ("a1111", "forge")  # tools that take a spacing by its label or by its name, which ComfyUI has too
READERS = ("comfyui", "invokeai")  # tools whose files select a sampler by its name
EXTENDED = ("res_2s",)  # also names that a common extension adds to ComfyUI: ClownsharkBatwing/RES4LYF
SPACINGS = {"trailing": "sgm_uniform", "leading": "ddim_uniform", "linspace": "normal"}  # of diffusers, in ComfyUI
NONE, INSTALL = "a name from its list", "check that the extension that defines it is installed"


def check(run: GenerationRun) -> Iterator[Finding]:
    own = run.tool != "comfyui" or run.pipeline in NODES
    if run.sampler is not None and own:
        yield from _sampler(run, run.sampler.value[:60], run.sampler.place)
    if run.grid is not None and own:
        yield from _spacing(run, run.grid.value[:60], run.grid.place)


def _sampler(run: GenerationRun, name: str, place: Location) -> Iterator[Finding]:
    """Warn of a misspelt name or another tool's; a name unlike all others may come from an extension: a note."""
    known = known_names(run.tool)
    if _is_known(name, known):
        return
    theirs = run.tool in READERS and _is_theirs(name)
    near, spacing = _translated(name, known, run.tool) if theirs else (_nearest(name, known), "")
    if near or theirs or (run.tool == "comfyui" and sampler_facts(run.tool, name) is None):
        both = spacing != "" and (run.grid is None or run.grid.value != spacing)
        suggestion = f"write {near!r}" + (f" and the scheduler {spacing!r}" if both else "") if near else INSTALL
        fix = None if not near else Fix.show(suggestion) if both else Fix.unsafe(place, near, repr(near))
        message = f"{run.tool} has no built-in sampler of this name"
        grade = WARN if near or theirs else NOTE
        yield Finding(RULE, place, message, name, near or NONE, suggestion, grade, fix)


def _spacing(run: GenerationRun, name: str, place: Location) -> Iterator[Finding]:
    """Warn of a misspelt spacing or another tool's; one unlike all others may come from an extension: a note."""
    known = known_grids(run.tool)
    if _is_known(name, known) or (run.tool in LABELLED and _is_known(name, known_grids("comfyui"))):
        return
    near = _nearest(name, known)
    if run.tool == "comfyui" and not near:
        near = SPACINGS.get(name.lower(), "") or _same_spacing(name, known)
    if near or run.tool == "comfyui":
        message = f"{run.tool} has no built-in spacing of this name"
        suggestion = f"write {near!r}" if near else INSTALL
        fix = Fix.unsafe(place, near, repr(near)) if near else None
        yield Finding(RULE, place, message, name, near or NONE, suggestion, WARN if near else NOTE, fix)


def _is_known(name: str, known: frozenset[str]) -> bool:
    return not known or not name or name.lower() in {one.lower() for one in known}


def _nearest(name: str, known: frozenset[str]) -> str:
    return next((one for one in sorted(known) if _is_near(name, one)), "")


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


def _is_theirs(name: str) -> bool:
    """Return whether another tool has a sampler of this name, or the name is that of a sampler and of a spacing."""
    found, theirs = equivalent(name), {one.lower() for other in OTHERS for one in known_names(other)}
    return found is not None and name.lower() not in EXTENDED and (found[1] is not None or name.lower() in theirs)


def _translated(name: str, known: frozenset[str], tool: str) -> tuple[str, str]:
    """Return a tool's own name of another tool's sampler, and that of the spacing in it; "" where it has none."""
    key, spacing = equivalent(name) or ("", None)
    if tool != "comfyui":
        return _shortest(one for one in known if equivalent(one) == (key, spacing)), ""
    same = known_grids(tool) if spacing else frozenset()
    named = spacing if spacing in same else _shortest(one for one in same if foreign_schedule(one) == spacing)
    return _shortest(one for one in known if equivalent(one) == (key, None)), named or ""


def _same_spacing(name: str, known: frozenset[str]) -> str:
    """Return a tool's own name of a spacing that another tool has under this name."""
    theirs = {one.lower() for other in OTHERS for one in known_grids(other)}
    found = foreign_schedule(name) if name.lower() in theirs else None
    return _shortest(one for one in known if found and foreign_schedule(one) == found)


def _shortest(names: Iterable[str]) -> str:
    return min(sorted(names), key=len, default="")


def bad() -> Subject:
    return workflow(steps=25, sampler_name="euler_a")


def good() -> Subject:
    return workflow(steps=25, sampler_name="euler_ancestral")
