"""The training size is far from the native size of the base, at which the result will be used.

Why: a base works well near the area of its own training: SD 1 at 512 x 512, SDXL at 1024 x 1024. Examples of sd-scripts
and diffusers use a quarter of that area to about twice it; SDXL at 256 x 256 has a sixteenth, SD 1 at 1024 x 1024 four
times that area.
Shown: the size of the training and the areas of published examples.
Instead: train near the native size of the base.
Fix: none; it needs images of that size.
Source: huggingface/diffusers, examples/text_to_image/README_sdxl.md (512) and examples/*/README.md; Podell et al. 2023,
arXiv:2307.01952, section 2.2; huggingface/diffusers#4867; Nerogar/OneTrainer, training_presets (Qwen-Image at 512).
"""

import re
from collections.abc import Iterator
from math import sqrt
from typing import Any

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.rules.training._shared import is_from_metadata, number
from unnoise.check.subject import Located, Subject, Training

RULE = Rule(id="UN513", name="size-of-training-off", severity=WARN, checks="training", with_subject=True)
EDITING = "train_instruct_pix2pix"  # its own examples train SDXL at 256 x 256
SMALLER = {"qwen-image": 0.14}  # of 1328x1328; presets of OneTrainer train at 512x512
LEAST = 0.25  # of the native area, in training examples; sampling examples do not go that low


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    return _own(training) if training.tool == "unnoise" else _foreign(training, is_from_metadata(subject))


def _foreign(training: Training, remembered: bool) -> Iterator[Finding]:
    setting = training.get("resolution")
    size = _size(setting)
    facts = training.base.facts if training.base else None
    if setting is None or size is None or facts is None or facts.size is None or facts.modality != "image":
        return
    native = facts.size[0] * facts.size[1]
    family = training.base.identity.family if training.base else ""
    low, high = min(facts.area[0], SMALLER.get(family, LEAST)), facts.area[1]
    if not 0.99 * low <= size[0] * size[1] / native <= 1.01 * high:
        sides = [round(sqrt(ratio * native)) for ratio in (low, high)]
        message = f"the size of this training is far from the native size of {facts.title}"
        suggestion = f"train near {facts.size[0]}x{facts.size[1]}"
        measured = f"{size[0]}x{size[1]}"
        expected = f"the area of {sides[0]}x{sides[0]} to {sides[1]}x{sides[1]}"
        severity = NOTE if remembered or training.script.startswith(EDITING) else WARN
        yield Finding(RULE, setting.place, message, measured, expected, suggestion, severity)


def _size(setting: Located[Any] | None) -> tuple[int, int] | None:
    """Read 512, "512,768", "(512, 768)" or [512, 768]: width and height."""
    value = setting.value if setting else None
    if isinstance(value, str) and len(value) < 40:
        found = re.fullmatch(r"[(\[]?\s*(\d{1,6})(?:\s*[,x]\s*(\d{1,6}))?\s*[)\]]?", value.strip())
        return (int(found[1]), int(found[2] or found[1])) if found else None
    width, height = value if isinstance(value, list) and len(value) == 2 else (value, value)
    if type(width) is not int or type(height) is not int:
        return None
    return (width, height) if 0 < width < 1_000_000 and 0 < height < 1_000_000 else None


def _own(training: Training) -> Iterator[Finding]:
    """Compare the size of the data with the sizes of the recipe's advice."""
    setting, listed = training.get("data.size"), training.get("advice.sizes")
    side = number(setting)
    sizes = listed.value if listed and isinstance(listed.value, list) else []
    if setting is None or listed is None or side is None or not sizes or [side, side] in sizes:
        return
    message = "the advised sizes of this recipe do not contain the size of its data"
    suggestion = "list the size of the data first"
    measured = f"sizes {str(sizes)[:60]}"
    yield Finding(RULE, listed.place, message, measured, f"[{side:g}, {side:g}] among them", suggestion)


def bad() -> Subject:
    return command(
        """
        python train_text_to_image_lora_sdxl.py --resolution 256 --dataset_name lambdalabs/naruto-blip-captions \\
          --pretrained_model_name_or_path stabilityai/stable-diffusion-xl-base-1.0
        """
    )


def good() -> Subject:
    return command(
        """
        python train_text_to_image_lora_sdxl.py --resolution 1024 --dataset_name lambdalabs/naruto-blip-captions \\
          --pretrained_model_name_or_path stabilityai/stable-diffusion-xl-base-1.0
        """
    )
