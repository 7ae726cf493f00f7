"""What the `.yaml` config of latent-diffusion says about the training of a checkpoint, in the words of diffusers.

    key of model.params                               means
    parameterization: eps, v, x0                      prediction_type
    linear_start, linear_end, timesteps               beta_start, beta_end of scaled_linear, num_train_timesteps
    zsnr, zero_terminal_snr, rescale_betas_zero_snr   rescale_betas_zero_snr
    denoiser_config, of sgm                           a table of betas or EDM; the prediction type

Source: CompVis/latent-diffusion, ldm/models/diffusion/ddpm.py, DDPM; Stability-AI/generative-models,
sgm/modules/diffusionmodules, denoiser.py, denoiser_scaling.py and discretizer.py.
"""

from collections.abc import Mapping
from typing import Any, Final

from unnoise.errors import InputError, nearest

FAMILIES: Final = {768: "sd1", 1024: "sd2"}  # by the width of the text; the first one is that of v1-inference.yaml
PREDICTIONS: Final = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
ZERO_SNR: Final = ("zsnr", "zero_terminal_snr", "rescale_betas_zero_snr", "ztsnr")
SCHEDULES: Final = {  # of ldm, where "linear" is even in sqrt(beta)
    "linear": "scaled_linear", "sqrt_linear": "linear", "cosine": "squaredcos_cap_v2",
}  # fmt: skip
SCALINGS: Final = {"EpsScaling": "epsilon", "VScaling": "v_prediction"}  # of a table of betas
EDM_SCALINGS: Final = {"EDMScaling": "epsilon", "VScalingWithEDMcNoise": "v_prediction"}
DENOISERS: Final = ("DiscreteDenoiser", "Denoiser")
DISCRETIZATIONS: Final = ("LegacyDDPMDiscretization", "ZeroSNRDDPMDiscretization")


def training_of(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of diffusers' scheduler that a config states; empty if it states none.

    Raises InputError for a class or a value that is unknown, for its process is unknown, too.
    """
    params = _table(_table(config, "model"), "params")
    denoiser = _table(params, "denoiser_config")
    if denoiser:
        return _sgm(params, denoiser, where)
    found: dict[str, Any] = {}
    if "parameterization" in params:
        found["prediction_type"] = _known(where, "parameterization", params["parameterization"], PREDICTIONS)
    if "linear_start" in params or "linear_end" in params or "beta_schedule" in params:
        named = _known(where, "beta_schedule", params.get("beta_schedule", "linear"), SCHEDULES)
        found |= _betas(params, named, "linear_start", "linear_end", "timesteps", where)
    return found | _zero_snr(params, where)


def family_of(config: Mapping[str, Any]) -> str:
    """Return the family of a config of latent-diffusion, by the width of its text; "" for another config."""
    model = _table(config, "model")
    if not str(model.get("target", "")).startswith("ldm."):
        return ""
    width = _table(_table(_table(model, "params"), "unet_config"), "params").get("context_dim", 768)
    return FAMILIES.get(width, "") if isinstance(width, int) else ""


def _sgm(params: Mapping[str, Any], denoiser: Mapping[str, Any], where: str) -> dict[str, Any]:
    class_ = _class(denoiser)
    if class_ not in DENOISERS:
        raise InputError(f"{where}: denoiser {class_[:80]!r}: {nearest(class_[:80], DENOISERS)}")
    own = _table(denoiser, "params")
    scaling = _table(own, "scaling_config")
    if class_ == "Denoiser":
        return _edm(params, scaling, where)
    found: dict[str, Any] = {"prediction_type": _known(where, "scaling", _class(scaling), SCALINGS)}
    table = _table(own, "discretization_config")
    if _class(table) not in DISCRETIZATIONS:
        raise InputError(
            f"{where}: discretization {_class(table)[:80]!r}: {nearest(_class(table)[:80], DISCRETIZATIONS)}"
        )
    inner = _table(table, "params")
    found |= _betas(inner, "scaled_linear", "linear_start", "linear_end", "num_timesteps", where)
    zero = {"rescale_betas_zero_snr": True} if _class(table) == DISCRETIZATIONS[1] else {}
    return found | _zero_snr(params, where) | zero


def _edm(params: Mapping[str, Any], scaling: Mapping[str, Any], where: str) -> dict[str, Any]:
    prediction = _known(where, "scaling", _class(scaling), EDM_SCALINGS)
    unit = _class(scaling) == "VScalingWithEDMcNoise"
    found = {
        "_class_name": "EDMEulerScheduler",
        "prediction_type": prediction,
        "sigma_data": 1.0 if unit else _number(_table(scaling, "params"), "sigma_data", 0.5, where),
    }
    sampler = _table(_table(params, "sampler_config"), "params")
    grid = _table(_table(sampler, "discretization_config"), "params")
    for name in ("sigma_min", "sigma_max", "rho"):
        if name in grid:
            found[name] = _number(grid, name, 0.0, where)
    return found


def _betas(params: Mapping[str, Any], named: str, start: str, end: str, steps: str, where: str) -> dict[str, Any]:
    """Return a table of betas; its defaults are those of ldm and of sgm, which are the same."""
    found: dict[str, Any] = {"beta_schedule": named}
    found["beta_start"] = _number(params, start, 0.00085 if steps == "num_timesteps" else 1e-4, where)
    found["beta_end"] = _number(params, end, 0.012 if steps == "num_timesteps" else 0.02, where)
    return found | {"num_train_timesteps": int(_number(params, steps, 1000, where))}


def _zero_snr(params: Mapping[str, Any], where: str) -> dict[str, Any]:
    stated = {params[name] for name in ZERO_SNR if isinstance(params.get(name), bool)}
    wrong = [name for name in ZERO_SNR if name in params and not isinstance(params[name], bool)]
    if wrong or len(stated) > 1:
        raise InputError(f"{where}: {', '.join(wrong or ZERO_SNR)}: one of true and false")
    return {"rescale_betas_zero_snr": stated.pop()} if stated else {}


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _class(config: Mapping[str, Any]) -> str:
    """Return the last part of a class's path."""
    return str(config.get("target", "")).rpartition(".")[2]


def _known(where: str, name: str, value: Any, known: Mapping[str, str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{where}: {name} {str(value)[:80]!r}: {nearest(str(value)[:80], known)}")
    return known[value]


def _number(params: Mapping[str, Any], name: str, default: float, where: str) -> float:
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise InputError(f"{where}: {name} {str(value)[:80]!r}: a number above 0 and below 1e6")
    return float(value)
