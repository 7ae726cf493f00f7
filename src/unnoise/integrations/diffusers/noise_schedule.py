"""The process of a model that was trained on a table of betas, as the config of its folder says."""

from collections.abc import Mapping
from typing import Final

from unnoise.diffusion.prediction import Kind
from unnoise.diffusion.process import VP, Schedule, Table
from unnoise.errors import InputError, nearest
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.sampling.noise_schedules import products, zero_snr

KINDS: Final[Mapping[str, Kind]] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
SCHEDULES: Final[Mapping[str, Schedule]] = {
    "linear": "linear",
    "scaled_linear": "scaled-linear",
    "squaredcos_cap_v2": "cosine",
}


def process_of(parts: ForeignComponents) -> VP | Table:
    """Make the process that a model's config names, or that its family is known for. Raises InputError for another."""
    config = parts.config("scheduler")
    known = facts(parts.identity)
    zero = bool(config.get("rescale_betas_zero_snr", parts.identity.zero_snr))
    if "beta_schedule" in config or known is None or known.betas is None:
        named, first, last = config.get("beta_schedule", "linear"), config.get("beta_start"), config.get("beta_end")
    else:
        named, first, last = known.betas
    if named not in SCHEDULES:
        raise InputError(f"{parts.where}: beta_schedule {named!r}: {nearest(str(named), SCHEDULES)}")
    if config.get("trained_betas"):
        alphas = products([float(beta) for beta in config["trained_betas"]])
        return Table(zero_snr(alphas) if zero else alphas)
    steps = int(config.get("num_train_timesteps", 1000))
    if SCHEDULES[named] == "cosine":
        return VP("cosine", steps, zero_snr=zero)
    return VP(SCHEDULES[named], steps, first, last, zero)


def kind_of(parts: ForeignComponents) -> Kind:
    """Say how the network predicts: by its config, else by the tensors and metadata of its file.

    Raises InputError where neither says and the family has more than one kind.
    """
    told = parts.config("scheduler").get("prediction_type")
    if told is not None:
        if told not in KINDS:
            raise InputError(f"{parts.where}: prediction_type {told!r}: {nearest(str(told), KINDS)}")
        return KINDS[told]
    if parts.identity.prediction:
        return parts.identity.prediction  # type: ignore[return-value]
    known = facts(parts.identity)
    if known is not None and parts.identity.family != "sd2":
        return known.prediction
    raise InputError(
        f"{parts.where}: nothing says whether it predicts eps or v; say it: --predicts eps, or --predicts v"
    )
