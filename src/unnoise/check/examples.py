"""Small subjects from texts in the tools' own notations, for the bad and good examples of rules and for tests."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

from unnoise.check.sample_headers import SAMPLE_HEADERS, Tensors
from unnoise.check.subject import Location, Mask, Measured, Subject
from unnoise.formats.header import Entry, Header

BASE = "base"  # the name of the model of the examples of students
SAMPLING = {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
LATENT = {"width": 1024, "height": 1024, "batch_size": 1}


def script(text: str, path: str = "make.py") -> Subject:
    """Read a script that uses diffusers."""
    from unnoise.check.read.script import read_script

    return _alone(read_script(dedent(text).lstrip("\n"), path))


def comfyui(nodes: Mapping[str, Any], path: str = "workflow.json") -> Subject:
    """Read a workflow of ComfyUI in API format."""
    from unnoise.check.read.comfyui import read_workflow

    return _alone(read_workflow(dict(nodes), path, json.dumps(nodes, indent=2)))


def workflow(
    *,
    checkpoint: str = "sd_xl_base_1.0.safetensors",
    latent: str = "EmptyLatentImage",
    positive: str = "a lighthouse at dawn",
    negative: str = "blurry",
    extra: Mapping[str, Any] | None = None,
    **inputs: Any,
) -> Subject:
    """Read a usual text-to-image workflow.

    inputs: of the KSampler and the latent; extra: further nodes, or replacements of these.
    """
    size = {name: inputs.pop(name, value) for name, value in LATENT.items()}
    wires = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    nodes = {
        "3": _node("KSampler", **SAMPLING | wires | inputs),
        "4": _node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "5": _node(latent, **size),
        "6": _node("CLIPTextEncode", text=positive, clip=["4", 1]),
        "7": _node("CLIPTextEncode", text=negative, clip=["4", 1]),
        "8": _node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": _node("SaveImage", images=["8", 0], filename_prefix="unnoise"),
    }
    return comfyui(nodes | dict(extra or {}))


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def infotext(text: str, path: str = "picture.png") -> Subject:
    """Read the metadata that AUTOMATIC1111, Forge and their forks write into an image."""
    from unnoise.check.read.infotext import read_infotext

    return _alone(read_infotext(dedent(text).strip("\n"), path))


def invokeai(content: Mapping[str, Any], path: str = "picture.png") -> Subject:
    """Read the metadata that InvokeAI writes into an image."""
    from unnoise.check.read.invokeai import read_metadata

    return _alone(read_metadata(dict(content), path))


def folder(files: Mapping[str, Mapping[str, Any] | Header | None], path: str = "model") -> Subject:
    """Read a diffusers folder: contents of its JSON files, headers of its weights, None for any other file."""
    from unnoise.check.read.folder import read_folder

    texts = {name: json.dumps(content, indent=2) for name, content in files.items() if isinstance(content, Mapping)}
    headers = {name: content for name, content in files.items() if isinstance(content, Header)}
    others = [name for name, content in files.items() if content is None]
    return _alone(read_folder(path, texts, headers, others))


def toml(text: str, path: str = "train.toml") -> Subject:
    """Read a training configuration, of sd-scripts or of this program."""
    from unnoise.check.read.dispatch import read_text

    text = dedent(text).lstrip("\n")
    tomllib.loads(text)
    return _alone(read_text(text, Path(path)))


def command(text: str, path: str = "train.sh") -> Subject:
    """Read the command line of a training script."""
    from unnoise.check.read.commands import read_commands

    return _alone(read_commands(dedent(text).lstrip("\n"), path))


def header(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> Header:
    """Return the header of a safetensors file of zeros."""
    from unnoise.formats.header import BITS

    entries, at = {}, 8
    for name, (dtype, shape) in tensors.items():
        bits = BITS[dtype]
        for length in shape:
            bits *= length
        entries[name] = Entry(dtype, shape, at, at + bits // 8)
        at = entries[name].end
    return Header(dict(metadata or {}), entries, at)


def weights(
    tensors: Tensors,
    metadata: Mapping[str, str] | None = None,
    values: Mapping[str, tuple[float, ...]] | None = None,
    path: str = "model.safetensors",
) -> Subject:
    """Read a file of weights from its header; values: the few numbers that are read from it."""
    from unnoise.check.read.weights import describe

    return _alone(describe(header(tensors, metadata), path, values or {}))


def checkpoint(family: str, variant: str = "", path: str = "base.safetensors") -> Subject:
    """Read a checkpoint of a family from the fewest tensors that identify it."""
    return weights(SAMPLE_HEADERS[family, variant], path=path)


def mask(**facts: Any) -> Mask:
    """Describe a mask of 512 x 512 whose right half is painted; facts: fields that differ."""
    plain: dict[str, Any] = {
        "size": (512, 512),
        "low": 0.0,
        "high": 1.0,
        "soft": 0.0,
        "ones": 0.5,
        "cells": 2048,
        "lost": 0,
    }
    return Mask(place=Location("mask.png"), **plain | facts)


def model(path: str, steps: tuple[int, ...] = ()) -> Subject:
    """Read a model of this program from its card. steps: of a student of BASE, which are those it was trained for."""
    from unnoise.card import KEY, to_json

    card = student_card(path, steps) if steps else base_card()
    return weights({"net.enter.weight": ("F32", (32, 5, 3, 3))}, {KEY: to_json(card)}, path=path)


def base_card() -> Any:
    """Return the card of a small model of pixels with the classes of a data set."""
    from unnoise.card import Advice, Card, Part

    args = {"channels": 3, "widths": [32, 32], "depths": [1, 1], "heads": [0, 0], "labels": 3}
    advice = Advice(guidance_scale=3.0, guidance_range=(1.0, 5.0), sizes=((64, 64),))
    return Card(
        BASE, Part("UNet", args), Part("Flow"), "v", Part("Pixels"), advice, "MIT",
        labels=("cat", "dog"), fingerprint="ba5e" * 16,
    )  # fmt: skip


def student_card(name: str, steps: tuple[int, ...]) -> Any:
    """Return the card of a student of that model, with its guidance scale as an input."""
    from unnoise.card import Advice, Distilled, Part, Setting

    base = base_card()
    fitted = tuple(Setting(Part("DDIM"), tuple((n - k) / k for k in range(1, n + 1)), 1.0) for n in steps)
    advice = Advice(steps=steps[0], sizes=base.advice.sizes, distilled_guidance=3.0, fitted=fitted)
    distilled = Distilled("match", base.name, base.fingerprint, base.advice.guidance_range, steps)
    return replace(base, name=name, advice=advice, distilled=distilled, fingerprint="fa57" * 16)


def request_on_student(**options: Any) -> Subject:
    """Read a request to a student of 1, 2 and 4 steps. options: of `generate`."""
    from unnoise.check.read.recipe import read_request
    from unnoise.generation.request import request_of

    return _alone(read_request(request_of(("cat",), **options), student_card("fast", (1, 2, 4)), "fast"))


def lora(path: str, base: str) -> Subject:
    """Read a LoRA of this program that was trained on that model, or, by another name, on its student."""
    from unnoise.families.own import LORA

    card = base_card() if base.startswith(BASE) else student_card(base, (1, 2, 4))
    teacher = card.distilled.teacher_fingerprint if card.distilled else ""
    about = {"name": card.name, "family": "unnoise", "fingerprint": card.fingerprint, "teacher": teacher}
    layer = "net.middle.blocks.0.film"
    halves: Tensors = {f"{layer}.lora_A.weight": ("F32", (4, 128)), f"{layer}.lora_B.weight": ("F32", (64, 4))}
    return weights(halves, {LORA: json.dumps({"base": about})}, path=path)


def measured(path: str = "pipeline", **numbers: float) -> Subject:
    """Return numbers measured at run time as a subject, under the names of check/measure.py."""
    return Subject(path=path, measured=tuple(Measured(name, value, Location(path)) for name, value in numbers.items()))


def together(*subjects: Subject) -> Subject:
    """Return the last subject with its references to the others resolved, as in one command with all."""
    from unnoise.check.references import Shelf, related

    shelf = Shelf({Path(subject.path).name: subject for subject in subjects})
    found = related(subjects[-1], subjects, shelf)
    texts = {path: text for subject in subjects for path, text in subject.texts.items()}
    return replace(found, texts=texts)


def _alone(subject: Subject) -> Subject:
    from unnoise.check.references import Shelf, related

    return related(subject, (), Shelf())
