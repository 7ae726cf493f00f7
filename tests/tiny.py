"""A text-to-image pipeline so small that it draws in milliseconds: every part is real, the weights are random."""

from dataclasses import replace
from pathlib import Path

import torch

from unnoise.card import Advice, Card, Part
from unnoise.loading import load
from unnoise.model_file import build, save
from unnoise.pipeline import Pipeline

CARD = Card(
    name="tiny",
    net=Part(
        "UNet", {"channels": 4, "widths": [32, 32], "depths": [1, 1], "heads": [0, 2], "context": 16, "vector": 16}
    ),
    process=Part("Flow"),
    kind="flow",
    space=Part("Latent", {"shift": [0.1, -0.2, 0.0, 0.3], "scale": [0.5, 0.6, 0.7, 0.8]}),
    autoencoder=Part("Autoencoder", {"width": 32, "encode": 1, "decode": 1}),
    text=Part("TextEncoder", {"vocab": 258, "width": 16, "depth": 1, "heads": 2, "length": 16}),
    tokenizer=Part("Tokenizer", {"merges": [[98, 99]]}),
    advice=Advice(steps=3, guidance_scale=2.0, guidance_range=(1.0, 4.0), sizes=((16, 16), (24, 16))),
    licence="Apache-2.0",
    training={"steps": 0},
)


def pipeline(card: Card = CARD, seed: int = 0) -> Pipeline:
    """Make a pipeline whose every weight is random, also those that a network begins at zero."""
    torch.manual_seed(seed)
    made = build(card)
    for net in made.networks().values():
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        net.requires_grad_(False).eval()
    return Pipeline.of(made)


def saved(path: Path, **changes: object) -> Pipeline:
    """Write a tiny model and load it, so that its card has a fingerprint."""
    save(path, pipeline(replace(CARD, **changes)))  # type: ignore[arg-type]
    return load(path)
