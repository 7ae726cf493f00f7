"""The text encoder is trained at a rate far above that of the denoiser.

Why: the guide of sd-scripts trains the text encoder at 1e-5 beside 1e-4 for the U-Net, a tenth; published presets go up
to the same rate. At 5e-3 beside 5e-5, a hundred times as much, the loss becomes NaN or the prompt loses its meaning
within some hundred steps.
Shown: the rate of the text encoder over that of the denoiser.
Instead: a tenth to the whole of the denoiser's rate.
Fix: none; the number is your choice.
Source: kohya-ss/sd-scripts#201 and docs/train_network.md, --text_encoder_lr: "A smaller value than that for U-Net is
recommended"; bmaltais/kohya_ss, presets/lora; huggingface/diffusers, examples/advanced_diffusion_training/README.md.
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.rules.training._rates import BOTH, DENOISER, TEXT, is_adam, rate
from unnoise.check.rules.training._shared import is_from_metadata, is_on
from unnoise.check.subject import Subject, Training

RULE = Rule(
    id="UN519",
    name="text-rate-above-denoiser",
    severity=WARN,
    checks="training",
    tools=("kohya", "diffusers"),
    with_subject=True,
)
MOST = 5  # times the rate of the denoiser; published are 0.04 to 3, the latter for new words alone
WITHOUT = ("network_train_unet_only", "network_train_text_encoder_only", "train_text_encoder_ti")


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    text, denoiser = rate(training, TEXT), rate(training, DENOISER, BOTH)
    if text is None or denoiser is None or denoiser[0] == 0 or not is_adam(training):
        return
    if any(is_on(training, key) for key in WITHOUT):
        return
    times = text[0] / denoiser[0]
    if times > MOST:
        message = "the text encoder is trained at a rate far above that of the denoiser"
        measured = f"{text[0]:g}, {times:.3g} times {denoiser[0]:g}"
        suggestion = f"write {denoiser[0] / 10:g} to {denoiser[0]:g}"
        severity = NOTE if is_from_metadata(subject) else WARN
        yield Finding(RULE, text[1].place, message, measured, "0.1 to 1 times", suggestion, severity)


def bad() -> Subject:
    return command(
        """
        accelerate launch train_network.py --pretrained_model_name_or_path sd.safetensors --dataset_config data.toml \\
          --network_module networks.lora --network_dim 64 --network_alpha 32 --unet_lr 5e-5 --text_encoder_lr 5e-3
        """
    )


def good() -> Subject:
    return command(
        """
        accelerate launch train_network.py --pretrained_model_name_or_path sd.safetensors --dataset_config data.toml \\
          --network_module networks.lora --network_dim 64 --network_alpha 32 --unet_lr 5e-5 --text_encoder_lr 5e-6
        """
    )
