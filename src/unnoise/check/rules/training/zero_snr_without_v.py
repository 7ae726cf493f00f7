"""Zero terminal SNR with noise prediction: the last level teaches nothing, and sampling divides by 0.

Why: with zero terminal SNR the last level is pure noise. Its eps equals the input, so its loss teaches nothing, and
sampling divides by signal = 0. sd-scripts prints a warning and continues.
Shown: the SNR at the last time, and the target.
Instead: train v, or remove zero terminal SNR.
Fix: unsafe: write false, where the switch is in TOML.
Source: Lin et al. 2023, arXiv:2305.08891, section 3.3; huggingface/diffusers#3851; kohya-ss/sd-scripts,
library/train_util.py, verify_training_args: "training will be unexpected".
"""

from collections.abc import Iterator

from unnoise.check.examples import toml
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.rules.training._shared import WITH_V, alphas, family, is_on, option, snr
from unnoise.check.subject import Subject, Training

RULE = Rule(
    id="UN508", name="zero-snr-without-v", severity=ERROR, checks="training", tools=("kohya",), with_subject=True
)
KEY, FLAG = "zero_terminal_snr", "v_parameterization"


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    setting = training.get(KEY)
    if setting is None or setting.value is not True or is_on(training, FLAG) or not _predicts_noise(training):
        return
    message = "zero terminal SNR needs v-prediction, and this training predicts noise"
    suggestion = f"add {option(training, FLAG, True)}, or remove {KEY}"
    fix = Fix.unsafe(setting.place, False, "false") if setting.place.keys and not subject.weights else None
    measured = "SNR 0 at time 999 with target eps"
    yield Finding(
        RULE, setting.place, message, measured, f"target v or SNR {snr(alphas()[-1]):.2g}", suggestion, fix=fix
    )


def _predicts_noise(training: Training) -> bool:
    """Return whether eps is trained; a finished file states the target only in the name of its base."""
    if not training.complete:
        return False  # v_parameterization may be among the others
    if family(training) and family(training) not in WITH_V:
        return False
    version = training.get("base_model_version")
    return version is None or version.value == "sd_v1" or version.value == "sd_v2"


def bad() -> Subject:
    return toml(
        """
        pretrained_model_name_or_path = "base.safetensors"
        dataset_config = "data.toml"
        network_module = "networks.lora"
        zero_terminal_snr = true
        """
    )


def good() -> Subject:
    return toml(
        """
        pretrained_model_name_or_path = "base.safetensors"
        dataset_config = "data.toml"
        network_module = "networks.lora"
        zero_terminal_snr = true
        v_parameterization = true
        """
    )
