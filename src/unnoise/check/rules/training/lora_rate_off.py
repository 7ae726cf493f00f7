"""The learning rate of a LoRA, times alpha/rank, is far from every published one.

Why: a LoRA adds alpha/rank * up @ down to a weight, so with Adam a step changes the weight in proportion to rate *
alpha/rank. The guide of sd-scripts trains at 1e-4 with alpha 1 and rank 16, which is 6.3e-6; presets go from there to
1e-3. At 3e-4 with alpha 1 and rank 128, 2.3e-6, images with and without the LoRA hardly differed. sd-scripts takes an
alpha of 1 where none is stated.
Shown: rate * alpha/rank.
Instead: alpha of half the rank to the whole rank at a rate of 1e-4; or a rate that is higher by rank/alpha.
Fix: none; rate and alpha are both right answers.
Source: kohya-ss/sd-scripts#98 and docs/train_network.md, --network_alpha and --learning_rate; bmaltais/kohya_ss,
presets/lora; huggingface/diffusers, examples/dreambooth/README_sdxl.md.
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.rules.training._rates import BOTH, DENOISER, dimension, is_adam, rate
from unnoise.check.rules.training._shared import is_from_metadata, is_on, word
from unnoise.check.subject import Subject, Training

RULE = Rule(
    id="UN517",
    name="lora-rate-off",
    severity=WARN,
    checks="training",
    tools=("kohya", "diffusers"),
    with_subject=True,
)
LOW, HIGH = 4e-6, 3e-3  # published are 6.3e-6 to 1e-3
SMALL = 1 / 8  # alpha/rank: a rate that is low with a larger one is meant to be
# The names of alpha and rank, and the alpha where none is stated; 0 for a default of each script.
NAMES = {"kohya": ("network_alpha", "network_dim", 1.0), "diffusers": ("lora_alpha", "rank", 0.0)}
# Arguments of a network that change its rates or ranks.
OTHERS = ("loraplus", "block_dims", "block_lr", "_lr_weight", "reg_dims", "reg_lrs")


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    found, ratio = rate(training, DENOISER, BOTH), _ratio(training)
    if found is None or ratio is None or found[0] == 0 or not is_adam(training):
        return
    step = found[0] * ratio
    if step > HIGH or (step < LOW and ratio <= SMALL):
        message = "the learning rate times alpha/rank is far from published trainings of a LoRA"
        measured = f"{found[0]:g} * {ratio:.3g} = {step:.2g}"
        suggestion = "raise network_alpha or the rate" if step < LOW else "lower the rate"
        severity = NOTE if is_from_metadata(subject) else WARN
        yield Finding(RULE, found[1].place, message, measured, "6e-6 to 1e-3", suggestion, severity)


def _ratio(training: Training) -> float | None:
    """Return alpha/rank of a plain LoRA; None for other networks and where the rank is not stated."""
    alpha_name, rank_name, default = NAMES[training.tool]
    module = training.get("network_module")
    if training.tool == "kohya" and not word(training, "network_module").startswith("networks.lora"):
        return None
    if module is None and "lora" not in training.script:
        return None
    arguments = training.get("network_args")
    if arguments is not None and any(name in str(arguments.value) for name in OTHERS):
        return None
    if is_on(training, "network_train_text_encoder_only") or is_on(training, "dim_from_weights"):
        return None
    rank, alpha = dimension(training, rank_name), dimension(training, alpha_name)
    if alpha is None and training.get(alpha_name) is None:
        alpha = default
    return alpha / rank if rank and alpha else None


def bad() -> Subject:
    return command(
        """
        accelerate launch train_network.py --pretrained_model_name_or_path sd.safetensors --dataset_config data.toml \\
          --network_module networks.lora --network_dim 128 --network_alpha 1 --unet_lr 3e-4
        """
    )


def good() -> Subject:
    return command(
        """
        accelerate launch train_network.py --pretrained_model_name_or_path sd.safetensors --dataset_config data.toml \\
          --network_module networks.lora --network_dim 128 --network_alpha 64 --unet_lr 3e-4
        """
    )
