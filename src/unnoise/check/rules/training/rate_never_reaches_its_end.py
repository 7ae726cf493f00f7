"""The learning rate schedule counts other steps than the training and does not reach its end.

Why: a warmup longer than the training never reaches the set learning rate: 500 steps of warmup in 400 steps of training
end at 0.8 of it. A cosine schedule for N times the steps ends at 0.98, 0.85 or 0.5 (N = 10, 4 or 2, computed) instead
of 0. A schedule that is stepped N times too often ends after 1/N of the training: accelerate steps one once for each
process, so that its length has to contain their number.
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
from unnoise.check.rules.training._loops import LoopCall, training_loops
from unnoise.check.rules.training._shared import number, word
from unnoise.check.script_numbers import script_numbers
from unnoise.check.subject import Location, Script, Subject, Training
from unnoise.check.syntax import calls, dotted, keyword, last_name, name_of, nodes, place_of

RULE = Rule(id="UN511", name="rate-never-reaches-its-end", severity=WARN)
RISING = {"linear", "cosine", "cosine_with_restarts", "polynomial", "constant_with_warmup", "cosine_with_min_lr"}
WARMUP = {"diffusers": 500.0, "kohya": 0.0}  # by default
# The length of a schedule, and the words in it that tell its unit.
LENGTH = ("num_training_steps", "T_max", "total_steps", "total_iters")
TIMES = re.compile(r"\*\s*[\w.]*accum")  # updates times batches for each
UPDATES = re.compile(r"accum|update|optimi[sz]|max_train_steps|global_step", re.IGNORECASE)
BATCHES = re.compile(r"batch|loader|epoch", re.IGNORECASE)
IN_BATCHES = re.compile(r"\blen\([\w.]*(?:loader|batches|dataset)[\w.]*\)", re.IGNORECASE)
LOWEST = 0.5  # of the set learning rate, in recipes of this program


def check(subject: Subject) -> Iterator[Finding]:
    for training in subject.trainings:
        if training.tool in WARMUP:
            yield from _rise(training)
        for part in ("denoiser", "autoencoder") if training.tool == "unnoise" else ():
            yield from _own(training, part)
    if subject.script is not None:
        yield from _built_too_long(subject.script)
        yield from _counted_in_batches(subject.script)
        yield from _without_processes(subject.script)
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
    is_accelerated = any(name == "accumulate" for _, name in calls(script))
    for length in (keyword(call, "num_training_steps") for call, _ in calls(script) if is_accelerated):
        names = [name_of(factor) for factor in _factors(length)] if isinstance(length, ast.BinOp) else []
        name = next((name for name in names if "accum" in name), "")
        count = script.constants.get(name)
        if name and count != 1 and length is not None:
            times = f"{count} times" if type(count) is int else f"{name} times"
            severity = WARN if type(count) is int else NOTE
            yield _finding(place_of(script, length), f"{times} the steps of the training", "1 time", severity)


def _factors(node: ast.expr | None) -> Iterator[ast.expr]:
    """List the factors of a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from _factors(node.left)
        yield from _factors(node.right)
    elif node is not None:
        yield node


def _counted_in_batches(script: Script) -> Iterator[Finding]:
    """Find schedules whose length is that of all batches and which are stepped at every N-th alone."""
    lengths = [(node, text) for node, text in _lengths(script) if IN_BATCHES.search(text) and not UPDATES.search(text)]
    if not lengths:
        return
    number = script_numbers(script).number
    counts = [value for call, _ in calls(script) if (value := keyword(call, "gradient_accumulation_steps")) is not None]
    stepped = [call for _, found in training_loops(script.tree) for call in found if _is_schedule(call)]
    if not _is_prepared(script):
        counts = [call.guard for call in stepped if call.guard is not None]
        stepped = [call for call in stepped if call.guard is not None]
    found = {number(count) for count in counts}
    count = next(iter(found)) if len(found) == 1 else None
    if stepped and count is not None and count > 1:
        for node, _ in lengths:
            yield _finding(place_of(script, node), f"the number of batches, {count:g} times the updates", "1 time")


def _without_processes(script: Script) -> Iterator[Finding]:
    """Find schedules that accelerate steps once for each process, in a script that counts processes elsewhere."""
    if not _is_prepared(script) or not any("num_processes" in line for line in script.lines):
        return
    if any(word in line for line in script.lines for word in ("split_batches", "step_scheduler_with_optimizer")):
        return
    for node, text in _lengths(script):
        if "max_train_steps" in text and not re.search(r"process|accum|world_size", text):
            expected = "the steps of the training times num_processes"
            measured = "1/N of the training with N processes"
            yield _finding(place_of(script, node), measured, expected, NOTE)


def _is_prepared(script: Script) -> bool:
    """Return whether the script passes a schedule to `accelerator.prepare`."""
    prepared = [call for call, name in calls(script) if name == "prepare"]
    return any("sched" in last_name(given).lower() for call in prepared for given in call.args)


def _is_schedule(call: LoopCall) -> bool:
    return call.method == "step" and "sched" in call.owner and not call.call.args


def _stepped_too_often(script: Script) -> Iterator[Finding]:
    """Find loops that step the schedule at every batch and the optimizer at every N-th.

    A schedule whose length is counted in batches is right so; with a length of an unknown unit it is a note.
    """
    lengths: list[str] | None = None
    for loop, steps in training_loops(script.tree):
        guards = [call.guard for call in steps if call.method == "step" and "optim" in call.owner]
        counts = {ast.unparse(guard) for guard in guards if guard is not None and None not in guards}
        for call in [call for call in steps if counts and _is_schedule(call) and call.guard is None]:
            lengths = [text for _, text in _lengths(script)] if lengths is None else lengths
            unit = _unit(lengths, loop)
            if unit != "batches":
                expected, severity = f"1 in {min(counts)} batches", NOTE if unit == "unknown" else WARN
                yield _finding(place_of(script, call.call), "1 schedule step a batch", expected, severity)


def _lengths(script: Script) -> list[tuple[ast.expr, str]]:
    """List the lengths of the schedules that a script creates, with their text; a name is followed to its values."""
    stated = [value for call, _ in calls(script) for key in LENGTH if (value := keyword(call, key)) is not None]
    found = {name: [name] for value in stated if (name := dotted(value))}
    for node in nodes(script.tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and (name := dotted(node.targets[0])) in found:
            found[name].append(ast.unparse(node.value))
    return [(value, " ".join(found.get(dotted(value)) or [ast.unparse(value)])) for value in stated]


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
