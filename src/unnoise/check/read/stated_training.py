"""What files other than the weights state about the training of a network: a scheduler's config, a `.yaml`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.families.ldm_config import family_of, training_of
from unnoise.formats.yaml_subset import read_yaml

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0", "flow_prediction": "flow"}
EDM = {"epsilon": "playground-2.5", "v_prediction": "cosxl"}  # variants of SDXL by what their EDM network predicts


def trained_as(found: Identity, settings: Mapping[str, Any]) -> Identity:
    """Add to an identity what the settings of diffusers' scheduler state; evidence of the weights comes first."""
    stated = settings.get("prediction_type")
    prediction = stated if isinstance(stated, str) else ""
    class_ = settings.get("_class_name")
    if isinstance(class_, str) and class_.startswith("EDM") and found.family == "sdxl":
        variant = EDM.get(prediction or "epsilon", "") if found.variant in ("", "base") else found.variant
        return replace(found, variant=variant, prediction=found.prediction or ("v" if variant == "cosxl" else ""))
    zero = found.zero_snr or settings.get("rescale_betas_zero_snr") is True
    return replace(found, prediction=found.prediction or PREDICTIONS.get(prediction, ""), zero_snr=zero)


def with_stated(found: Identity, path: Path) -> Identity:
    """Add to the identity of a file what the `.yaml` beside it states; one that cannot be read states nothing."""
    named = path.with_suffix(".yaml")
    try:
        config = read_yaml(named) if named.is_file() else {}
        stated = trained_as(found if found.known else replace(found, family=family_of(config) or found.family),
                            training_of(config, str(named)))  # fmt: skip
    except (InputError, OSError, ValueError):
        return found
    return stated if stated == found else replace(stated, known_by=f"{found.known_by}; {named.name}".removeprefix("; "))
