"""Gradients are accumulated over several batches, but zeroed before each of them: only the last one counts.

Why: with N batches to a step, a `zero_grad` that runs for every batch leaves the gradient of the last of them, 1/N of
the data, with a loss that is divided by N as well. With accelerate, `zero_grad` of the optimizer does nothing until the
last batch of a step; before `backward` it then removes the N - 1 gradients that were accumulated.
Shown: how many of the gradients are lost.
Instead: call `zero_grad` right after `optimizer.step()`, under the same condition.
Fix: none; two lines change places.
Source: accelerate/optimizer.py, AcceleratedOptimizer.zero_grad; huggingface/accelerate#1299, #616;
modelscope/DiffSynth-Studio#1388; huggingface/diffusers#9633.
"""

import ast
from collections.abc import Iterator, Sequence

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.rules.training._loops import LoopCall, training_loops
from unnoise.check.script_numbers import script_numbers
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import calls, keyword, place_of

RULE = Rule(id="UN521", name="gradients-zeroed-between-batches", severity=WARN, checks="script")
COUNT = {"Accelerator": "gradient_accumulation_steps", "GradientAccumulationPlugin": "num_steps"}


def check(script: Script) -> Iterator[Finding]:
    for _, found in training_loops(script.tree):
        for zero, count in (*_by_hand(found), *_with_accelerate(script, found)):
            yield from _finding(script, zero, count)


def _by_hand(found: Sequence[LoopCall]) -> Iterator[tuple[LoopCall, ast.expr]]:
    """Find a `zero_grad` of every batch in a loop that updates the weights at every N-th."""
    counts = [call.guard for call in found if call.guard is not None and _updates(call)]
    backward = any(call.method == "backward" and call.guard is None for call in found)
    if counts and backward and not any(_updates(call) and call.guard is None for call in found):
        yield from ((call, counts[0]) for call in found if call.method == "zero_grad" and call.guard is None)


def _with_accelerate(script: Script, found: Sequence[LoopCall]) -> Iterator[tuple[LoopCall, ast.expr]]:
    """Find a `zero_grad` before `backward` inside `accelerator.accumulate`, or that of a network anywhere in it."""
    inside = [call for call in found if call.accumulates and call.guard is None]
    count = next((number for call, name in calls(script) if (number := keyword(call, COUNT.get(name, "")))), None)
    backward = next((at for at, call in enumerate(inside) if call.method == "backward"), None)
    if count is None or backward is None or not any(_updates(call) for call in inside):
        return
    for at, call in enumerate(inside):
        if call.method == "zero_grad" and (at < backward or "opt" not in call.owner):
            yield call, count


def _updates(call: LoopCall) -> bool:
    return call.method == "step" and ("opt" in call.owner or "scaler" in call.owner)


def _finding(script: Script, zero: LoopCall, count: ast.expr) -> Iterator[Finding]:
    number = script_numbers(script).number(count)
    is_literal = isinstance(count, ast.Constant)
    if number is not None and number <= 1 and is_literal:
        return
    times = f"{number:g}" if number is not None and number > 1 else ast.unparse(count)[:60]
    lost = f"{number - 1:g} of {number:g}" if number is not None and number > 1 else "all but 1"
    message = "gradients are accumulated over several batches and zeroed at every one of them"
    suggestion = "call zero_grad after the step, under the same condition"
    severity = NOTE if number is not None and number <= 1 else WARN
    place = place_of(script, zero.call)
    yield Finding(RULE, place, message, f"{lost} gradients lost", f"0 lost of {times}", suggestion, severity)


LOOP = """
    def train(unet, optimizer, batches, accumulation_steps=4):
        for i, batch in enumerate(batches):
            {}
            loss = unet.loss(batch) / accumulation_steps
            loss.backward()
            if (i + 1) % accumulation_steps == 0:
                optimizer.step()
                {}
"""


def bad() -> Subject:
    return script(LOOP.format("optimizer.zero_grad()", "print(i)"))


def good() -> Subject:
    return script(LOOP.format("unet.train()", "optimizer.zero_grad()"))
