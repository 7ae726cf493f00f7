"""Read the files of this program: the card of a model, the metadata of an image, the recipe of a training."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Literal

from unnoise.card import KEY, OWN, Advice, Card, from_json as card_from_json, read_card as card_of
from unnoise.check.read.flat import flat
from unnoise.check.subject import GenerationRun, Located, Location, NamedModel, ReadFault, Subject, Training, Use
from unnoise.embedded import ZOO, find
from unnoise.errors import InputError
from unnoise.families.facts import Facts, facts
from unnoise.families.identity import Identity
from unnoise.formats.header import Header
from unnoise.formats.json_text import json_value
from unnoise.generation.limits import STRENGTH
from unnoise.generation.metadata import AppliedAdapter, Metadata, from_json
from unnoise.generation.request import Request

PROCESSES: Mapping[str, Literal["ddpm", "flow", "edm"]] = {
    "VP": "ddpm",
    "Table": "ddpm",
    "VE": "edm",
    "EDM": "edm",
    "Angle": "edm",
    "Flow": "flow",
}
MOST = 200  # recipes of one sheet
# Tables that identify a TOML file as the recipe of a model, a LoRA, a control, a small decoder or a student.
SECTIONS = (
    {"data", "denoiser"}, *({"data", "fit", kind} for kind in ("lora", "control", "preview")),
    *({"fit", method} for method in ("imitate", "consistency", "match")),
)  # fmt: skip
BASES = ("base", "denoiser.init")  # settings that name the model of which a training begins


def read_card(header: Header, path: str) -> NamedModel:
    """Describe a model of this program by its card; without facts where the card is not valid."""
    try:
        card = card_from_json(header.metadata.get(KEY, ""), path)
    except InputError:
        return NamedModel(
            PurePath(path).name, Location(path), Identity("unnoise", known_by="its card, which is not valid")
        )
    return model_of(card, path)


def model_of(card: Card, path: str) -> NamedModel:
    """Describe the model of a card. Requests are checked against the measured advice of the card.

    A model from elsewhere is checked against the facts of its family.
    """
    if card.family != OWN:
        identity = Identity(card.family, card.variant, card.kind, known_by="its tensors and config")
        known, sizes = facts(identity), card.advice.sizes
        return NamedModel(
            card.name, Location(path), identity, known=known and replace(known, size=sizes[0] if sizes else None)
        )
    identity = Identity("unnoise", "", card.kind, known_by=f"its card, fingerprint {card.fingerprint[:12] or 'none'}")
    return NamedModel(card.name, Location(path), identity, known=_facts(card))


def _facts(card: Card) -> Facts:
    process = PROCESSES.get(card.process.class_, "flow")
    size, area = _sizes(card.advice)
    low, high = card.advice.guidance_range
    guided = card.prompted and (0 <= low < high or card.distilled is not None)
    return Facts(
        title=f"unnoise {card.name}",
        process=process,
        prediction=card.kind,
        guidance=(low, high) if guided else None,
        **_of_student(card),
        size=size,
        area=area,
        multiple=1,  # the network's own, which is checked when the request runs
        source="the card of the model",
    )


def _of_student(card: Card) -> dict[str, Any]:
    """Return the facts that only a student of `unnoise distill` has."""
    if card.distilled is None:
        return {}
    fitted = sorted(card.advice.fitted, key=lambda one: len(one.levels))
    trained = tuple((len(one.levels), one.sampler.class_, one.sampler.args, one.levels) for one in fitted)
    own_input = card.advice.distilled_guidance is not None
    return {
        "distilled": "steps",
        "steps": (min(card.distilled.steps), max(card.distilled.steps)) if card.distilled.steps else None,
        "trained": tuple(one for one in trained if one[0] in card.distilled.steps),
        "embedded": card.distilled.guidance_range if own_input else None,
    }


def _sizes(advice: Advice) -> tuple[tuple[int, int] | None, tuple[float, float]]:
    """Return the best size of a card and the range of areas, as ratios to it."""
    areas = [width * height for width, height in advice.sizes]
    if not areas or min(areas) < 1:
        return None, (0.0, float("inf"))
    return advice.sizes[0], (min(areas) / areas[0], max(areas) / areas[0])


def read_recipe(text: str, path: str) -> Subject:
    """Read the recipe of an image, or those of a sheet."""
    try:
        runs = tuple(_run(from_json(one, "recipe"), path) for one in _texts(text))
    except (InputError, ValueError, RecursionError) as error:
        message = f"contains metadata of unnoise that are not valid: {str(error)[:200]}"
        return Subject(path=path, tool="unnoise", faults=(ReadFault("broken", Location(path), message),))
    return Subject(path=path, tool="unnoise", runs=runs)


def _texts(text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        return [text]
    listed = json_value(text)
    return [json.dumps(one) for one in listed[:MOST]]


def _run(recipe: Metadata, path: str) -> GenerationRun:
    def at(value: Any, *keys: str) -> Located[Any]:
        return Located(value, Location(path, keys))

    identity = Identity("unnoise", known_by=f"fingerprint {recipe.fingerprint[:12]}")
    others = {"grid": at(recipe.levels, "levels"), "between": at(recipe.guidance_interval, "guidance_interval")}
    others |= {
        "rescale": at(recipe.guidance_rescale, "guidance_rescale"),
        "versions": at(recipe.versions, "versions"),
    }
    others["sampler_args"] = at(recipe.sampler.args, "sampler")
    others["fingerprint"] = at(recipe.fingerprint, "fingerprint")
    others |= {} if recipe.strength is None else {"strength": at(recipe.strength, "strength")}
    model = NamedModel(recipe.model, Location(path, ("model",)), identity, known=_shipped(recipe))
    return GenerationRun(
        place=Location(path),
        tool="unnoise",
        model=model,
        adapters=tuple(_use(one, model, Location(path, ("adapters", k))) for k, one in enumerate(recipe.adapters)),
        sampler=at(recipe.sampler.class_, "sampler"),
        steps=at(recipe.steps, "levels"),
        guidance=at(recipe.guidance_scale, "guidance_scale"),
        embedded=None if recipe.distilled_guidance is None else at(recipe.distilled_guidance, "distilled_guidance"),
        prompt=at(recipe.prompt, "prompt"),
        negative=at(recipe.negative_prompt, "negative_prompt"),
        width=at(recipe.size[0], "size"),
        height=at(recipe.size[1], "size"),
        seed=at(recipe.seed, "seed"),
        seed_device=at("cpu", "seed"),  # always: unnoise.diffusion.noise
        dtype=at(recipe.dtype, "dtype"),
        others=others,
    )


def _use(applied: AppliedAdapter, base: NamedModel, place: Location) -> Use:
    return Use(place, NamedModel(applied.name, place), base, Located(applied.weight, place))


def _shipped(recipe: Metadata) -> Facts | None:
    """Return the facts of an embedded model, if the recipe is for the same weights."""
    if recipe.model not in ZOO:
        return None
    card = card_of(find(recipe.model))
    return _facts(card) if card.fingerprint == recipe.fingerprint else None


def read_request(request: Request, card: Card, path: str) -> Subject:
    """Read a request before it is run; the card's advice replaces missing values."""
    advice = card.advice

    def at(value: Any, option: str) -> Located[Any] | None:
        return None if value is None else Located(value, Location(path, (option,)))

    options = request.sampling
    size = options.size or next(iter(advice.sizes), None)
    guidance = advice.guidance_scale if options.guidance_scale is None else options.guidance_scale
    schedule = advice.schedule if options.schedule is None else options.schedule
    named = options.sampler if options.sampler is not None else advice.sampler
    explicit = isinstance(schedule, tuple) and options.steps is None
    steps = len(schedule) - 1 if explicit and schedule is not None else options.steps or advice.steps
    strength = request.edit.strength if request.edit.image is None else request.edit.strength or STRENGTH
    others = {"grid": at(schedule, "schedule") if explicit else None, "strength": at(strength, "strength")}
    run = GenerationRun(
        place=Location(path),
        tool="unnoise",
        model=model_of(card, path),
        sampler=at(named if isinstance(named, str | None) else type(named).__name__, "sampler"),
        grid=at(schedule, "schedule") if isinstance(schedule, str) else None,
        steps=at(steps, "steps"),
        guidance=at(guidance if card.prompted else 1.0, "guidance_scale"),
        embedded=at(options.distilled_guidance, "distilled_guidance"),
        prompt=at(request.prompts[0], "prompt"),
        negative=at(options.negative_prompt, "negative_prompt"),
        width=at(size[0] if size else None, "size"),
        height=at(size[1] if size else None, "size"),
        batch=at(options.batch, "batch"),
        seed=at(options.seed, "seed"),
        seed_device=at("cpu", "seed"),
        dtype=at(options.dtype, "dtype"),
        others={name: value for name, value in others.items() if value is not None},
    )
    return Subject(path=path, tool="unnoise", runs=(run,))


def read_training(content: Mapping[str, Any], path: str, text: str) -> Subject:
    """Read the recipe of a training; settings are under their dotted keys, such as "denoiser.dropout"."""
    settings = flat(content, path)
    named = next((settings[key] for key in BASES if key in settings and isinstance(settings[key].value, str)), None)
    base = None if named is None else _base(named.value, named.place)
    training = Training(Location(path), "unnoise", settings, base)
    return Subject(path=path, tool="unnoise", trainings=(training,), texts={path: text})


def _base(name: str, place: Location) -> NamedModel:
    """Describe the model that a recipe names: an embedded one by its card, another as its file says if it is found."""
    return replace(model_of(card_of(find(name)), name), place=place) if name in ZOO else NamedModel(name, place)


def identify_toml(content: Mapping[str, Any]) -> Literal["unnoise", "kohya", ""]:
    """Identify the trainer of a TOML file; "" where it is unknown."""
    if any(all(isinstance(content.get(name), dict) for name in sections) for sections in SECTIONS):
        return "unnoise"
    tables = [content, *(value for value in content.values() if isinstance(value, dict))]
    if any("pretrained_model_name_or_path" in table for table in tables):
        return "kohya"
    listed = content.get("datasets")
    if isinstance(listed, list) and any(isinstance(one, dict) and "subsets" in one for one in listed[:MOST]):
        return "kohya"
    known = {"network_module", "train_data_dir", "max_train_steps", "max_train_epochs", "train_batch_size"}
    known |= {"learning_rate", "optimizer_type", "output_name", "lr_scheduler", "mixed_precision", "network_dim"}
    return "kohya" if len(known.intersection(*[{key for table in tables for key in table}])) > 2 else ""
