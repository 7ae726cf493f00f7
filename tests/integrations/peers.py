"""Tiny random pipelines of diffusers' own classes, and the comparison of ours with them.

Noise is added to all weights, so that every part of a network has an effect: some new weights are near zero.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

START, END = "<|startoftext|>", "<|endoftext|>"
PROMPT, NEGATIVE = "a cat in a hat", "a dog"


def clip_tokenizer(folder: Path, pad: str = END) -> CLIPTokenizer:
    """Make a CLIP tokenizer of single letters and two merges."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    words = [*letters, *(letter + "</w>" for letter in letters), "ca", "cat</w>", START, END]
    (folder / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    vocab = json.loads((folder / "vocab.json").read_text())
    return CLIPTokenizer(vocab=vocab, merges=[("c", "a"), ("ca", "t</w>")], pad_token=pad, model_max_length=77)


def clip_text(seed: int = 0, width: int = 32, projected: bool = False, **more: Any) -> Any:
    """Make a tiny CLIP text network."""
    config = CLIPTextConfig(
        **{
            "bos_token_id": 0, "eos_token_id": 2, "hidden_size": width, "intermediate_size": 37, "num_hidden_layers": 3,
            "num_attention_heads": 4, "vocab_size": 400, "projection_dim": width, "layer_norm_eps": 1e-5, **more,
        }
    )  # fmt: skip
    torch.manual_seed(seed)
    return spread((CLIPTextModelWithProjection if projected else CLIPTextModel)(config))


def t5_tokenizer(length: int = 512) -> T5Tokenizer:
    """Make a T5 tokenizer of single letters and a word."""
    letters = [chr(code) for code in range(33, 127)]
    words = ["<pad>", "</s>", "<unk>", "\u2581", *letters, *(f"\u2581{letter}" for letter in letters), "\u2581cat"]
    scored = [(word, 0.0 if k < 3 else -2.0 if k < 200 else -1.0) for k, word in enumerate(words)]
    return T5Tokenizer(vocab=scored, extra_ids=0, model_max_length=length)


def t5_text(seed: int = 0, width: int = 32) -> Any:
    """Make a tiny T5 text network."""
    config = T5Config(
        vocab_size=400, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    torch.manual_seed(seed)
    return spread(T5EncoderModel(config))


def spread(net: nn.Module, std: float = 0.05) -> Any:
    """Add noise to every weight, and switch to evaluation."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * std)
    return net.eval().requires_grad_(False)


def moved(pipeline: Any) -> Any:
    """Move the weights of a pipeline to memory of their own: how a product rounds depends on where its numbers begin.

    Those of a file lie where its header ends, which no allocator would choose, and on some CPUs that is seen.
    """
    for net in pipeline.networks().values():
        for parameter in net.parameters():
            parameter.data = parameter.data.clone()
    return pipeline


def saved(pipe: Any, folder: Path) -> Path:
    """Write a pipeline as diffusers does."""
    pipe.save_pretrained(folder)
    return folder


def flow_levels(pipe: Any) -> list[float]:
    """Return the levels of the last run of a flow pipeline; its own sigma is the share of noise."""
    return [float(t / (1 - t)) if t < 1 else float("inf") for t in pipe.scheduler.sigmas.double()]


def assert_close(ours: Tensor, peer: Tensor, tolerance: float = 1e-4) -> None:
    """Compare x0 with the latents of the reference: within tolerance * max(1, rms)."""
    assert ours.shape == peer.shape, (ours.shape, peer.shape)
    worst = (ours - peer).abs().max().item()
    rms = peer.square().mean().sqrt().item()
    assert worst <= tolerance * max(1.0, rms), f"off by {worst:.2e} where the rms is {rms:.3f}"


def assert_same_images(ours: Sequence[Image.Image], peer: Sequence[Image.Image]) -> None:
    """Compare images: within 1 of 255."""
    for one, other in zip(ours, peer, strict=True):
        gap = np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max()
        assert gap <= 1, f"off by {gap} of 255"
        assert np.asarray(other).std() > 2, "an image of one colour tests nothing"
