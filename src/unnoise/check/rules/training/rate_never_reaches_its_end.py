"""The learning rate schedule counts other steps than the training and does not reach its end.

Why: a warmup longer than the training never reaches the set learning rate: 500 steps of warmup in 400 steps of training
end at 0.8 of it. A cosine schedule for N times the steps ends at 0.98, 0.85 or 0.5 (N = 10, 4 or 2, computed) instead
of 0. A schedule that is stepped N times too often ends after 1/N of the training.
Shown: both numbers of steps.
Instead: count optimizer steps in both.
Fix: none; it is not known which of the two numbers is meant.
Source: huggingface/diffusers#3954, #4387, #9633; diffusers/optimization.py, get_cosine_schedule_with_warmup;
accelerate/scheduler.py, AcceleratedScheduler.step, which skips gradient accumulation steps.
"""

import ast
import re
from collections.abc import Iterator, Sequence

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Finding, Rule, Severity
from unnoise.check.rules.training._shared import number, word
from unnoise.check.subject import Location, Script, Subject, Training
from unnoise.check.syntax import calls, dotted, keyword, last_name, names_in, place_of

RULE = Rule(id="UN511", name="rate-never-reaches-its-end", severity=WARN)
RISING = {"linear", "cosine", "cosine_with_restarts", "polynomial", "constant_with_warmup", "cosine_with_min_lr"}
WARMUP = {"diffusers": 500.0, "kohya": 0.0}  # by default
# The length of a schedule, and the words in it that tell its unit.
LENGTH = ("num_training_steps", "T_max", "total_steps", "total_iters")
TIMES = re.compile(r"\*\s*[\w.]*accum")  # updates times batches for each
UPDATES = re.compile(r"accum|update|optimi[sz]|max_train_steps|global_step", re.IGNORECASE)
BATCHES = re.compile(r"batch|loader|epoch", re.IGNORECASE)
DEEPEST = 30  # statements inside one another
LOWEST = 0.5  # of the set learning rate, in recipes of this program


def check(subject: Subject) -> Iterator[Finding]:
    for training in subject.trainings:
        if training.tool in WARMUP:
            yield from _rise(training)
        for part in ("denoiser", "autoencoder") if training.tool == "unnoise" else ():
            yield from _own(training, part)
    if subject.script is not None:
        yield from _built_too_long(subject.script)
        yield from _stepped_too_often(subject.script)


def _rise(training: Training) -> Iterator[Finding]:
    steps, setting = number(training.get("max_train_steps")), training.get("lr_warmup_steps")
    rise = number(setting) if setting else WARMUP[training.tool]
    if steps is None or rise is None or training.get("max_train_epochs") is not None:
        return
    if rise < max(steps, 2) or word(training, "lr_scheduler") not in RISING:
        return
    place = setting.place if setting else training.place
    yield _finding(place, f"{rise:g} steps of warmup", f"fewer than the {steps:g} steps of the training")


def _own(training: Training, part: str) -> Iterator[Finding]:
    """Compute the highest learning rate of a recipe of this program; it rises over `warmup`, falls over `decay`."""
    setting = training.get(f"{part}.fit.warmup")
    steps, rise = number(training.get(f"{part}.fit.steps")), number(setting)
    decay = number(training.get(f"{part}.fit.decay"))
    if setting is None or steps is None or rise is None or not 1 <= steps < 1e9 or rise <= 0:
        return
    fall = max((0.5 if decay is None else decay) * steps, 1.0)
    turns = (min(rise, steps), steps / 2, steps - fall)
    peak = max(min(1.0, at / rise) * min(1.0, (steps - at) / fall) for at in turns)
    if peak < LOWEST:
        yield _finding(setting.place, f"{peak:.2g} of the set learning rate at most", "1, a shorter warmup")


def _finding(place: Location, measured: str, expected: str, severity: Severity = WARN) -> Finding:
    message = "the learning rate schedule counts other steps than the training and does not reach its end"
    return Finding(RULE, place, message, measured, expected, "count optimizer steps in both", severity)


def _built_too_long(script: Script) -> Iterator[Finding]:
    """Find schedules for N times the steps that a script steps only after gradient accumulation."""
    if not any(name == "accumulate" for _, name in calls(script)):
        return
    for length in (keyword(call, "num_training_steps") for call, _ in calls(script)):
        if not isinstance(length, ast.BinOp) or not isinstance(length.op, ast.Mult):
            continue
        name = next((name for name in names_in(length) if "accum" in name), "")
        count = script.constants.get(name)
        if name and count != 1:
            times = f"{count} times" if type(count) is int else f"{name} times"
            severity = WARN if type(count) is int else NOTE
            yield _finding(place_of(script, length), f"{times} the steps of the training", "1 time", severity)


def _stepped_too_often(script: Script) -> Iterator[Finding]:
    """Find loops that step the schedule at every batch and the optimizer at every N-th.

    A schedule whose length is counted in batches is right so; with a length of an unknown unit it is a note.
    """
    lengths: list[str] | None = None
    for loop in ast.walk(script.tree):
        steps = list(_steps(loop.body, "")) if isinstance(loop, ast.For | ast.While) else []
        counts = {guard for name, guard, _ in steps if guard and "optim" in name}
        for call in [call for name, guard, call in steps if counts and not guard and "sched" in name]:
            lengths = _lengths(script) if lengths is None else lengths
            unit = _unit(lengths, loop)
            if unit != "batches":
                expected, severity = f"1 in {min(counts)} batches", NOTE if unit == "unknown" else WARN
                yield _finding(place_of(script, call), "1 schedule step a batch", expected, severity)


def _lengths(script: Script) -> list[str]:
    """List the lengths of the schedules that a script creates, as texts; a name is followed to what it is assigned."""
    stated = [value for call, _ in calls(script) for key in LENGTH if (value := keyword(call, key)) is not None]
    found = {name: [name] for value in stated if (name := dotted(value))}
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and (name := dotted(node.targets[0])) in found:
            found[name].append(ast.unparse(node.value))
    return [" ".join(found.get(dotted(value)) or [ast.unparse(value)]) for value in stated]


def _unit(lengths: Sequence[str], loop: ast.AST) -> str:
    """Return what the lengths of schedules count: "updates", "batches", or "unknown"; "" where none is stated."""
    text = " ".join(lengths)
    if not lengths:
        return ""
    if TIMES.search(text):
        return "batches"
    if UPDATES.search(text):
        return "updates"
    over = ast.unparse(loop.iter) if isinstance(loop, ast.For) else ""
    is_counted = any(f"range({length.split(' ')[0]})" in over for length in lengths)
    return "batches" if is_counted or BATCHES.search(text) else "unknown"


def _steps(body: Sequence[ast.stmt], guard: str, depth: int = 0) -> Iterator[tuple[str, str, ast.Call]]:
    """List the calls `x.step()` of a loop, without inner loops, each with the divisors of batch counters around it."""
    for node in body if depth < DEEPEST else ():
        if isinstance(node, ast.If):
            yield from _steps(node.body, guard or _counted(node.test), depth + 1)
            yield from _steps(node.orelse, guard, depth + 1)
        elif isinstance(node, ast.With | ast.Try):
            yield from _steps(node.body, guard, depth + 1)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not node.value.args:
            func = node.value.func
            if isinstance(func, ast.Attribute) and func.attr == "step":
                yield last_name(func.value).lower(), guard, node.value


def _counted(test: ast.expr) -> str:
    """Return the name that a condition such as `(i + 1) % accumulation == 0` divides by."""
    for node in ast.walk(test):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and "accum" in last_name(node.right).lower():
            return last_name(node.right)
    return ""


def bad() -> Subject:
    return command(
        """
        python train_dreambooth.py --pretrained_model_name_or_path stable-diffusion-v1-5/stable-diffusion-v1-5 \\
          --instance_data_dir dog --instance_prompt "a photo of sks dog" --resolution 512 \\
          --lr_scheduler cosine --lr_warmup_steps 500 --max_train_steps 400
        """
    )


def good() -> Subject:
    return command(
        """
        python train_dreambooth.py --pretrained_model_name_or_path stable-diffusion-v1-5/stable-diffusion-v1-5 \\
          --instance_data_dir dog --instance_prompt "a photo of sks dog" --resolution 512 \\
          --lr_scheduler cosine --lr_warmup_steps 40 --max_train_steps 400
        """
    )
