"""The student: an ordinary model with the teacher's card and weights, whose new inputs start without effect."""

from dataclasses import replace

import torch
from torch import nn

from unnoise import model_file
from unnoise.card import Card, Distilled, Setting
from unnoise.components import Components
from unnoise.diffusion.denoiser import Denoiser
from unnoise.distill.plain_student import is_plain, make_plain_student
from unnoise.distill.recipe import DistillRecipe
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline

LAST = "leave."  # the layer whose outputs are the prediction, or the points of one


def student_card(recipe: DistillRecipe, teacher: Card, init: Card | None = None) -> Card:
    """Return the card of the student of a recipe: the teacher's, with the network's inputs, levels and origin.

    init: of the student to begin from, whose points are kept.
    """
    low, high = recipe.guidance
    more = {} if is_plain(recipe, teacher) else _extras(recipe, init)
    net = replace(teacher.net, args=teacher.net.args | more)
    fitted = tuple(Setting(*recipe.options.sampling(steps), guidance_scale=1.0) for steps in recipe.steps)
    advice = replace(
        teacher.advice,
        sampler=None,
        schedule=None,
        steps=max(steps for steps in recipe.steps if steps <= max(2, recipe.steps[0])),
        guidance_scale=1.0,
        guidance_range=(1.0, 1.0),
        guidance_interval=(0.0, None),
        guidance_rescale=0.0,
        distilled_guidance=min(max(teacher.advice.guidance_scale, low), high) if recipe.guidance_input else None,
        fitted=fitted,
    )
    return replace(
        teacher,
        name=recipe.name,
        net=net,
        advice=advice,
        licence=recipe.licence or teacher.licence,
        training=_facts(recipe, teacher),
        fingerprint="",
        distilled=Distilled(
            recipe.method,  # type: ignore[arg-type]
            teacher.name,
            teacher.fingerprint,
            recipe.guidance,
            recipe.steps,
        ),
    )


def _extras(recipe: DistillRecipe, init: Card | None) -> dict[str, object]:
    """Return the arguments that the student's network has besides the teacher's, see `NetExtras`."""
    found = dict(recipe.options.extras) | ({"guidance": True} if recipe.guidance_input else {})
    if init is not None and "points" in init.net.args and found.get("end"):  # only a jump with an end has points
        return {"points": init.net.args["points"]} | found
    return found


def _facts(recipe: DistillRecipe, teacher: Card) -> dict[str, object]:
    """Return the facts of the training, without those that the run measures."""
    kept = {name: teacher.training[name] for name in ("data",) if name in teacher.training}
    return kept | {
        **({"data": recipe.data.source} if recipe.data else {}),
        **({"init": recipe.init} if recipe.init else {}),
        "steps": recipe.fit.steps,
        "batch": recipe.fit.batch,
        "seed": recipe.seed,
        "torch": torch.__version__,
    }


def build_student(recipe: DistillRecipe, teacher: Components, init: Card | None = None) -> Pipeline:
    """Build the student of a recipe, of any form, with the weights of its teacher. init: as for `student_card`."""
    card = student_card(recipe, teacher.card, init)
    if is_plain(recipe, teacher.card):
        return make_plain_student(recipe, card, teacher)
    return make_student(card, teacher)


def make_student(card: Card, teacher: Components) -> Pipeline:
    """Build a student with the weights of its teacher; text encoder and autoencoder are the teacher's own."""
    net = model_file.build(card).denoiser.net
    begin_from(net, teacher.denoiser.net)
    net.to(teacher.device).requires_grad_(True).train()
    return Pipeline.of(replace(teacher, card=card, denoiser=Denoiser(net, teacher.denoiser.process, card.kind)))


def begin_from(net: nn.Module, other: nn.Module) -> None:
    """Load the weights of another network. What it does not have starts without effect, as `NetExtras` says: new inputs
    at zero, and points as copies of its prediction.

    Raises InputError where it is not the same network apart from its inputs, or has other points.
    """
    own, given = net.state_dict(), dict(other.state_dict())
    points, others = getattr(net, "points", 1), getattr(other, "points", 1)
    if others not in (1, points):
        raise InputError(
            f"init: its network has {others} points along a jump, and the student {points}; use the same number, or "
            f"begin from a student of one point"
        )
    if others < points:
        for name in given:
            if name.startswith(LAST):
                given[name] = given[name].repeat(points, *[1] * (given[name].ndim - 1))
    differing = [name for name, value in given.items() if name not in own or own[name].shape != value.shape]
    if differing:
        raise InputError(f"init: its network is another one: {differing[0]!r} does not fit")
    net.load_state_dict(own | given)


def check_init(recipe: DistillRecipe, init: Components, teacher: Components) -> None:
    """Raise InputError for a student to begin from that is of another teacher, space, process or kind."""
    own, other = teacher.card, init.card
    named = f"init {recipe.init!r}"
    if other.distilled is None or other.distilled.teacher_fingerprint != own.fingerprint:
        whose = "is not distilled" if other.distilled is None else f"was distilled from {other.distilled.teacher!r}"
        raise InputError(f"{named}: {whose}; use a student of {recipe.teacher!r}, or leave init out")
    for role in ("kind", "process", "space"):
        if getattr(own, role) != getattr(other, role):
            raise InputError(
                f"{named}: has the {role} {getattr(other, role)}, and the teacher {getattr(own, role)}; both must be "
                f"the same"
            )
