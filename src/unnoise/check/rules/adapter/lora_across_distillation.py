"""A LoRA of a model is used on the student that was distilled from it, or the other way round.

Why: the LoRA changes what a denoiser predicts at every level, and the student predicts the end of its path instead.
The layers fit, so nothing fails; what the LoRA adds was never measured there, and the levels of the student are few. A
LoRA of TDM-SD3, which is a student, had to run at 0.125 of its strength.
Shown: both models, by their fingerprints.
Instead: use the LoRA on the model that it was trained on; for few steps merge it into the teacher, and distil that.
Fix: none; another file is needed.
Source: Luo et al. 2025, arXiv:2503.06674, model card; modelscope/DiffSynth-Studio#1486.
"""

from collections.abc import Iterator

from unnoise.check.examples import lora, model, together
from unnoise.check.items import loaded
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.adapter._shared import own_model
from unnoise.check.subject import Subject
from unnoise.families.own import base_card

RULE = Rule(id="UN617", name="lora-across-distillation", severity=WARN)


def check(subject: Subject) -> Iterator[Finding]:
    for use in (one.use for one in loaded(subject, "lora")):
        file, used = use.adapter.weights, own_model(use.base)
        base = base_card(file.header.metadata) if file and file.lora else {}
        side = used.side_of(base) if used else ""
        if used and side:
            of = base.get("name", "")[:100]
            message = f"the LoRA {use.adapter.name} was trained on {of}, the {side} of {used.name}"
            suggestion = "use it there; for few steps merge it into the teacher and distil that"
            measured, expected = f"model {used.fingerprint[:12]}", f"model {base['fingerprint'][:12]}"
            yield Finding(RULE, use.place, message, measured, expected, suggestion)


def bad() -> Subject:
    return together(model("fast.safetensors", steps=(1, 2, 4)), lora("ink.safetensors", base="base.safetensors"))


def good() -> Subject:
    return together(model("base.safetensors"), lora("ink.safetensors", base="base.safetensors"))
