"""Zero terminal SNR is set for a model that predicts noise.

Why: at the last level the signal is 0, and x0 = (x - spread * eps) / signal divides by it. diffusers' Euler and
DPM-Solver replace its square by 2**-24, so the first x0 contains 4096 times the error of eps. DDIM divides by 0, and
only clip_sample hides it. Images are black or oversaturated.
Shown: the prediction type in use.
Instead: zero terminal SNR only with a model trained to predict v on such a schedule.
Fix: unsafe: write false.
Source: huggingface/diffusers#3851; Lin et al. 2023, arXiv:2305.08891, section 3.1 ("we must switch to v prediction").
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import EffectiveSchedule
from unnoise.check.examples import folder
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.subject import Subject
from unnoise.check.tables import accepts

RULE = Rule(id="UN105", name="zero-snr-with-eps", severity=ERROR, checks="schedule")
FLAG = "rescale_betas_zero_snr"


def check(schedule: EffectiveSchedule) -> Iterator[Finding]:
    setting = schedule.config.get(FLAG)
    if setting is None or setting.value is not True or not accepts(schedule.config.class_, FLAG):
        return
    if schedule.get("prediction_type") == "epsilon":
        message = "a model that predicts noise cannot start at a level without signal"
        suggestion = "write false, or use a model trained for prediction_type='v_prediction'"
        fix = Fix.unsafe(setting.place, False, "false")
        yield Finding(RULE, setting.place, message, "epsilon", "v_prediction", suggestion, fix=fix)


CONTENT = {
    "_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
    "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False,
}  # fmt: skip


def bad() -> Subject:
    return folder({"scheduler_config.json": CONTENT | {"prediction_type": "epsilon"}})


def good() -> Subject:
    return folder({"scheduler_config.json": CONTENT | {"prediction_type": "v_prediction"}})
