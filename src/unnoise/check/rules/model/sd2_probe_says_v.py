"""A Stable Diffusion 2 file states noise prediction, but its weights are those of a v-prediction model.

Why: both kinds have the same tensors, but one bias in the last block has a deviation above 0.09 only in models that
predict v. ComfyUI distinguishes them by it. Read as noise, v gives a blurred, over-bright image.
Shown: the deviation of the bias.
Instead: prediction_type="v_prediction".
Fix: none; the metadata of the file is not rewritten.
Source: ComfyUI, comfy/supported_models.py, SD20.model_type.
"""

from collections.abc import Iterator
from math import sqrt

from unnoise.check.examples import weights
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.rules.model._shared import assumed_prediction
from unnoise.check.sample_headers import SAMPLE_HEADERS
from unnoise.check.subject import Location, Subject, Weights

RULE = Rule(id="UN206", name="sd2-probe-says-v", severity=WARN, needs=Needs.WEIGHTS)
NORM = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
LIMIT = 0.09
FEWEST = 100  # numbers; the bias has 320


def check(subject: Subject) -> Iterator[Finding]:
    for one in subject.weights:
        if one.identity.prediction == "eps" or (one.identity.variant == "base" and not one.identity.prediction):
            yield from _finding(one, one.place, "the file states noise prediction; its weights match v prediction")
    for run in subject.runs:
        found = assumed_prediction(run, subject)
        if run.model is not None and run.model.weights is not None and found is not None and found[0] == "epsilon":
            yield from _finding(
                run.model.weights, found[1], "the run assumes noise prediction; its weights match v prediction"
            )


def _finding(one: Weights, place: Location, message: str) -> Iterator[Finding]:
    found = deviation(one) if one.identity.family == "sd2" else None
    if found is not None and found > LIMIT:
        suggestion = 'write prediction_type="v_prediction", or check that the image is better with epsilon'
        yield Finding(RULE, place, message, f"deviation {found:.3f}", f"at most {LIMIT}", suggestion)


def deviation(one: Weights) -> float | None:
    """Return the deviation of the bias that distinguishes them; None where it was not read."""
    values = next((values for name, values in one.values.items() if name.endswith(NORM)), ())
    if len(values) < FEWEST:
        return None
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) * (value - mean) for value in values) / len(values))


def _file(width: float) -> Subject:
    name = f"model.diffusion_model.{NORM}"
    values = {name: tuple(width if index % 2 else -width for index in range(320))}
    metadata = {"modelspec.architecture": "stable-diffusion-v2-512", "modelspec.prediction_type": "epsilon"}
    return weights({**SAMPLE_HEADERS["sd2", ""], name: ("F16", (320,))}, metadata=metadata, values=values)


def bad() -> Subject:
    return _file(0.12)


def good() -> Subject:
    return _file(0.05)
