"""Students without new inputs: a LoRA of the teacher, or the whole network of another program, and their files.

Such a student has one guidance scale folded in, and one number of calls, as it is told neither the scale nor the end of
a jump. Its network is the teacher's, so that a step of it costs a step of the teacher without guidance.
"""

import json
import shutil
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.adapters.lora.compatibility import LoraCard, base_from, read_lora_card
from unnoise.adapters.lora.read import Adapter, read
from unnoise.adapters.lora.targets import TEXT, select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.adapters.lora.write import write
from unnoise.card import OWN, Card
from unnoise.components import CODERS, Components
from unnoise.diffusion.conditioning import Conditioning, same_inputs
from unnoise.diffusion.denoiser import Denoiser
from unnoise.distill.recipe import DistillRecipe
from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.formats.atomic import replacing
from unnoise.formats.header import read_header
from unnoise.formats.open_file import read_text
from unnoise.integrations.diffusers.export import exportable, rewrite
from unnoise.pipeline import Pipeline
from unnoise.train.finetune import FACTS
from unnoise.train.fit_options import FitOptions


class LoraNet(nn.Module):
    """A network with a LoRA in training, which is all that is trained of it."""

    def __init__(self, net: nn.Module, lora: TrainableLora) -> None:
        super().__init__()
        self.net, self.trained = net, lora
        self.factor = getattr(net, "factor", 1)
        same_inputs(self, net)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network with the LoRA. x: (B, *d) in the native frame; time: (B,)."""
        with self.trained.on():
            out: Tensor = self.net(x, time, cond)
        return out


def is_plain(recipe: DistillRecipe, teacher: Card) -> bool:
    """Whether the student takes no new inputs."""
    return recipe.lora is not None or teacher.family != OWN


def trained_part(net: nn.Module) -> nn.Module:
    """Return what is trained of a student's network: the LoRA alone, where there is one."""
    part: nn.Module = getattr(net, "trained", net)
    return part


def plain_fit(recipe: DistillRecipe) -> FitOptions:
    """Return the options of the loop: a LoRA is applied by hooks, which are not compiled."""
    if recipe.lora is None:
        return recipe.fit
    return replace(recipe.fit, compile=False, channels_last=recipe.fit.channels_last is True)


def check_plain(recipe: DistillRecipe, teacher: Components) -> None:
    """Raise InputError where a student without new inputs cannot be what the recipe asks for."""
    card = teacher.card
    what = "a LoRA" if recipe.lora is not None else f"the network of {card.family}"
    if teacher.image_conditioner is not None:
        raise InputError(f"teacher {recipe.teacher!r}: takes an image as input, which a distillation does not draw")
    if recipe.consistency is not None:
        raise InputError(f"[consistency]: trains a whole network of unnoise, and not {what}; use [imitate] or [match]")
    if recipe.guidance_input:
        raise InputError(
            f"guidance {list(recipe.guidance)}: {what} takes no guidance scale as an input; fold one in, such as "
            f"[{recipe.guidance[1]:g}, {recipe.guidance[1]:g}]"
        )
    if len(recipe.steps) > 1:
        raise InputError(
            f"steps {list(recipe.steps)}: {what} does not take the end of a jump, so it is trained for one number of "
            f"calls, such as [{recipe.steps[-1]}]"
        )
    points = getattr(recipe.options, "points", None)
    if points not in (None, 1):
        raise InputError(f"{recipe.method}.points {points}: {what} has one prediction a call; leave it out")
    if recipe.init:
        raise InputError(f"init {recipe.init!r}: {what} begins at its teacher, or at lora.init; leave it out")
    if recipe.lora is None:
        exportable(Identity(card.family, card.variant), f"teacher {recipe.teacher!r}")
    elif recipe.fit.shard or recipe.fit.compile is True:
        raise InputError("fit.shard, fit.compile true: of whole networks, and the student is a LoRA; leave them out")
    elif recipe.lora.dropout:
        raise InputError(f"lora.dropout {recipe.lora.dropout:g}: a student follows its teacher without; leave it out")
    elif TEXT in recipe.lora.targets:
        raise InputError("lora.targets 'text': the text encoder is the teacher's and stays as it is; leave it out")


def make_plain_student(recipe: DistillRecipe, card: Card, teacher: Components) -> Pipeline:
    """Return a student that starts as its teacher; a LoRA shares the teacher's network."""
    check_plain(recipe, teacher)
    own, process = teacher.denoiser, teacher.denoiser.process
    if recipe.lora is not None:
        torch.manual_seed(recipe.seed)
        lora = _make_lora(recipe, teacher)
        return Pipeline.of(replace(teacher, card=card, denoiser=Denoiser(LoraNet(own.net, lora), process, own.kind)))
    named = {name: net for name, net in teacher.diffusers_networks.items() if name not in CODERS}
    named = {name: net for name, net in named.items() if not name.startswith(TEXT)}
    net, named = deepcopy((own.net, named))
    net.requires_grad_(True).train()
    denoiser, networks = Denoiser(net, process, own.kind), {**teacher.diffusers_networks, **named}
    return Pipeline.of(replace(teacher, card=card, denoiser=denoiser, diffusers_networks=networks))


def _make_lora(recipe: DistillRecipe, teacher: Components) -> TrainableLora:
    options = recipe.lora
    assert options is not None
    roots = {name: net for name, net in teacher.adaptable().items() if not name.startswith(TEXT)}
    names = select_layers(roots, options.targets)
    lora = TrainableLora(roots, names, options.rank, options.alpha, dora=options.dora)
    if options.init:
        lora.start_from(read(find(options.init, ADAPTERS), teacher).deltas, f"lora.init {options.init!r}")
    return lora


def save_plain_student(recipe: DistillRecipe, student: Components, teacher: Components, path: Path) -> None:
    """Write a LoRA file, or the folder of a whole model in the layout of diffusers.

    teacher: the base that the LoRA names.
    """
    facts = _facts(student)
    if recipe.lora is None:
        shutil.rmtree(path, ignore_errors=True)  # of a run that is extended
        rewrite(find(recipe.teacher), path, student.diffusers_networks)
        with replacing(path / FACTS) as file:
            file.write(json.dumps(facts, indent=2).encode())
        return
    lora: Any = trained_part(student.denoiser.net)
    options = {"rank": recipe.lora.rank, "alpha": recipe.lora.alpha, "targets": list(recipe.lora.targets)}
    card = LoraCard(base_from(teacher.card), licence=student.card.licence, training=facts | options)
    write(path, Adapter(path.name, lora.deltas(), about=card))


def stated_options(path: Path) -> dict[str, str]:
    """Return the options of `generate` that the file of a student without new inputs states; none of other files."""
    if path.is_dir():
        facts = json.loads(read_text(path / FACTS))
    else:
        card = read_lora_card(read_header(path).metadata, str(path))
        facts = {} if card is None else card.training
    return {name: str(facts[name]) for name in ("sampler", "schedule", "guidance_scale") if name in facts}


def run_options(student: Components) -> dict[str, str]:
    """Return the options of `generate` with which a file of a student without new inputs is run."""
    sampling, top = student.card.advice.fitted[-1], student.denoiser.process.sigma_max
    schedule = ",".join(f"{level:g}" for level in (top, *sampling.levels))
    return {"sampler": sampling.sampler.class_.lower(), "schedule": schedule, "guidance_scale": "1"}


def _facts(student: Components) -> dict[str, Any]:
    """Return what a file of a student says of its training, and how it is run; `times` are those of its process."""
    card, process = student.card, student.denoiser.process
    assert card.distilled is not None
    levels = torch.tensor([process.sigma_max, *card.advice.fitted[-1].levels[:-1]], dtype=torch.float64)
    times = [round(time, 3) for time in process.time(levels).tolist()]
    about = {"distilled": asdict(card.distilled), "licence": card.licence, "times": times}
    return {**card.training, **about, **run_options(student)}
