"""The noise of a seed is drawn on the GPU; another GPU or another tool gives another image.

Why: CUDA's generator distributes its numbers over the multiprocessors. The same seed gives other noise on another GPU
once a draw is longer than one wave of threads; FLUX.1 at 1024 x 1024 needs 262144 numbers. ComfyUI draws on the CPU,
AUTOMATIC1111 on the GPU.
Shown: the device that draws the noise.
Instead: torch.Generator("cpu"), which diffusers accepts for a pipeline on any device; RNG "CPU" in AUTOMATIC1111.
Fix: unsafe: write "cpu", which draws another image.
Source: huggingface/diffusers#1514; pytorch/pytorch#196613; PyTorch documentation, "Reproducibility"; ComfyUI,
comfy/sample.py, prepare_noise.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Located, Subject

RULE = Rule(id="UN905", name="noise-drawn-on-gpu", severity=NOTE, checks="run")


def check(run: GenerationRun) -> Iterator[Finding]:
    device = _on_gpu(run)
    if device is not None and run.seed is not None:
        message = "the noise of this seed is drawn on the GPU and differs between GPUs"
        fix = Fix.unsafe(device.place, "cpu", '"cpu", which draws another image')
        yield Finding(RULE, device.place, message, device.value, "cpu", 'draw it with torch.Generator("cpu")', fix=fix)


def _on_gpu(run: GenerationRun) -> Located[str] | None:
    device = run.seed_device
    if device is None or run.tool not in ("diffusers", "invokeai"):
        return None
    return device if device.value.lower().split(":")[0] in ("cuda", "gpu", "mps", "xpu") else None


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0").to("cuda")
        pipe("a lighthouse at dawn", generator=torch.Generator("cuda").manual_seed(7))
    """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0").to("cuda")
        pipe("a lighthouse at dawn", generator=torch.Generator("cpu").manual_seed(7))
    """)
