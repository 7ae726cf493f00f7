"""A setting of Stable Diffusion's training is passed to the trainer of a flow model, which ignores it.

Why: the scripts for FLUX.1, SD3, Lumina and HunyuanImage share their arguments with those of Stable Diffusion, but not
their loss: their post_process_loss returns the loss unchanged. Min-SNR weights with gamma 5 would be 0.92 on average
(computed for Stable Diffusion's schedule); here they are 1, and the training is not the one configured.
Shown: the setting, and that it has no effect.
Instead: leave it out.
Fix: none; delete the line.
Source: kohya-ss/sd-scripts, flux_train_network.py and sd3_train_network.py, post_process_loss;
docs/flux_train_network.md, "Incompatible arguments".
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.rules.training._shared import family, is_from_metadata, is_on
from unnoise.check.subject import Subject, Training

RULE = Rule(
    id="UN514", name="setting-without-effect", severity=WARN, checks="training", tools=("kohya",), with_subject=True
)
FLOW = {"flux1", "chroma", "sd3", "lumina2", "hunyuan-image"}
SETTINGS = (
    "min_snr_gamma", "v_parameterization", "zero_terminal_snr", "debiased_estimation_loss", "v_pred_like_loss",
    "scale_v_pred_loss_like_noise_pred",
)  # fmt: skip


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    if family(training) not in FLOW:
        return
    for key in SETTINGS:
        setting = training.get(key)
        if setting is not None and is_on(training, key):
            message = f"{key} is a setting of Stable Diffusion's training; that of {family(training)} ignores it"
            suggestion = "leave it out"
            measured = f"{key} {setting.value}" if setting.value is not True else key
            expected = "weight 1 at every level, whatever is set"
            severity = NOTE if is_from_metadata(subject) else WARN
            yield Finding(RULE, setting.place, message, measured, expected, suggestion, severity)


def bad() -> Subject:
    return command(
        """
        accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors \\
          --dataset_config data.toml --guidance_scale 1.0 --timestep_sampling flux_shift --min_snr_gamma 5
        """
    )


def good() -> Subject:
    return command(
        """
        accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors \\
          --dataset_config data.toml --guidance_scale 1.0 --timestep_sampling flux_shift
        """
    )
