"""A LoRA was trained on other weights than those of the model in the metadata.

Why: it fits, but was trained to change other weights: the more the two differ, the less it reproduces its author's
results. sd-scripts writes the SHA-256 of the base into the LoRA; A1111 writes the first 10 digits of the model's hash
into every image, so the two can be compared exactly. A LoRA of unnoise contains the fingerprint of its base, a model of
unnoise its own, and every image that of its model.
Shown: both hashes.
Instead: for the author's results use the model that the LoRA was trained on.
Fix: none; it is not known which model is meant.
Source: kohya-ss/sd-scripts, library/train_util.py, calculate_sha256; AUTOMATIC1111, modules/hashes.py.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import infotext, together
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya, own_model
from unnoise.check.subject import GenerationRun, Subject, Use
from unnoise.families.own import base_card

RULE = Rule(id="UN613", name="lora-of-another-base", severity=NOTE)


def check(subject: Subject) -> Iterator[Finding]:
    yield from _ours(subject)
    for run in subject.runs:
        used = _model_hash(run)
        for use in run.adapters if used else ():
            file = use.adapter.weights
            trained = file.header.metadata.get("ss_new_sd_model_hash", "").lower() if file and file.lora else ""
            if re.fullmatch(r"[0-9a-f]{64}", trained) and not trained.startswith(used):
                name = file.header.metadata.get("ss_sd_model_name", "")[:100] if file else ""
                message = f"the LoRA {use.adapter.name} was trained on other weights than those it is used with"
                suggestion = "for its author's results, use the model that it was trained on"
                measured = f"model {used}"
                expected = f"model {trained[:10]}{f' ({name})' if name else ''}"
                yield Finding(RULE, use.place, message, measured, expected, suggestion)


def _ours(subject: Subject) -> Iterator[Finding]:
    for use, run in _uses(subject):
        file = use.adapter.weights
        base = base_card(file.header.metadata) if file and file.lora else {}
        model = own_model(use.base)
        if model is not None and model.side_of(base):
            continue  # UN617 checks it
        used = _fingerprint(run) if run else model.fingerprint if model else ""
        trained = base.get("fingerprint", "")
        if trained and used and trained != used:
            message = f"the LoRA {use.adapter.name} was trained on other weights than those it is used with"
            suggestion = "for its author's results, use the model that it was trained on"
            measured = f"model {used[:12]}"
            expected = f"model {trained[:12]} ({base.get('name', '')[:100]})"
            yield Finding(RULE, use.place, message, measured, expected, suggestion)


def _uses(subject: Subject) -> Iterator[tuple[Use, GenerationRun | None]]:
    yield from ((use, run) for run in subject.runs for use in run.adapters)
    yield from ((use, None) for use in subject.uses)


def _fingerprint(run: GenerationRun) -> str:
    recorded = run.others.get("fingerprint")
    return recorded.value if recorded and isinstance(recorded.value, str) else ""


def _model_hash(run: GenerationRun) -> str:
    recorded = run.others.get("Model hash")
    value = recorded.value.lower() if recorded and isinstance(recorded.value, str) else ""
    return value if re.fullmatch(r"[0-9a-f]{10}", value) else ""


def bad() -> Subject:
    layer = "unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    lora = kohya({layer: (768, 1280)}, path="style.safetensors", ss_new_sd_model_hash="6ce0161689" + "0" * 54)
    text = """
        a lighthouse <lora:style:1>
        Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: c0d1994c73, Version: v1.10.1
    """
    return together(lora, infotext(text))


def good() -> Subject:
    layer = "unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    lora = kohya({layer: (768, 1280)}, path="style.safetensors", ss_new_sd_model_hash="c0d1994c73" + "0" * 54)
    text = """
        a lighthouse <lora:style:1>
        Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: c0d1994c73, Version: v1.10.1
    """
    return together(lora, infotext(text))
