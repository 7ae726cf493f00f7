"""Write a foreign model as a diffusers folder, with the scheduler of its process.

The networks of this program have no classes in diffusers, and each message says why.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from unnoise.adapters.lora.inject import inject
from unnoise.adapters.lora.read import read_and_warn
from unnoise.card import Card
from unnoise.components import Components
from unnoise.diffusion.process import VP, Flow, Table
from unnoise.errors import InputError, quoted
from unnoise.families.identity import Identity
from unnoise.formats.atomic import replacing_folder
from unnoise.formats.diffusers_folder import INDEX
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.integrations.diffusers.load import load_components
from unnoise.integrations.diffusers.table import DENOISERS

# Why a class of ours has no counterpart in diffusers.
REASONS: Mapping[str, str] = {
    "UNet": "adds positions to x, pools between levels and normalises queries and keys, as no U-Net of diffusers does",
    "DiT": "has a modulation of tokens, vector and time that no transformer of diffusers has",
    "Autoencoder": "folds pixels into channels at its input and output",
    "TextEncoder": "is not a CLIP or T5",
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
    """Raise InputError for a model of this program, with the networks that diffusers has no class for."""
    names = [part.class_ for part in (card.net, card.autoencoder, card.text) if part is not None]
    reasons = "; ".join(f"{name} {REASONS[name]}" for name in names if name in REASONS)
    raise InputError(f"{card.name!r} has no counterpart in diffusers: {reasons}")


def export(
    source: Path,
    out: Path,
    components: Path | None = None,
    prediction_type: Any = None,
    adapters: Sequence[tuple[Path, float, str]] = (),
) -> None:
    """Write a foreign model as a diffusers folder, with weights in their stored dtypes.

    Args:
        source: a folder or a single file.
        out: the folder to write.
        components: a folder with the components that a single file lacks.
        prediction_type: of the network, if its files do not state it.
        adapters: LoRA files with scales and networks ("" is what the file says), which are merged into the weights.

    Raises:
        InputError: a component is missing, diffusers has no pipeline of the family, or the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: already exists; an export needs a new folder")
    foreign, loaded = load_components(source, components, prediction_type)
    inject(loaded, [(read_and_warn(path, loaded, network=network), scale) for path, scale, network in adapters])
    _save(foreign, loaded, out)


def rewrite(source: Path, out: Path, trained: Mapping[str, nn.Module]) -> None:
    """Write a foreign model as a diffusers folder, with other weights of its denoiser, in their stored dtypes.

    Args:
        source: a folder or a single file.
        out: the folder to write; what it holds is replaced.
        trained: networks under diffusers' names, of which the denoiser is written.

    Raises:
        InputError: as for `export`.
    """
    foreign, loaded = load_components(source)
    name = next(name for name in DENOISERS if name in foreign.nets)
    foreign.nets[name].load_state_dict(trained[name].state_dict())
    _save(foreign, loaded, out)


def exportable(identity: Identity, where: str) -> str:
    """Return the pipeline in diffusers of a foreign model. Raises InputError where there is none."""
    kind = (identity.family, identity.variant)
    name = PIPELINES.get(kind) or PIPELINES.get((kind[0], ""))
    if name is None:
        raise InputError(f"{where}: cannot be exported: {identity} has no pipeline in the table of exports")
    return name


def _save(foreign: ForeignComponents, loaded: Components, out: Path) -> None:
    import diffusers

    name = exportable(foreign.identity, foreign.where)
    pipeline = getattr(diffusers, name)
    accepted = inspect.signature(pipeline.__init__).parameters
    args: dict[str, Any] = {one: net for one, net in foreign.nets.items() if one in accepted}
    args |= {
        one: foreign.tokenizer(one)() for one in accepted if one.startswith("tokenizer") and _is_used(foreign, one)
    }
    args |= {one: value for one, value in foreign.config("").items() if one in accepted and not isinstance(value, list)}
    args["scheduler"] = _scheduler(foreign, loaded)
    args |= {one: value for one, value in _settings(foreign).items() if one in accepted}
    missing = {one: None for one, field in accepted.items() if field.default is field.empty and one != "self"}
    with replacing_folder(out) as part:
        pipeline(**{**missing, **args}).save_pretrained(part)
        if not (part / INDEX).is_file():
            raise InputError(f"{out}: diffusers wrote no {INDEX}")


def _scheduler(foreign: ForeignComponents, loaded: Components) -> Any:
    """Build diffusers' scheduler of a model's process: that of its folder, or the simplest of its kind."""
    import diffusers

    config, process = foreign.config("scheduler"), loaded.denoiser.process
    if "_class_name" in config:
        name = str(config["_class_name"])
        class_ = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
        if class_ is None:
            raise InputError(f"{foreign.where}: scheduler {quoted(name)}: not a scheduler of diffusers")
        return class_.from_config(config)
    if isinstance(process, Flow):
        dynamic = loaded.card.advice.schedule == "flux"
        shift = loaded.card.advice.shift or 1.0
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=shift, use_dynamic_shifting=dynamic)
    return diffusers.DDIMScheduler(
        **_betas(process),
        prediction_type=KINDS[foreign.identity.prediction or loaded.denoiser.kind],
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing" if process.sigma_max == float("inf") else "leading",
    )


def _betas(process: Any) -> dict[str, Any]:
    if isinstance(process, VP) and process.schedule in SCHEDULES:
        args = asdict(process)
        return {
            "num_train_timesteps": args["steps"],
            "beta_schedule": SCHEDULES[process.schedule],
            "beta_start": args["beta_start"] or VP.BETAS[process.schedule][0],
            "beta_end": args["beta_end"] or VP.BETAS[process.schedule][1],
            "rescale_betas_zero_snr": args["zero_snr"],
        }
    if isinstance(process, VP | Table):
        alphas = process.table()
        betas = [1 - after / before for before, after in zip((1.0, *alphas[:-1]), alphas, strict=True)]
        return {"num_train_timesteps": len(alphas), "trained_betas": betas}
    raise InputError(f"process {type(process).__name__}: diffusers has no scheduler for it")


def _is_used(foreign: ForeignComponents, tokenizer: str) -> bool:
    """Return whether the text network of a tokenizer exists."""
    return tokenizer.replace("tokenizer", "text_encoder") in foreign.nets


def _settings(foreign: ForeignComponents) -> dict[str, Any]:
    """Return the settings of pipelines that no file of weights contains."""
    return {"requires_safety_checker": False, "requires_aesthetics_score": foreign.identity.variant == "refiner"}
