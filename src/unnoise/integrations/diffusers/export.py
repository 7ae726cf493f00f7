"""Write a model as a folder in the layout of diffusers, where its parts are what diffusers has.

A model of another maker is: a single file becomes a folder, with the scheduler that its process asks for. The networks
that are made and trained here are not, and each says why.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unnoise.adapters.lora.inject import inject
from unnoise.adapters.lora.read import read
from unnoise.card import Card
from unnoise.components import Components
from unnoise.diffusion.process import VP, Flow, Table
from unnoise.errors import InputError
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.integrations.diffusers.folder import INDEX
from unnoise.integrations.diffusers.load import components

# Why a class of ours has no counterpart in diffusers.
WITHOUT: Mapping[str, str] = {
    "UNet": "adds its place to x, pools between levels, and normalises queries and keys, as no U-Net of diffusers does",
    "DiT": "joins tokens, vector and time in a modulation that no transformer of diffusers has",
    "Autoencoder": "folds pixels into channels at its border",
    "TextEncoder": "is no CLIP or T5",
}
PIPELINES: Mapping[tuple[str, str], str] = {
    ("sd1", ""): "StableDiffusionPipeline",
    ("sd1", "inpaint"): "StableDiffusionInpaintPipeline",
    ("sd1", "pix2pix"): "StableDiffusionInstructPix2PixPipeline",
    ("sd1", "lcm"): "LatentConsistencyModelPipeline",
    ("sd2", ""): "StableDiffusionPipeline",
    ("sd2", "inpaint"): "StableDiffusionInpaintPipeline",
    ("sdxl", ""): "StableDiffusionXLPipeline",
    ("sdxl", "refiner"): "StableDiffusionXLImg2ImgPipeline",
    ("sdxl", "inpaint"): "StableDiffusionXLInpaintPipeline",
    ("sd3", ""): "StableDiffusion3Pipeline",
    ("flux1", ""): "FluxPipeline",
    ("pixart", ""): "PixArtSigmaPipeline",
    ("pixart", "alpha"): "PixArtAlphaPipeline",
    ("sana", ""): "SanaPipeline",
    ("wan", ""): "WanPipeline",
    ("ltx", ""): "LTXPipeline",
}
KINDS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
SCHEDULES = {"linear": "linear", "scaled-linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}


def refuse(card: Card) -> None:
    """Raise InputError for a model that was made here, naming the parts that diffusers has no class for."""
    parts = [part.class_ for part in (card.net, card.autoencoder, card.text) if part is not None]
    told = "; ".join(f"{name} {WITHOUT[name]}" for name in parts)
    raise InputError(f"{card.name!r} has no counterpart in diffusers: {told}")


def export(
    source: Path,
    out: Path,
    parts: Path | None = None,
    predicts: Any = None,
    adapters: Sequence[tuple[Path, float]] = (),
) -> None:
    """Write a model of another maker as a folder, its weights as they are stored, with adapters merged into them.

    Raises InputError where a part is missing, its family has no pipeline in diffusers, or the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already; an export is written to a new folder")
    held, pipeline = components(source, parts, predicts)
    inject(pipeline, [(read(path, pipeline), weight) for path, weight in adapters])
    import diffusers

    kind = (held.identity.family, held.identity.variant)
    name = PIPELINES.get(kind) or PIPELINES.get((kind[0], ""))
    if name is None:
        raise InputError(f"{source}: {held.identity} cannot be written, as {held.identity.family} has no pipeline here")
    made = getattr(diffusers, name)
    wanted = inspect.signature(made.__init__).parameters
    given: dict[str, Any] = {one: net for one, net in held.nets.items() if one in wanted}
    given |= {one: held.tokenizer(one)() for one in wanted if one.startswith("tokenizer") and _reads(held, one)}
    given |= {one: value for one, value in held.config("").items() if one in wanted and not isinstance(value, list)}
    given["scheduler"] = _scheduler(held, pipeline)
    given |= {one: value for one, value in _plain(held).items() if one in wanted}
    missing = {one: None for one, field in wanted.items() if field.default is field.empty and one != "self"}
    made(**{**missing, **given}).save_pretrained(out)
    if not (out / INDEX).is_file():
        raise InputError(f"{out}: diffusers wrote no {INDEX}")


def _scheduler(held: ForeignComponents, pipeline: Components) -> Any:
    """Make diffusers' scheduler of a model's process: that of its folder, or the plainest of its kind."""
    import diffusers

    config, process = held.config("scheduler"), pipeline.denoiser.process
    if "_class_name" in config:
        more = (
            {} if config.get("prediction_type", "") is not None else {"prediction_type": KINDS[pipeline.denoiser.kind]}
        )
        return getattr(diffusers, str(config["_class_name"])).from_config(config, **more)
    if isinstance(process, Flow):
        moving = pipeline.card.advice.schedule == "flux"
        shift = pipeline.card.advice.shift or 1.0
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=shift, use_dynamic_shifting=moving)
    return diffusers.DDIMScheduler(
        **_betas(process),
        prediction_type=KINDS[held.identity.prediction or pipeline.denoiser.kind],
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing" if process.sigma_max == float("inf") else "leading",
    )


def _betas(process: Any) -> dict[str, Any]:
    if isinstance(process, VP) and process.schedule in SCHEDULES:
        told = asdict(process)
        return {
            "num_train_timesteps": told["steps"],
            "beta_schedule": SCHEDULES[process.schedule],
            "beta_start": told["beta_start"] or VP.BETAS[process.schedule][0],
            "beta_end": told["beta_end"] or VP.BETAS[process.schedule][1],
            "rescale_betas_zero_snr": told["zero_snr"],
        }
    if isinstance(process, VP | Table):
        alphas = process.table()
        betas = [1 - after / before for before, after in zip((1.0, *alphas[:-1]), alphas, strict=True)]
        return {"num_train_timesteps": len(alphas), "trained_betas": betas}
    raise InputError(f"process {type(process).__name__}: diffusers' pipelines of this family have none like it")


def _reads(held: ForeignComponents, tokenizer: str) -> bool:
    """Say whether a tokenizer has a text network to read for."""
    return tokenizer.replace("tokenizer", "text_encoder") in held.nets


def _plain(held: ForeignComponents) -> dict[str, Any]:
    """Give the settings of pipelines that no file of weights holds."""
    return {"requires_safety_checker": False, "requires_aesthetics_score": held.identity.variant == "refiner"}
