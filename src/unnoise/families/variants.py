"""The facts of each variant that differ from its family: VARIANTS[family][variant] are fields of Facts."""

from collections.abc import Mapping
from typing import Any

# Adversarial distillation, and LCM, which takes the guidance scale as an input.
STEPS: Mapping[str, Any] = {"distilled": "steps", "guidance": (0.0, 1.0), "steps": (1, 8)}
LCM: Mapping[str, Any] = {"distilled": "steps", "guidance": (0.0, 4.0), "embedded": (1.0, 13.0), "steps": (1, 8)}
# For up to 16 steps, some with guidance of 5 to 8.   Source: ByteDance/Hyper-SD, README.md
HYPER: Mapping[str, Any] = {"distilled": "steps", "guidance": (0.0, 8.0), "steps": (1, 16)}
SMALL: Mapping[str, Any] = {"size": (512, 512), "area": (0.25, 2.3)}
CONTROL: Mapping[str, Any] = {"embedded": (1.0, 50.0)}  # FLUX.1 [fill] and [canny] 30, [depth] 10: their model cards
ALPHA: Mapping[str, Any] = {"scale": 0.18215, "tokens": 120}  # PixArt-alpha uses the autoencoder of SD 1

# Default source: the model card of the repository, and the docstring of its pipeline in diffusers.
VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "sd1": {"inpaint": {}, "pix2pix": {}, "lcm": LCM, "hyper": HYPER, "lightning": STEPS},
    "sd2": {
        "base": {**SMALL, "prediction": "eps"},
        "768-v": {},
        "inpaint": {**SMALL, "prediction": "eps"},
        "depth": {**SMALL, "prediction": "eps"},
        "turbo": {**STEPS, "prediction": "eps", "size": (512, 512), "steps": (1, 4)},
        "unclip": {},
    },
    "sdxl": {
        "base": {},
        "refiner": {"context": 1280},
        "inpaint": {},
        "pix2pix": {"size": (768, 768)},
        "turbo": {**STEPS, "size": (512, 512), "area": (0.5, 4.2), "steps": (1, 4)},
        "lightning": {**STEPS, "guidance": (0.0, 2.0)},
        "lcm": LCM,
        "hyper": HYPER,
        "dmd2": STEPS,
        "ssd-1b": {},
        "vega": {},
        "koala": {},
        "playground-2.5": {"process": "edm", "guidance": (1.0, 7.0), "scale": 0.5, "per_channel": True},
        "cosxl": {"process": "edm", "prediction": "v"},
        "v-pred": {"prediction": "v"},
        "vae-fp16-fix": {},  # madebyollin/sdxl-vae-fp16-fix: the autoencoder, whose activations fit float16
    },
    "sd3": {
        "medium": {},
        "3.5-medium": {"area": (0.25, 2.3)},
        "3.5-large": {},
        "3.5-large-turbo": {**STEPS, "guidance": (0.0, 1.2)},
        "hyper": {**HYPER, "guidance": (0.0, 5.0)},
    },
    "flux1": {
        "dev": {},
        # one example of diffusers uses 28 steps, pipeline_flux_controlnet_inpainting.py; its model card says 1 to 4
        "schnell": {**STEPS, "embedded": None, "flow_shift": 1.0, "tokens": 256, "steps": (1, 8)},
        "fill": CONTROL,
        "depth": CONTROL,
        "canny": CONTROL,
        "control": CONTROL,  # [depth] or [canny], whose tensors are alike
        "kontext": {},
        "krea": {},
        "hyper": {**STEPS, "steps": (1, 16)},
        "turbo": {**STEPS, "steps": (1, 16)},
        "dedistilled": {"distilled": "", "embedded": None},  # nyanko7/flux-dev-de-distill, README.md: real CFG
    },
    "flux2": {
        "dev": {},
        "4b": {"distilled": "", "embedded": None, "steps": (1, 60)},  # klein or klein base, whose tensors are alike
        "9b": {"distilled": "", "embedded": None, "steps": (1, 60)},
        "klein": {"distilled": "", "embedded": None, "guidance": (1.0, 8.0), "steps": (1, 60)},
        "klein-4b": {**STEPS, "embedded": None},
        "klein-9b": {**STEPS, "embedded": None},
        "klein-base": {"distilled": "", "embedded": None},
        "klein-base-4b": {"distilled": "", "embedded": None},
        "klein-base-9b": {"distilled": "", "embedded": None},
    },
    "pixart": {
        "alpha": ALPHA,
        "sigma": {"scale": 0.13025},
        "lcm": {**LCM, **ALPHA},
        "dmd": {**STEPS, **ALPHA, "size": (512, 512)},
    },
    "sana": {"sprint": {"distilled": "steps", "guidance": (0.0, 1.0), "embedded": (1.0, 8.0), "steps": (1, 4)}},
    "wan": {
        "1.3b": {},
        "14b": {},
        "5b": {"channels": 48, "size": (1280, 704), "multiple": 32},
        "a14b": {},
        "vace": {},
        "lightning": STEPS,
    },
    "hunyuan-video": {"base": {}, "i2v": {}, "fast": {"distilled": "steps", "steps": (1, 10)}},
    "hunyuan-dit": {"1.2": {"betas": ("scaled_linear", 0.00085, 0.018)}},  # ComfyUI, comfy/supported_models.py
    "hunyuan-image": {"base": {}, "distilled": {**STEPS, "embedded": (1.0, 8.0), "steps": (4, 16)}},
    "cosmos": {"1": {"stride": 8}, "predict2": {"process": "flow", "prediction": "flow"}},
    "cogvideox": {
        "2b": {"scale": 1.15258426},
        "5b": {"scale": 0.7},
        "1.5-5b": {"scale": 0.7, "size": (1360, 768), "area": (0.3, 2.0)},
    },
    "ltx": {"distilled": {**STEPS, "steps": (1, 12)}},
    "ltx2": {"distilled": {**STEPS, "steps": (1, 12)}},
    "cascade": {
        "prior": {"guidance": (1.0, 10.0)},
        "decoder": {"guidance": (0.0, 2.0), "channels": 4},
    },
    "qwen-image": {"edit": {}, "lightning": STEPS},
    "hidream": {
        "full": {},
        "edit": {},  # HiDream-E1
        "dev": {"distilled": "steps", "guidance": (0.0, 1.0), "steps": (16, 50), "flow_shift": 6.0},
        "fast": {"distilled": "steps", "guidance": (0.0, 1.0), "steps": (8, 20)},
    },
    "anima": {"turbo": {**STEPS, "steps": (1, 12)}},  # 4 to 8 steps on its card
    "z-image": {"base": {}, "turbo": {**STEPS, "steps": (1, 30)}},  # 25 in diffusers, pipeline_z_image_controlnet.py
}
