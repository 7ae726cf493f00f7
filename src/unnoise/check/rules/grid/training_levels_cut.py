"""A scheduler has fewer noise levels than its model was trained on, often as many as sampling has steps.

Why: `num_train_timesteps` is the number of levels in training, 1000, whatever the number of steps. The betas are spread
over that many levels: with 50 the last level of Stable Diffusion is sigma 0.56 instead of 14.6. Sampling then starts
from pure noise at a level whose variance is 76 % signal, and the network receives times of 0 to 49 instead of 0 to 999.
Shown: the number of levels and the highest sigma.
Instead: leave it at 1000, and pass the number of steps to the call or to `set_timesteps`.
Fix: unsafe: write 1000.
Source: Ho et al. 2020, arXiv:2006.11239, section 4 (T = 1000); diffusers, scheduling_ddpm.py, `num_train_timesteps`.
"""

import ast
from collections.abc import Iterator

from unnoise.check.effective_settings import EffectiveSchedule, schedules
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, WARN, Finding, Fix, Rule
from unnoise.check.rules.grid._shared import TRAINED, last_level
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import calls, name_of
from unnoise.families.facts import Facts, facts
from unnoise.families.identity import Identity

RULE = Rule(id="UN127", name="training-levels-cut", severity=ERROR)
KEY = "num_train_timesteps"
BETAS = ("beta_schedule", "beta_start", "beta_end")
STABLE = ("scaled_linear", 0.00085, 0.012)
FLOW = {"sd3", "flux1", "wan"}  # whose schedulers are published with 1000
# Classes that count their levels in another way.   Source: diffusers, scheduling_consistency_models.py (40)
OTHERWISE = ("CMStochasticIterativeScheduler", "EDM", "ScoreSde", "KarrasVe", "VQDiffusion")
DENOISERS = ("UNet2DConditionModel", "UNetMotionModel", "Pipeline", "Transformer2DModel", "Transformer3DModel")
LOADERS = ("from_pretrained", "from_single_file", "from_ckpt")
FEW = 500  # levels: fewer lose more than 0.6 of the highest sigma


def check(subject: Subject) -> Iterator[Finding]:
    for schedule in _schedules(subject):
        setting = schedule.config.get(KEY)
        levels = setting.value if setting is not None else None
        if setting is None or type(levels) is not int or not 0 < levels < TRAINED:
            continue
        shown = _levels(schedule, levels, subject.script is None)
        if shown is None or schedule.config.class_.startswith(OTHERWISE):
            continue
        measured, expected = shown
        message = "the scheduler has fewer noise levels than the model was trained on"
        suggestion = f"write {TRAINED}, and pass the number of steps to the call or to set_timesteps"
        severity = ERROR if levels <= FEW else WARN
        fix = Fix.unsafe(setting.place, TRAINED)
        yield Finding(RULE, setting.place, message, measured, expected, suggestion, severity, fix)


def _schedules(subject: Subject) -> Iterator[EffectiveSchedule]:
    """List the schedulers of a subject; in a script also those that no run of a pipeline uses."""
    listed = set()
    for schedule in schedules(subject):
        listed.add(schedule.place)
        yield schedule
    if subject.script is None:
        return
    identity = _pretrained(subject, subject.script)
    for config in subject.configs:
        if config.role == "scheduler" and config.place not in listed:
            listed.add(config.place)
            yield EffectiveSchedule(config, identity)


def _pretrained(subject: Subject, script: Script) -> Identity:
    """Return the family of all models of a script that loads a denoiser; unknown where it may also train its own."""
    loaded = False
    for call, name in calls(script):
        owner = name_of(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        loaded = loaded or (name in LOADERS and owner.endswith(DENOISERS))
        if name.startswith("UNet") or (name == "from_config" and owner.startswith("UNet")):
            return Identity()
    found = {model.identity.family: model.identity for model in subject.models if model.identity.known}
    return next(iter(found.values())) if loaded and len(found) == 1 else Identity()


def _levels(schedule: EffectiveSchedule, levels: int, is_file: bool) -> tuple[str, str] | None:
    """Describe the levels in use and those of training; None where the model is not known to have 1000."""
    known: Facts | None = facts(schedule.identity)
    betas = tuple(schedule.get(key) for key in BETAS)
    if known is not None and known.betas is not None:
        betas = known.betas
    elif known is not None and schedule.identity.family in FLOW:
        return f"{levels} levels, times up to {levels}", f"{TRAINED} levels, times up to {TRAINED}"
    elif not is_file or betas != STABLE:
        return None
    name, start, end = str(betas[0]), float(betas[1]), float(betas[2])
    last, right = last_level(name, start, end, levels), last_level(name, start, end)
    return f"{levels} levels, sigma up to {last:.2g}", f"{TRAINED} levels, sigma up to {right:.3g}"


def bad() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, num_train_timesteps=50)
        pipe("a lighthouse at dawn", num_inference_steps=50)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, num_train_timesteps=1000)
        pipe("a lighthouse at dawn", num_inference_steps=50)
    """)
