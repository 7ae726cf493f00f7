"""The process and prediction type of a model that was trained on a table of betas, by its config."""

from collections.abc import Mapping
from typing import Final

from unnoise.diffusion.process import VP, Schedule, Table
from unnoise.errors import InputError, nearest
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.sampling.kinds import Kind
from unnoise.sampling.noise_schedules import products, zero_snr

KINDS: Final[Mapping[str, Kind]] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
SCHEDULES: Final[Mapping[str, Schedule]] = {
    "linear": "linear",
    "scaled_linear": "scaled-linear",
    "squaredcos_cap_v2": "cosine",
}


def process_of(foreign: ForeignComponents) -> VP | Table:
    """Return the process of a model's config, or of its family. Raises InputError for an unknown beta schedule."""
    config = foreign.config("scheduler")
    known = facts(foreign.identity)
    zero = bool(config.get("rescale_betas_zero_snr", foreign.identity.zero_snr))
    if "beta_schedule" in config or known is None or known.betas is None:
        named, first, last = config.get("beta_schedule", "linear"), config.get("beta_start"), config.get("beta_end")
    else:
        named, first, last = known.betas
    if named not in SCHEDULES:
        raise InputError(f"{foreign.where}: beta_schedule {named!r}: {nearest(str(named), SCHEDULES)}")
    if config.get("trained_betas"):
        alphas = products([float(beta) for beta in config["trained_betas"]])
        return Table(zero_snr(alphas) if zero else alphas)
    steps = int(config.get("num_train_timesteps", 1000))
    if SCHEDULES[named] == "cosine":
        return VP("cosine", steps, zero_snr=zero)
    return VP(SCHEDULES[named], steps, first, last, zero)


def kind_of(foreign: ForeignComponents) -> Kind:
    """Return the prediction type: of the config, else of the tensors and metadata of the file.

    Raises InputError without evidence, for a family with more than one type.
    """
    stated = foreign.config("scheduler").get("prediction_type")
    if stated is not None:
        if stated not in KINDS:
            raise InputError(f"{foreign.where}: prediction_type {stated!r}: {nearest(str(stated), KINDS)}")
        return KINDS[stated]
    if foreign.identity.prediction:
        return foreign.identity.prediction  # type: ignore[return-value]
    known = facts(foreign.identity)
    if known is not None and foreign.identity.family != "sd2":
        return known.prediction
    raise InputError(
        f"{foreign.where}: its files do not say whether it predicts eps or v; set --prediction-type eps or "
        f"--prediction-type v (prediction_type=...)"
    )
