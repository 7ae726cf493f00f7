"""A guidance-distilled model (FLUX.1 dev) trained with a guidance other than 1: it loses what was distilled into it.

Why: the net takes the weight as an input and answers as if it were guided by it. Fine-tuning compares that answer with
plain, unguided data: at 3.5, the default of both sd-scripts and diffusers, it teaches the net that 3.5 means unguided,
and the contrast that guidance gave fades. At 1 input and data agree.
Shown: the weight, or the default that applies.
Instead: train with 1.
Fix: safe: writes 1.0, where the weight is said.
Source: kohya-ss/sd-scripts, docs/flux_train_network.md, --guidance_scale: "for training, specify 1.0 ... Default is
3.5"; huggingface/diffusers, examples/dreambooth/README_flux.md; black-forest-labs/flux#79; kohya-ss/sd-scripts#1652.
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Change, Finding, Fix, Rule
from unnoise.check.rules.training._shared import GUIDED, family, is_at, is_remembered, number, option, trainings
from unnoise.check.subject import Subject, Training

RULE = Rule(id="UN503", name="distilled-guidance-not-one", severity=WARN)
DEFAULT = 3.5
# Scripts whose default is 3.5; those of Flux control train at 30, which is what their models are sampled with.
SCRIPTS = {
    "flux_train.py", "flux_train_network.py", "train_dreambooth_flux.py", "train_dreambooth_lora_flux.py",
    "train_dreambooth_lora_flux_advanced.py", "train_dreambooth_lora_flux_kontext.py",
}  # fmt: skip
OTHERS = {"schnell", "fill", "canny", "depth", "control"}  # variants that take no weight, or are made for another


def check(subject: Subject) -> Iterator[Finding]:
    """Find trainings of FLUX.1 dev whose guidance is not 1."""
    for training in trainings(subject, "kohya", "diffusers"):
        said = training.get(GUIDED)
        weight = number(said) if said else DEFAULT if training.script in SCRIPTS else None
        if weight is None or weight == 1 or not _takes_weight(training):
            continue
        yield Finding(
            RULE,
            said.place if said else training.place,
            says="a guidance-distilled model is trained with a guidance that its data does not have",
            measured=f"guidance {weight:g}" if said else f"guidance {weight:g}, the default",
            expected="1",
            instead=f"train with {option(training, GUIDED, 1.0)}",
            severity=NOTE if is_remembered(subject) or (said is None and training.tool == "diffusers") else WARN,
        )


def _takes_weight(training: Training) -> bool:
    if training.base is None or family(training) != "flux1" or training.base.identity.variant in OTHERS:
        return False
    return training.script in SCRIPTS or not training.script


def fix(subject: Subject, finding: Finding) -> Fix | None:
    """Write 1.0 where a weight is said."""
    for training in trainings(subject, "kohya", "diffusers"):
        said = training.get(GUIDED)
        if said is not None and is_at(finding, said.place) and not is_remembered(subject):
            return Fix("safe", "write 1.0", (Change(said.place, 1.0),))
    return None


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
