"""The SDXL VAE runs in float16 in training: NaN latents are replaced by zeros, and the model learns grey.

Why: activations of the original SDXL VAE exceed 65504, the largest float16, and become NaN. sd-scripts then prints "NaN
found in latents, replacing with zeros" and continues: every such image is trained as a flat grey one; where it caches
latents it stops. For a model that may contain a corrected VAE this is a note.
Shown: the precision, and the switch that excludes the VAE from it.
Instead: run the VAE in float32, or train in bfloat16, or use a VAE corrected for float16.
Fix: unsafe: write bf16 for the precision, which the GPU must support. With full_fp16, which sd-scripts refuses beside
bf16, it is only shown.
Source: kohya-ss/sd-scripts, train_network.py, "NaN found in latents"; docs/sdxl_train_network.md, --no_half_vae;
kohya-ss/sd-scripts#881; madebyollin/sdxl-vae-fp16-fix, model card.
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.training._shared import family, is_from_metadata, is_on, option, word
from unnoise.check.subject import Subject, Training

RULE = Rule(
    id="UN504",
    name="half-vae-in-training",
    severity=WARN,
    checks="training",
    tools=("kohya", "diffusers"),
    with_subject=True,
)
KEY = "mixed_precision"
VAES = ("vae", "pretrained_vae_model_name_or_path")
CACHED = ("cache_latents", "cache_latents_to_disk")
OWN = ("stabilityai/sdxl-vae", "sdxl_vae.safetensors")  # by name, the VAE that overflows
PUBLISHED = ("stable-diffusion-xl-base", "sd_xl_base")  # models that contain it


def check(training: Training, subject: Subject) -> Iterator[Finding]:
    setting = training.get(KEY)
    if setting is None or word(training, KEY) != "fp16" or not _overflows(training) or is_from_metadata(subject):
        return
    kohya = training.tool == "kohya"
    stops = kohya and any(is_on(training, key) for key in CACHED)
    effect = "stop the caching" if stops else "are trained as grey images"
    message = f"the VAE of SDXL runs in float16 and overflows; its NaN latents {effect}"
    suggestion = f"add {option(training, 'no_half_vae', True)}" if kohya else "train with madebyollin/sdxl-vae-fp16-fix"
    fix = Fix.unsafe(setting.place, "bf16")
    measured = "mixed_precision fp16" + (" without no_half_vae" if kohya else f" with {_vae(training)}")
    expected = "the VAE in float32 or bfloat16"
    severity = WARN if _is_original(training) else NOTE
    yield Finding(RULE, setting.place, message, measured, expected, suggestion, severity, fix)


def _vae(training: Training) -> str:
    return next((name for key in VAES if (name := word(training, key))), "")


def _overflows(training: Training) -> bool:
    """Return whether the VAE is SDXL's own and runs in the precision of the training."""
    vae = _vae(training)
    if training.tool == "diffusers":
        return vae.endswith(OWN)  # without one, diffusers' scripts run SDXL's own in float32
    if not training.complete:
        return False  # no_half_vae may be among the others
    return family(training) == "sdxl" and (not vae or vae.endswith(OWN)) and not is_on(training, "no_half_vae")


def _is_original(training: Training) -> bool:
    """Return whether it is certainly the original VAE; many fine-tunes of SDXL contain a corrected one."""
    name = training.base.name.lower() if training.base else ""
    return _vae(training).endswith(OWN) or any(published in name for published in PUBLISHED)


def bad() -> Subject:
    return command(
        """
        accelerate launch sdxl_train_network.py --pretrained_model_name_or_path sd_xl_base_1.0.safetensors \\
          --dataset_config data.toml --network_module networks.lora --mixed_precision fp16
        """
    )


def good() -> Subject:
    return command(
        """
        accelerate launch sdxl_train_network.py --pretrained_model_name_or_path sd_xl_base_1.0.safetensors \\
          --dataset_config data.toml --network_module networks.lora --mixed_precision fp16 --no_half_vae
        """
    )
