"""A sampler adds noise without a seeded generator, in a script that asks for deterministic results.

Why: `enable_full_determinism` makes kernels deterministic, but not the noise. An ancestral or SDE sampler draws noise
from the global generator at every step, so 2 runs in one process give 2 images.
Shown: the sampler and the missing generator.
Instead: pass a seeded generator to the call, or use DDIM or another deterministic sampler.
Fix: none.
Source: diffusers documentation, "Reproducibility"; scheduling_euler_ancestral_discrete.py, step.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import GenerationRun, Script, Subject
from unnoise.check.syntax import calls

RULE = Rule(id="UN123", name="stochastic-where-reproducible-wanted", severity=WARN, checks="run", with_subject=True)
DETERMINISM = {"enable_full_determinism", "use_deterministic_algorithms"}
SEEDS = {"manual_seed", "set_seed", "seed_everything", "seed_all"}


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    source, method = subject.script, run.sampler_facts
    if source is None or method is None or not method.stochastic or _gives_noise(source, run):
        return
    names = {name for _, name in calls(source)}
    if names & DETERMINISM and not names & SEEDS:
        message = f"{method.name} draws noise at every step from an unseeded generator"
        suggestion = "pass generator=torch.Generator('cpu').manual_seed(0) to the call, or use DDIM"
        yield Finding(RULE, run.place, message, "no generator", "a seeded generator", suggestion)


def _gives_noise(script: Script, run: GenerationRun) -> bool:
    """Return whether the call gets a generator, or arguments that cannot be read."""
    found = (call for call, _ in calls(script) if call.lineno == run.place.line)
    return any(keyword.arg in ("generator", None) for call in found for keyword in call.keywords)


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
