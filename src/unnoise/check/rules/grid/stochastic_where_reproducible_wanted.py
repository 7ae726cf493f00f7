"""A sampler that adds noise in a script that wants equal pictures, without a generator for that noise.

Why: `enable_full_determinism` makes kernels deterministic, not the noise: an ancestral or SDE sampler draws at every
step from the global generator, so 2 runs in one process give 2 pictures.
Shown: the sampler, and the generator that is missing.
Instead: hand a seeded generator to the call, or take DDIM or another deterministic sampler.
Fix: none.
Source: diffusers documentation, "Reproducibility"; scheduling_euler_ancestral_discrete.py, step.
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import Run, Script, Subject

RULE = Rule(id="UN123", name="stochastic-where-reproducible-wanted", severity=WARN)
WANTED = {"enable_full_determinism", "use_deterministic_algorithms"}
SEEDS = {"manual_seed", "set_seed", "seed_everything", "seed_all"}


def check(subject: Subject) -> Iterator[Finding]:
    if subject.script is None or not _calls(subject.script, WANTED) or _calls(subject.script, SEEDS):
        return
    for run in subject.runs:
        if run.method is not None and run.method.stochastic and not _gives_noise(subject.script, run):
            says = f"{run.method.name} draws noise at every step, from a generator that nothing seeds"
            instead = "hand generator=torch.Generator('cpu').manual_seed(0) to the call, or take DDIM"
            yield Finding(RULE, run.place, says, "no generator", "a seeded generator", instead)


def _gives_noise(script: Script, run: Run) -> bool:
    """Say whether the call is given a generator, or arguments that are not read."""
    calls = (node for node in ast.walk(script.tree) if isinstance(node, ast.Call) and node.lineno == run.place.line)
    return any(keyword.arg in ("generator", None) for call in calls for keyword in call.keywords)


def _calls(script: Script, names: set[str]) -> bool:
    """Say whether a script calls a function of one of these names."""
    functions = (node.func for node in ast.walk(script.tree) if isinstance(node, ast.Call))
    return any(getattr(function, "attr", getattr(function, "id", "")) in names for function in functions)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline
        torch.use_deterministic_algorithms(True)
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
        pipe("a lighthouse at dawn", num_inference_steps=30)
    """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline
        torch.use_deterministic_algorithms(True)
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
        generator = torch.Generator("cpu").manual_seed(0)
        pipe("a lighthouse at dawn", num_inference_steps=30, generator=generator)
    """)
