"""The noise levels of a flow model's training lack the shift of sampling, so composition is hardly trained.

Why: an image of 1024 x 1024 is sampled with levels shifted towards noise; the median of sd-scripts' flux_shift is sigma
= 0.76 (exp(1.15) / (1 + exp(1.15)), computed). Levels above it determine the composition. They are half of the shifted
levels, but only 24 % of "uniform" and 12.5 % of "sigmoid" levels (computed).
Shown: the setting and the median of its levels.
Instead: draw the levels with the shift of sampling.
Fix: unsafe: write the setting that the documentation of sd-scripts recommends for the family; "shift" where a
discrete_flow_shift is stated, which only then acts.
Source: kohya-ss/sd-scripts, docs/flux_train_network.md and docs/lumina_train_network.md, --timestep_sampling;
Nerogar/OneTrainer#615; kohya-ss/sd-scripts#1958.
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.training._shared import family, is_from_metadata, number, option, word
from unnoise.check.subject import Subject, Training

RULE = Rule(
    id="UN501", name="training-levels-unshifted", severity=WARN, checks="training", tools=("kohya",), with_subject=True
)
KEY, SHIFT = "timestep_sampling", "shift"
RECOMMENDED = {"flux1": "flux_shift", "lumina2": "nextdit_shift"}
MEDIAN = 0.76


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    setting = training.get(KEY)
    best = _best(training)
    drawn = _drawn(training)
    if setting is None or best is None or not drawn or _is_schnell(training):
        return
    message = "the noise levels of this training lack the shift of sampling"
    suggestion = f"train with {option(training, KEY, best)}"
    fix = None if is_from_metadata(subject) else Fix.unsafe(setting.place, best)
    measured = f"{drawn}, median sigma 0.5"
    expected = f"{best}, median sigma {MEDIAN} at 1024x1024" if best != SHIFT else f"{SHIFT} by discrete_flow_shift"
    severity = NOTE if is_from_metadata(subject) else WARN
    yield Finding(RULE, setting.place, message, measured, expected, suggestion, severity, fix)


def _best(training: Training) -> str | None:
    """Return the setting that shifts the levels; None where it is not known for the family."""
    shift = number(training.get("discrete_flow_shift"))
    known = RECOMMENDED.get(family(training))
    return SHIFT if known and shift is not None and shift > 1 else known


def _drawn(training: Training) -> str:
    """Return how unshifted levels are drawn; "" where they are shifted."""
    how = word(training, KEY)
    shift = number(training.get("discrete_flow_shift"))
    if how == SHIFT and shift is not None and 0 < shift <= 1:
        return f"{how} by {shift:g}"
    return how if how in ("uniform", "sigmoid") else ""


def _is_schnell(training: Training) -> bool:
    return training.base is not None and training.base.identity.variant == "schnell"


def bad() -> Subject:
    return command(
        """
        accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors \\
          --dataset_config data.toml --guidance_scale 1.0 --timestep_sampling sigmoid
        """
    )


def good() -> Subject:
    return command(
        """
        accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors \\
          --dataset_config data.toml --guidance_scale 1.0 --timestep_sampling flux_shift
        """
    )
