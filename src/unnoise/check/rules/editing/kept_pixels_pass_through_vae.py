"""The inpainting result is not pasted back into the image, so kept pixels change too, more with each pass.

Why: the whole image is encoded and decoded. The autoencoder of Stable Diffusion 1 reconstructs images at a PSNR of 23.4
dB (COCO 2017, 256 pixels), a root mean square error of 17 of 255: letters and faces outside of the mask change.
Shown: that nothing in the file pastes the kept pixels back.
Instead: in diffusers `padding_mask_crop=32`, which pastes, or `pipe.image_processor.apply_overlay(mask, photo,
result)`; in ComfyUI the node ImageCompositeMasked.
Fix: show.
Source: huggingface/diffusers#3880, #4782; model card of stabilityai/sd-vae-ft-mse; diffusers/image_processor.py,
apply_overlay.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Fix, Rule
from unnoise.check.rules.editing._shared import has_text
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN703", name="kept-pixels-pass-through-vae", severity=NOTE, checks="run", with_subject=True)
PASTES = ("apply_overlay", "composite(", ".paste(", "blend(", "np.where(", "torch.where(", "seamlessClone")
NODES = ("Composite", "Stitch", "Paste", "Blend", "Uncrop")
DEFAULTS = ("StableDiffusion", "Flux", "Kandinsky", "AutoPipelineForInpainting", "QwenImage", "ZImage", "Chroma")
INSTEAD = {
    "diffusers": "add padding_mask_crop=32, or paste with pipe.image_processor.apply_overlay",
    "comfyui": "add ImageCompositeMasked after VAEDecode",
}


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    if run.task == "inpaint" and run.tool in INSTEAD and not _pastes(run, subject):
        message = "kept pixels pass through the autoencoder and change"
        measured = "nothing pastes them back"
        fix = Fix.show(INSTEAD[run.tool])
        yield Finding(RULE, run.place, message, measured, "the kept pixels of the input", INSTEAD[run.tool], fix=fix)


def _pastes(run: GenerationRun, subject: Subject) -> bool:
    if not subject.texts or "**" in run.others:
        return True
    if run.tool == "comfyui":
        return has_text(subject, *NODES)
    argument = run.others.get("padding_mask_crop")
    latent = run.others.get("output_type")
    hidden = latent is not None and latent.value != "pil"
    return argument is not None or hidden or not run.pipeline.startswith(DEFAULTS) or has_text(subject, *PASTES)


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionInpaintPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
        photo, mask = load_image("harbour.png"), load_image("sky.png")
        pipe("a stormy sky", image=photo, mask_image=mask).images[0].save("storm.png")
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionInpaintPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
        photo, mask = load_image("harbour.png"), load_image("sky.png")
        pipe("a stormy sky", image=photo, mask_image=mask, padding_mask_crop=32).images[0].save("storm.png")
    """)
