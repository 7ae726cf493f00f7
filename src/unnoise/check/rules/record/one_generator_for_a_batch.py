"""One generator draws several images; only the first can be reproduced alone.

Why: the random numbers of image k follow those of the k - 1 images before it. In a batch of 4 with one seed, 3 images
can be reproduced only with the same batch. With a generator each, every image has its own seed.
Shown: the number of images of one seed.
Instead: generator=[torch.Generator("cpu").manual_seed(seed + k) for k in range(n)].
Fix: show.
Source: huggingface/diffusers#2659; diffusers, docs, "Reproducible pipelines" and utils/torch_utils.py, randn_tensor.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN906", name="one-generator-for-a-batch", severity=NOTE, checks="run")
INSTEAD = "pass a list of generators, one for each image"


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool == "diffusers" and run.seed is not None and (pictures := _pictures(run)) > 1:
        message = "one seed draws the whole batch, so only the first image can be reproduced alone"
        fix = Fix.show(INSTEAD)
        yield Finding(RULE, run.seed.place, message, f"{pictures} images", "a seed for each", INSTEAD, fix=fix)


def _pictures(run: GenerationRun) -> int:
    prompt = run.others.get("prompt")
    prompts = len(prompt.value) if prompt is not None and isinstance(prompt.value, list | tuple) else 1
    return prompts * (run.batch.value if run.batch is not None else 1)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        seeded = torch.Generator("cpu").manual_seed(7)
        pipe("a lighthouse at dawn", num_inference_steps=30, num_images_per_prompt=4, generator=seeded)
    """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        seeded = [torch.Generator("cpu").manual_seed(7 + number) for number in range(4)]
        pipe("a lighthouse at dawn", num_inference_steps=30, num_images_per_prompt=4, generator=seeded)
    """)
