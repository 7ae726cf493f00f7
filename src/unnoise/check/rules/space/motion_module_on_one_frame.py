"""AnimateDiff draws a single frame, for which its motion module was not trained.

Why: the motion module attends from each frame to the others and was trained on clips of 16 frames. ComfyUI takes the
number of frames from the batch size of the latent, 1 by default: the one image is then noisy and oversaturated. The
limit is 24 or 32 frames at once; longer clips need context options.
Shown: the number of frames.
Instead: a batch of 16 latents (num_frames=16 in diffusers), or the model without AnimateDiff.
Fix: unsafe: write 16.
Source: Guo et al. 2023, arXiv:2307.04725, section 4.1; Kosinkadink/ComfyUI-AnimateDiff-Evolved, README.md, "the
sweetspot is 16 latents", #103 and #347.
"""

from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Located, Subject

RULE = Rule(id="UN312", name="motion-module-on-one-frame", severity=WARN, checks="run")
TRAINED = 16  # frames
# Nodes that multiply a batch.   Source: ComfyUI, nodes.py; Kosinkadink/ComfyUI-VideoHelperSuite, videohelpersuite
REPEATS = ("RepeatLatentBatch", "LatentBatch", "VHS_DuplicateLatents", "VHS_MergeLatents")


def check(run: GenerationRun) -> Iterator[Finding]:
    frames = _frames(run)
    if frames is not None and frames.value == 1 and run.task == "text":
        message = "the motion module of AnimateDiff needs several frames at once, and gets one"
        fix = Fix.unsafe(frames.place, TRAINED)
        yield Finding(RULE, frames.place, message, "1 frame", f"{TRAINED}", f"draw {TRAINED} frames", fix=fix)


def _frames(run: GenerationRun) -> Located[int] | None:
    """Return the number of frames of a run with a motion module; None where it is not known."""
    if run.tool == "diffusers":
        return run.frames if run.pipeline.startswith("AnimateDiff") else None
    if run.tool != "comfyui" or not any(use.kind == "motion" for use in run.adapters):
        return None
    return None if any(key.startswith(REPEATS) for key in run.others) else run.batch


def _workflow(batch: int) -> Subject:
    inputs = {"model": ["4", 0], "model_name": "mm_sd_v15_v2.ckpt", "beta_schedule": "autoselect"}
    loader = {"class_type": "ADE_AnimateDiffLoaderGen1", "inputs": inputs}
    base = "v1-5-pruned-emaonly.safetensors"
    return workflow(checkpoint=base, model=["10", 0], extra={"10": loader}, width=512, height=512, batch_size=batch)


def bad() -> Subject:
    return _workflow(1)


def good() -> Subject:
    return _workflow(16)
