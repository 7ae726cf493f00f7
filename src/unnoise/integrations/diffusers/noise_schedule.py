"""The process and prediction type of a model that was trained on a table of betas, by its config."""

from collections.abc import Mapping
from typing import Any, Final

from unnoise.diffusion.process import VP, Schedule, Table
from unnoise.errors import InputError, nearest
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.integrations.diffusers.processes import KEY, number
from unnoise.sampling.kinds import Kind
from unnoise.sampling.noise_schedules import products, zero_snr

STEPS: Final = 100_000  # the most entries of a table
# Schedule, first and last beta of a class for settings that its config leaves out.   Source: diffusers, schedulers
DEFAULT: Final = ("linear", 1e-4, 0.02)
BETAS: Final[Mapping[Any, tuple[str, float, float]]] = {
    **dict.fromkeys(("LCMScheduler", "TCDScheduler"), ("scaled_linear", 0.00085, 0.012)),
    **dict.fromkeys(
        ("DPMSolverSDEScheduler", "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler"),
        ("linear", 0.00085, 0.012),
    ),
}
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
    named, first, last = BETAS.get(config.get(KEY), DEFAULT)
    if KEY not in config and known is not None and known.betas is not None:
        named, first, last = known.betas
    named = config.get("beta_schedule") or named
    if not isinstance(named, str) or named not in SCHEDULES:
        raise InputError(f"{foreign.where}: beta_schedule {str(named)[:80]!r}: {nearest(str(named)[:80], SCHEDULES)}")
    if config.get("trained_betas"):
        alphas = products(_betas(foreign, config["trained_betas"]))
        return Table(zero_snr(alphas) if zero else alphas)
    steps = int(number(foreign, "num_train_timesteps", 1000, 2, STEPS))
    first, last = (number(foreign, name, beta, 0, 1) for name, beta in (("beta_start", first), ("beta_end", last)))
    if SCHEDULES[named] == "cosine":
        return VP("cosine", steps, zero_snr=zero)
    return VP(SCHEDULES[named], steps, first, last, zero)


def _betas(foreign: ForeignComponents, stated: object) -> list[float]:
    """Return the betas that a config lists. Raises InputError unless they are numbers between 0 and 1."""
    betas = stated if isinstance(stated, list) and 2 <= len(stated) <= STEPS else []
    if not betas or not all(isinstance(beta, float) and 0 < beta < 1 for beta in betas):
        raise InputError(f"{foreign.where}: trained_betas: 2 to {STEPS} numbers between 0 and 1")
    return betas


def kind_of(foreign: ForeignComponents) -> Kind:
    """Return the prediction type: of the config, else of the tensors and metadata of the file.

    Raises InputError without evidence, for a family with more than one type.
    """
    stated = foreign.config("scheduler").get("prediction_type")
    if stated is not None:
        if not isinstance(stated, str) or stated not in KINDS:
            raise InputError(
                f"{foreign.where}: prediction_type {str(stated)[:80]!r}: {nearest(str(stated)[:80], KINDS)}"
            )
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
