"""Zero terminal SNR is set for a model that predicts noise.

Why: at the last level the signal is 0, and x0 = (x - spread * eps) / signal divides by it. diffusers' Euler and
DPM-Solver replace its square by 2**-24, so the first x0 contains 4096 times the error of eps. DDIM divides by 0, and
only clip_sample hides it; in ComfyUI sigma is 4519. Images are black or oversaturated. In a training such a scheduler
is as wrong: at its last level eps equals x.
Shown: the prediction type in use.
Instead: zero terminal SNR only with a model trained to predict v on such a schedule.
Fix: unsafe: write false.
Source: huggingface/diffusers#3851; Lin et al. 2023, arXiv:2305.08891, section 3.1 ("we must switch to v prediction");
ComfyUI, comfy_extras/nodes_model_advanced.py, rescale_zero_terminal_snr_sigmas; yisol/IDM-VTON#168.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import made_schedules, schedules
from unnoise.check.examples import folder
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Located, Subject
from unnoise.check.tables import accepts

RULE = Rule(id="UN105", name="zero-snr-with-eps", severity=ERROR)
FLAG = "rescale_betas_zero_snr"
NODE = "ModelSamplingDiscrete"
V = "v_prediction"


def check(subject: Subject) -> Iterator[Finding]:
    sets_v = subject.script is not None and any(V in line for line in subject.script.lines)
    for schedule in (*schedules(subject), *(() if sets_v else made_schedules(subject))):
        setting = schedule.config.get(FLAG)
        if setting is None or setting.value is not True or not accepts(schedule.config.class_, FLAG):
            continue
        if schedule.get("prediction_type") == "epsilon":
            yield _finding(setting)
    for run in subject.runs:
        setting = _of_node(run)
        if setting is not None:
            yield _finding(setting)


def _of_node(run: GenerationRun) -> Located[bool] | None:
    """Return the switch of a workflow's node that sets noise prediction and zero terminal SNR."""
    sampling, zero = run.others.get(f"{NODE}.sampling"), run.others.get(f"{NODE}.zsnr")
    is_eps = run.tool == "comfyui" and sampling is not None and sampling.value == "eps"
    return zero if is_eps and zero is not None and zero.value is True else None


def _finding(setting: Located[bool]) -> Finding:
    message = "a model that predicts noise cannot start at a level without signal"
    suggestion = f"write false, or use a model trained for prediction_type={V!r}"
    fix = Fix.unsafe(setting.place, False, "false")
    return Finding(RULE, setting.place, message, "epsilon", V, suggestion, fix=fix)


CONTENT = {
    "_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
    "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False,
}  # fmt: skip


def bad() -> Subject:
    return folder({"scheduler_config.json": CONTENT | {"prediction_type": "epsilon"}})


def good() -> Subject:
    return folder({"scheduler_config.json": CONTENT | {"prediction_type": V}})
