"""A guidance-distilled model (FLUX.1 dev) is trained with a guidance scale other than 1 and loses its distillation.

Why: the net has the guidance scale as an input and predicts the guided result. Fine-tuning compares that with plain
data: at 3.5, the default of sd-scripts and diffusers, the net learns that 3.5 means unguided, and the contrast of
guidance fades. At 1 input and data agree.
Shown: the guidance scale, stated or by default.
Instead: train with 1.
Fix: safe: write 1.0, where the scale is stated.
Source: kohya-ss/sd-scripts, docs/flux_train_network.md, --guidance_scale: "for training, specify 1.0 ... Default is
3.5"; huggingface/diffusers, examples/dreambooth/README_flux.md; black-forest-labs/flux#79; kohya-ss/sd-scripts#1652.
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.training._shared import GUIDED, family, is_from_metadata, number, option
from unnoise.check.subject import Subject, Training

RULE = Rule(
    id="UN503",
    name="distilled-guidance-not-one",
    severity=WARN,
    checks="training",
    tools=("kohya", "diffusers"),
    with_subject=True,
)
DEFAULT = 3.5
# Scripts whose default is 3.5; those of Flux control train at 30, the scale for sampling their models.
SCRIPTS = {
    "flux_train.py", "flux_train_network.py", "train_dreambooth_flux.py", "train_dreambooth_lora_flux.py",
    "train_dreambooth_lora_flux_advanced.py", "train_dreambooth_lora_flux_kontext.py",
}  # fmt: skip
OTHERS = {"schnell", "fill", "canny", "depth", "control"}  # variants without the input, or with another scale


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    scale = training.get(GUIDED)
    weight = number(scale) if scale else DEFAULT if training.complete and training.script in SCRIPTS else None
    if weight is None or weight == 1 or not _takes_weight(training):
        return
    remembered = is_from_metadata(subject)
    message = "a guidance-distilled model is trained with a guidance scale other than 1"
    suggestion = f"train with {option(training, GUIDED, 1.0)}"
    fix = Fix.safe(scale.place, 1.0) if scale and not remembered else None
    measured = f"guidance {weight:g}" if scale else f"guidance {weight:g}, the default"
    expected = "1"
    severity = NOTE if remembered or (scale is None and training.tool == "diffusers") else WARN
    yield Finding(
        RULE, scale.place if scale else training.place, message, measured, expected, suggestion, severity, fix
    )


def _takes_weight(training: Training) -> bool:
    if training.base is None or family(training) != "flux1" or training.base.identity.variant in OTHERS:
        return False
    return training.script in SCRIPTS or not training.script


def bad() -> Subject:
    return command(
        """
        accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors \\
          --dataset_config data.toml --guidance_scale 3.5 --timestep_sampling flux_shift
        """
    )


def good() -> Subject:
    return command(
        """
        accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors \\
          --dataset_config data.toml --guidance_scale 1.0 --timestep_sampling flux_shift
        """
    )
