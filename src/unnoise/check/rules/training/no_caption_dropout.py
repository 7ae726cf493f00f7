"""A model for classifier-free guidance is trained without caption dropout.

Why: guidance extrapolates from the prediction without a prompt, null + weight*(cond - null). Without caption dropout
that prediction is not trained. Published recipes drop 10 % (Stable Diffusion 1.5) to 20 % (Ho and Salimans). For a LoRA
or a short fine-tune it is a note, because the base was trained with dropout.
Shown: the share of dropped captions.
Instead: drop about one caption in ten.
Fix: unsafe: write 0.1, where the share is stated.
Source: Ho and Salimans 2022, arXiv:2207.12598, section 4; runwayml/stable-diffusion-v1-5, model card; NVlabs/Sana#188;
kohya-ss/sd-scripts, library/config_util.py, caption_dropout_rate = 0.0 by default.
"""

from collections.abc import Iterator
from typing import Any

from unnoise.check.examples import toml
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule, Severity
from unnoise.check.rules.training._shared import is_on, number, option
from unnoise.check.subject import Located, Subject, Training

RULE = Rule(id="UN502", name="no-caption-dropout", severity=WARN, checks="training")
KEYS = {"unnoise": "denoiser.caption_dropout", "kohya": "caption_dropout_rate", "diffusers": "proportion_empty_prompts"}
RATE = 0.1
TEXTUAL = "textual_inversion"


def check(training: Training) -> Iterator[Finding]:
    setting = training.get(KEYS.get(training.tool, ""))
    place = setting.place if setting else training.place
    if training.tool not in KEYS or not _drops_none(training, setting) or not _is_guided(training):
        return
    message = "no captions are dropped, so the unconditional prediction that guidance needs is not trained"
    suggestion = f"train with {option(training, _leaf(training), RATE)}"
    fix = Fix.unsafe(setting.place, RATE) if setting else None
    measured = f"{_leaf(training)} 0" if setting else f"{_leaf(training)} 0, the default"
    yield Finding(RULE, place, message, measured, "0.05 to 0.2", suggestion, _severity(training), fix)


def _leaf(training: Training) -> str:
    return KEYS[training.tool].rpartition(".")[2]


def _drops_none(training: Training, setting: Located[Any] | None) -> bool:
    if setting is not None:
        return number(setting) == 0 and not is_on(training, "caption_dropout_every_n_epochs")
    if not training.complete:
        return False
    if training.tool == "diffusers":
        return training.script == "train_text_to_image_sdxl.py"
    whole = training.get("train_data_dir") is not None and training.get("dataset_config") is None
    whole = whole and TEXTUAL not in training.script  # this one has no dropout
    return training.tool == "kohya" and whole and not is_on(training, "caption_dropout_every_n_epochs")


def _is_guided(training: Training) -> bool:
    """Return whether the model is sampled with guidance, by its advice or its family."""
    if training.tool == "unnoise":
        advised = number(training.get("advice.guidance_scale"))
        return advised is not None and advised > 1
    facts = training.base.facts if training.base else None
    return facts is not None and not facts.distilled and facts.guidance is not None and facts.guidance[1] > 1


def _severity(training: Training) -> Severity:
    return WARN if training.tool == "unnoise" else NOTE


def bad() -> Subject:
    return toml(
        """
        name = "faces"
        advice = { guidance_scale = 3.0 }
        data = { source = "faces", size = 64 }

        [denoiser]
        caption_dropout = 0.0
        process = { class = "Flow" }
        """
    )


def good() -> Subject:
    return toml(
        """
        name = "faces"
        advice = { guidance_scale = 3.0 }
        data = { source = "faces", size = 64 }

        [denoiser]
        caption_dropout = 0.1
        process = { class = "Flow" }
        """
    )
