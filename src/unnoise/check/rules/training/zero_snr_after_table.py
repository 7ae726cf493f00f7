"""Zero terminal SNR is combined with SNR weights whose table is computed before the betas change.

Why: sd-scripts caches the SNR of every time, then changes the betas to zero terminal SNR without updating the table.
The weights are then those of another schedule: a min-SNR weight for v is 0.014 instead of 0.003 at time 900, 4.8 times
too large, and 0.0047 instead of 0 at the last time (computed for gamma 5).
Shown: the SNR in the table and that of the trained schedule.
Instead: remove one of the two, or build the table after the betas change.
Fix: none; it is not known which of the two is meant.
Source: kohya-ss/sd-scripts#1263; kohya-ss/sd-scripts, train_network.py, get_noise_scheduler:
prepare_scheduler_for_custom_training is called before fix_noise_scheduler_betas_for_zero_terminal_snr.
"""

import ast
from collections.abc import Iterator, Sequence

from unnoise.check.examples import command
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.training._shared import WITH_V, alphas, alphas_to_zero, family, is_on, snr
from unnoise.check.subject import Location, Script, Subject, Training
from unnoise.check.syntax import last_name, nodes, place_of

RULE = Rule(id="UN506", name="zero-snr-after-table", severity=WARN)
KEY = "zero_terminal_snr"
WEIGHTS = ("min_snr_gamma", "scale_v_pred_loss_like_noise_pred", "debiased_estimation_loss", "v_pred_like_loss")
TIME, GAMMA = 900, 5.0
TABLE, CHANGE = "prepare_scheduler_for_custom_training", "fix_noise_scheduler_betas_for_zero_terminal_snr"


def check(subject: Subject) -> Iterator[Finding]:
    for training in (one for one in subject.trainings if one.tool == "kohya"):
        weighed = next((key for key in (*WEIGHTS, "debiased_estimation") if is_on(training, key)), "")
        setting = training.get(KEY)
        if setting is not None and setting.value is True and weighed and _has_betas(training):
            yield _finding(setting.place, weighed)
    if subject.script is not None:
        yield from (_finding(place, CHANGE) for place in _late(subject.script))


def _has_betas(training: Training) -> bool:
    return not family(training) or family(training) in WITH_V


def _finding(place: Location, weighed: str) -> Finding:
    taken, meant = (snr(table[TIME]) for table in (alphas(), alphas_to_zero()))
    message = "the loss weights use the SNR of the betas before zero terminal SNR"
    suggestion = "remove one of the two, or build the table of SNR after the betas change"
    measured = f"{weighed} reads SNR {taken:.2g} at time {TIME}"
    return Finding(RULE, place, message, measured, f"{meant:.2g}, that of the trained schedule", suggestion)


def _late(script: Script) -> Iterator[Location]:
    """List the changes of betas that follow the table in the same list of statements."""
    for node in nodes(script.tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            yield from (place_of(script, call) for call in _behind(body))


def _behind(body: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    tabulated = False
    for statement in body:
        calls = [one for one in ast.walk(statement) if isinstance(one, ast.Call)] if _is_plain(statement) else []
        names = [last_name(call.func) for call in calls]
        if tabulated and CHANGE in names:
            yield calls[names.index(CHANGE)]
        tabulated = tabulated or (TABLE in names and CHANGE not in names)


def _is_plain(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr | ast.If | ast.Assign)


def bad() -> Subject:
    return command(
        """
        accelerate launch sdxl_train_network.py --pretrained_model_name_or_path noobai-xl-vpred-1.0.safetensors \\
          --dataset_config data.toml --v_parameterization --zero_terminal_snr --min_snr_gamma 5
        """
    )


def good() -> Subject:
    return command(
        """
        accelerate launch sdxl_train_network.py --pretrained_model_name_or_path noobai-xl-vpred-1.0.safetensors \\
          --dataset_config data.toml --v_parameterization --zero_terminal_snr
        """
    )
