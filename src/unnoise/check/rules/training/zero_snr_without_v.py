"""Zero terminal SNR with a model that predicts noise: at the last level there is nothing to learn, and 0 to divide by.

Why: with zero terminal SNR the last level is pure noise. Its eps is its own input, so the loss there teaches nothing,
and sampling divides by signal = 0 to get a picture from it. sd-scripts prints a warning and trains on.
Shown: the SNR at the last time, and the target.
Instead: train v, or leave zero terminal SNR out.
Fix: unsafe: writes false, where the switch stands in TOML.
Source: Lin et al. 2023, arXiv:2305.08891, section 3.3; huggingface/diffusers#3851; kohya-ss/sd-scripts,
library/train_util.py, verify_training_args: "training will be unexpected".
"""

from collections.abc import Iterator

from unnoise.check.examples import toml
from unnoise.check.rule import ERROR, Change, Finding, Fix, Rule
from unnoise.check.rules.training._shared import WITH_V, alphas, family, is_at, is_on, option, snr, trainings
from unnoise.check.subject import Subject, Training

RULE = Rule(id="UN508", name="zero-snr-without-v", severity=ERROR)
KEY, FLAG = "zero_terminal_snr", "v_parameterization"


def check(subject: Subject) -> Iterator[Finding]:
    """Find trainings of noise to zero terminal SNR."""
    for training in trainings(subject, "kohya"):
        said = training.get(KEY)
        if said is None or said.value is not True or is_on(training, FLAG) or not _predicts_noise(training):
            continue
        yield Finding(
            RULE,
            said.place,
            says="zero terminal SNR needs v-prediction, and this training predicts noise",
            measured="SNR 0 at time 999 with target eps",
            expected=f"target v, or SNR {snr(alphas()[-1]):.2g}",
            instead=f"add {option(training, FLAG, True)}, or leave {KEY} out",
        )


def _predicts_noise(training: Training) -> bool:
    """Say whether it is surely eps that is trained: a finished file keeps the target only in the name of its base."""
    if family(training) and family(training) not in WITH_V:
        return False
    version = training.get("base_model_version")
    return version is None or version.value == "sd_v1" or version.value == "sd_v2"


def fix(subject: Subject, finding: Finding) -> Fix | None:
    """Write false in TOML; on a command line there is nothing to write it over."""
    for training in trainings(subject, "kohya"):
        said = training.get(KEY)
        if said is not None and said.place.keys and is_at(finding, said.place) and not subject.weights:
            return Fix("unsafe", "write false", (Change(said.place, False),))
    return None


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
