"""The embedded guidance scale is outside the range the network was trained on.

Why: FLUX.1 [dev] and its relatives were distilled for a range of scales; outside of it their predictions are arbitrary.
3.5 is the default; published examples use 1 to 10, those of Fill, Depth and Canny up to 50, an LCM 1 to 13. 7.5, the
value of SD, still works; 20 does not, and 0 is less than no guidance.
Shown: the scale and the range of published examples.
Instead: a scale within the range.
Fix: unsafe: write the nearest end of the range.
Source: black-forest-labs/flux, src/flux/cli.py; diffusers/pipelines/flux/pipeline_flux_fill.py, example;
luosiallen/latent-consistency-model, README.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN411", name="embedded-weight-out-of-range", severity=WARN, checks="run")


def check(run: GenerationRun) -> Iterator[Finding]:
    facts = run.facts
    if run.embedded is None or facts is None or facts.embedded is None:
        return
    ranges = [facts.embedded, *(use.adapter.facts.embedded for use in run.adapters if use.adapter.facts)]
    low = min(one[0] for one in ranges if one)
    high = max(one[1] for one in ranges if one)
    if low <= run.embedded.value <= high:
        return
    right = min(max(run.embedded.value, low), high)
    message = f"the network of {facts.title} was not trained on this guidance scale"
    suggestion = f"write {right:g}"
    fix = Fix.unsafe(run.embedded.place, right, f"{right:g}")
    measured = f"guidance {run.embedded.value:g}"
    yield Finding(RULE, run.embedded.place, message, measured, f"{low:g} to {high:g}", suggestion, fix=fix)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline

        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", guidance_scale=20.0, generator=noise).images[0]
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline

        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", guidance_scale=3.5, generator=noise).images[0]
        """)
