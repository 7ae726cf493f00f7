"""LLaDA decides a long answer in one block while its end token keeps its confidence, and the answer ends early.

Why: the instruct models were trained on answers padded with end tokens, so of 256 open places the surest are ends: they
are decided first, and little text is left before them. Blocks of 8 to 64 tokens prevent it. The switch
`confidence_eos_eot_inf` of LLaDA's own generate.py lowers 1 of the 2 end tokens: the line for 126081 changes logits
that were already drawn from.
Shown: the block and the answer in tokens, or the tokens that are lowered.
Instead: `block_length=32`, or set both `logits[:, :, 126081]` and `logits[:, :, 126348]` before the confidence is
taken.
Fix: none.
Source: Nie et al. 2025, arXiv:2502.09992, appendix B.3; ML-GSAI/LLaDA#137 and generate.py; DreamLM/Dream#51.
"""

import ast
import re
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.script_numbers import ScriptNumbers, script_numbers
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import calls, dotted, keyword, nodes, place_of

RULE = Rule(id="UN815", name="eos-fills-answer", severity=WARN, checks="script")
SWITCH, OTHER = "confidence_eos_eot_inf", "logits_eos_inf"
LONG = 256  # tokens of an answer
MODEL = re.compile(r"llada", re.IGNORECASE)
INSTRUCT = re.compile(r"llada[\w.-]*(instruct|1\.5)", re.IGNORECASE)


def check(script: Script) -> Iterator[Finding]:
    if not any(MODEL.search(line) for line in script.lines):
        return
    yield from _lowered(script)
    if not any(INSTRUCT.search(line) for line in script.lines):
        return
    numbers = script_numbers(script)
    defined = {node.name for node in nodes(script.tree) if isinstance(node, ast.FunctionDef)}
    for call, name in calls(script):
        if "generate" in name:
            yield from _in_one_block(script, call, numbers, name in defined)


def _lowered(script: Script) -> Iterator[Finding]:
    """Find `noisy[:, :, eos] = logits[:, :, eot] = -inf`, where tokens were already drawn from the noisy logits."""
    drawn = {dotted(call.args[0]) for call, name in calls(script) if name == "argmax" and call.args}
    for node in nodes(script.tree):
        if not isinstance(node, ast.If) or SWITCH not in ast.unparse(node.test):
            continue
        for one in node.body:
            targets = one.targets if isinstance(one, ast.Assign) else []
            names = [dotted(target.value) for target in targets if isinstance(target, ast.Subscript)]
            if len(names) == 2 and len(set(names)) == 2 and names[0] in drawn and names[0]:
                message = f"{SWITCH} lowers one end token, the other was already drawn from {names[0]}"
                suggestion = f"write {names[1]} in both"
                yield Finding(RULE, place_of(script, one), message, "1 of 2 tokens lowered", "2 of 2", suggestion)


def _in_one_block(script: Script, call: ast.Call, numbers: ScriptNumbers, is_own: bool) -> Iterator[Finding]:
    """Find a long answer in one block with low-confidence remasking and without a switch for end tokens."""
    length, block = numbers.number(keyword(call, "gen_length")), numbers.number(keyword(call, "block_length"))
    if length is None or block is None or length < LONG or block < length:
        return
    remasking = keyword(call, "remasking")
    if remasking is not None and not (isinstance(remasking, ast.Constant) and remasking.value == "low_confidence"):
        return
    if any(keyword(call, name) is not None for name in (SWITCH, OTHER)) or any(
        given.arg is None for given in call.keywords
    ):
        return
    message = "a long answer is decided in one block, where end tokens are the surest"
    severity = NOTE if is_own else WARN
    measured = f"a block of {block:g} for {length:g} tokens"
    yield Finding(RULE, place_of(script, call), message, measured, "8 to 64", "write block_length=32", severity)


RUN = """
    import torch
    from generate import generate
    from transformers import AutoModel, AutoTokenizer

    name = "GSAI-ML/LLaDA-8B-Instruct"
    model = AutoModel.from_pretrained(name, torch_dtype=torch.bfloat16)
    ids = AutoTokenizer.from_pretrained(name)("How far is the moon?", return_tensors="pt").input_ids
    print(generate(model, ids, steps=512, gen_length=512, block_length={}, remasking="low_confidence"))
"""


def bad() -> Subject:
    return script(RUN.format(512))


def good() -> Subject:
    return script(RUN.format(32))
