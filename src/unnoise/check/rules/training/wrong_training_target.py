"""The training target differs from that of the base: eps instead of v, or v instead of eps.

Why: the two targets differ at every level: v = signal*eps - spread*x0. At the last time of Stable Diffusion's schedule
signal is 0.068, so v is -0.998*x0 and eps is the noise itself. A base that predicts one has a loss of about 2 for the
other (variances of independent targets add), where its own is well under 1, and its training is lost.
Shown: the target of the base and that of the training.
Instead: train on the target of the base.
Fix: unsafe: write the target where it is stated as a word or as true or false.
Source: Salimans and Ho 2022, arXiv:2202.00512, section 4; huggingface/diffusers#7012; huggingface/peft#421;
kohya-ss/sd-scripts, library/train_util.py, verify_training_args.
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.rules.training._shared import (
    WITH_V,
    family,
    is_base_known,
    is_from_metadata,
    is_on,
    option,
    word,
)
from unnoise.check.subject import Location, Subject, Training

RULE = Rule(
    id="UN507",
    name="wrong-training-target",
    severity=WARN,
    checks="training",
    tools=("kohya", "diffusers"),
    with_subject=True,
)
FLAG, KIND = "v_parameterization", "prediction_type"
WORDS = {"epsilon": "eps", "v_prediction": "v"}
NAMES = {kind: name for name, kind in WORDS.items()}


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    target, base = _target(training), _target_of_base(training)
    if not target or not base or target == base or is_from_metadata(subject):
        return
    message = "this training has another target than its base"
    suggestion = _suggestion(training, base)
    fix = _fix(training, base)
    measured = f"target {target}"
    expected = f"{base}, that of {training.base.name if training.base else 'the base'}"
    yield Finding(RULE, _place(training), message, measured, expected, suggestion, fix=fix)


def _target(training: Training) -> str:
    if training.tool == "diffusers":
        return WORDS.get(word(training, KIND), "")  # by default the scripts use that of the base
    return "v" if is_on(training, FLAG) else "eps" if training.complete else ""


def _target_of_base(training: Training) -> str:
    """Return the known target of the base; "" where only the script states it, or a change is intended."""
    if family(training) not in WITH_V or not is_base_known(training) or training.base is None:
        return ""
    facts = training.base.facts
    meant = is_on(training, FLAG) and is_on(training, "zero_terminal_snr")  # how Lin et al. turn a base to v
    return facts.prediction if facts and facts.prediction in ("eps", "v") and not meant else ""


def _place(training: Training) -> Location:
    setting = training.get(FLAG) or training.get(KIND)
    return setting.place if setting else training.base.place if training.base else training.place


def _suggestion(training: Training, base: str) -> str:
    if training.tool == "diffusers":
        return f"train with {option(training, KIND, NAMES[base])}"
    return f"add {option(training, FLAG, True)}" if base == "v" else f"leave {FLAG} out"


def _fix(training: Training, base: str) -> Fix | None:
    """Write the target of the base where one is stated; a command line switch cannot be replaced."""
    diffusers = training.tool == "diffusers"
    setting = training.get(KIND if diffusers else FLAG)
    if setting is None or setting.place != _place(training) or (setting.value is True and not setting.place.keys):
        return None
    value = NAMES[base] if diffusers else base == "v"
    return Fix.unsafe(setting.place, value, str(value).lower())


def bad() -> Subject:
    return command(
        """
        python train_text_to_image.py --pretrained_model_name_or_path stabilityai/stable-diffusion-2-1 \\
          --dataset_name lambdalabs/naruto-blip-captions --resolution 768 --prediction_type epsilon
        """
    )


def good() -> Subject:
    return command(
        """
        python train_text_to_image.py --pretrained_model_name_or_path stabilityai/stable-diffusion-2-1 \\
          --dataset_name lambdalabs/naruto-blip-captions --resolution 768 --prediction_type v_prediction
        """
    )
