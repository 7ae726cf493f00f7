"""Combinations of settings that a tool stops at, so that no fix may write them.

Source: kohya-ss/sd-scripts, train_network.py and sdxl_train.py, on full_fp16 and full_bf16; library/train_util.py,
verify_training_args.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from unnoise.check.rule import Rewrite
from unnoise.check.subject import Subject

ON = True
# A setting that is on, the other one that it needs, and its value.
NEEDS: tuple[tuple[str, str, Any], ...] = (
    ("full_fp16", "mixed_precision", "fp16"),
    ("full_bf16", "mixed_precision", "bf16"),
    ("scale_v_pred_loss_like_noise_pred", "v_parameterization", ON),
    ("v_pred_like_loss", "v_parameterization", False),
)


def refuses(subject: Subject, changes: Sequence[Rewrite]) -> bool:
    """Return whether a tool stops at the settings of a file after changes, and does not before.

    Args:
        subject: with its trainings
        changes: of a fix

    Returns:
        True where a combination is refused only after the changes
    """
    new = {change.place: change.value for change in changes}
    for training in subject.trainings if new else ():
        if training.tool == "kohya":
            before = {key: setting.value for key, setting in training.settings.items()}
            after = {key: new.get(setting.place, setting.value) for key, setting in training.settings.items()}
            if _refused(after) > _refused(before):
                return True
    return False


def _refused(settings: Mapping[str, Any]) -> int:
    """Count the combinations that are refused."""
    return sum(bool(settings.get(key)) and settings.get(other, False) != value for key, other, value in NEEDS)
