"""Learning rates of a LoRA training, as far as their size has the usual meaning."""

import re
from typing import Any

from unnoise.check.coerce import stated_number
from unnoise.check.rules.training._shared import is_on, word
from unnoise.check.subject import Located, Training

DENOISER, TEXT, BOTH = "unet_lr", "text_encoder_lr", "learning_rate"
# Optimizers whose rate is that of Adam. Prodigy and D-Adaptation find their own rate from 1, Lion needs a tenth, and
# Adafactor may scale its own.   Source: kohya-ss/sd-scripts, library/train_util.py, get_optimizer
ADAM = re.compile(r"(?:^|\.)(?:Paged)?AdamW?(?:8bit|32bit|4bit|Fp8)?(?:\(|$)", re.IGNORECASE)
SWITCHES = ("use_lion_optimizer",)


def is_adam(training: Training) -> bool:
    """Return whether the optimizer is Adam in one of its forms, which all trainers take by default."""
    name = word(training, "optimizer_type") or word(training, "optimizer")
    return (not name or ADAM.search(name) is not None) and not any(is_on(training, key) for key in SWITCHES)


def rate(training: Training, *keys: str) -> tuple[float, Located[Any]] | None:
    """Return the first learning rate that is stated, with its setting; the largest of several text encoders."""
    for key in keys:
        setting = training.get(key)
        if setting is None:
            continue
        values = setting.value if isinstance(setting.value, list) else [setting.value]
        numbers = [stated_number(Located(value, setting.place)) for value in values]
        known = [one.value for one in numbers if one is not None]
        return (max(known), setting) if known and len(known) == len(numbers) and min(known) >= 0 else None
    return None


def dimension(training: Training, key: str) -> float | None:
    """Return a rank or an alpha as a positive number."""
    found = stated_number(training.get(key))
    return found.value if found is not None and found.value > 0 else None
