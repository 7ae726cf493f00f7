"""Measure models of Fashion-MNIST: `python bench/fashion.py RUNS [SAMPLES]` prints the table of docs/fashion.md.

RUNS holds `fashion/fashion.safetensors` and `fashion-unconditional/fashion-unconditional.safetensors`, the results of
the two recipes, and `ddpm.safetensors` and `diffusers.safetensors` of bench/fashion_peers.py; what is missing is left
out. All are drawn with our default sampler in CALLS network calls, the peers too, whose own samplers need more.

The Fréchet distance is that of the features of bench/fashion_features.py, to the 10,000 test pictures.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fashion_features import (
    CLASSES as TRAINED,
    Classifier,
    accuracy,
    features,
    read,
    scaled,
    trained_classifier,
)
from fashion_peers import PEERS
from frechet import frechet
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from unnoise import load
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise, Denoiser
from unnoise.diffusion.guidance import cfg
from unnoise.diffusion.likelihood import likelihood
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.process import Table
from unnoise.pipeline import Pipeline
from unnoise.sampling.defaults import default
from unnoise.sampling.state import start

SAMPLES, BATCH, CALLS = 10_000, 250, 10
GUIDANCE = 2.0  # of the samples whose class is judged
JUDGED, MEASURED, PROBES, STEPS = 2_000, 64, 2, 24  # guided samples; pictures of the likelihood, and its cost
CLASSES = 10

Bound = Callable[[Tensor], Denoise]  # labels (B,) -> the denoiser of these classes


class PeerNet(nn.Module):
    """The network of a peer as ours are called: it takes pictures and the number of a noise level."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        out = self.net(x, time)
        return out if isinstance(out, Tensor) else out.sample


def peer(name: str, path: Path) -> Denoiser:
    """Load a peer as a denoiser of pictures in [-1, 1]."""
    weights = load_file(path)
    process = Table(tuple(weights.pop("alphas").double().tolist()))
    net = PEERS[name]()[0]
    net.load_state_dict(weights)
    return Denoiser(PeerNet(net.eval()), process, "v" if name == "ddpm" else "eps")


def labels(count: int) -> Tensor:
    return torch.arange(count) % CLASSES


@torch.no_grad()
def drawn(bound: Bound, shape: tuple[int, ...], ends: tuple[float, float], count: int, guided: bool = False) -> Tensor:
    """Draw samples of all classes in turn: (count, *shape). ends: the lowest and the highest level of the process."""
    sampler, grid = default(CALLS, ends[1], ends[0], guided=guided)
    parts = []
    for first in range(0, count, BATCH):
        seeds = range(first, first + BATCH)
        noise = draw(seeds, START, torch.empty(BATCH, *shape))
        parts.append(run(sampler, bound(labels(count)[first : first + BATCH]), start(noise, grid), draw, seeds))
    return torch.cat(parts)


def own_samples(model: Pipeline, count: int, guidance_scale: float = 1.0) -> Tensor:
    """Draw pictures of a model of ours in [-1, 1]: (count, 1, 28, 28)."""
    classes, process = model.card.labels, model.denoiser.process

    def bound(rows: Tensor) -> Denoise:
        if not classes:
            return model.denoiser.bind(Conditioning())
        null = Conditioning(label=torch.full_like(rows, len(classes)))
        return cfg(model.denoiser, Conditioning(label=rows), null, guidance_scale)

    ends = (process.sigma_min, process.sigma_max)
    x0 = drawn(bound, model.space.shape(28, 28), ends, count, guidance_scale != 1)
    return torch.cat([model.space.decode(part) for part in x0.split(BATCH)])


def bits_per_dimension(model: Pipeline) -> tuple[float, float]:
    """Return the bits a dimension of 8-bit test pictures under a model without classes, and their standard error."""
    images = read("test")[0][:MEASURED].astype(np.float32)
    noise = np.random.default_rng(0).random(images.shape, np.float32)
    x0 = model.space.encode(torch.from_numpy((images + noise - 0.5)[:, None] / 127.5 - 1))
    found = likelihood(model.denoiser.bind(Conditioning()), x0, range(MEASURED), PROBES, steps=STEPS)
    bits = found.bits + math.log2(127.5 * model.space.affine.scale[0])  # type: ignore[attr-defined]
    return float(bits.mean()), float(bits.std() / math.sqrt(MEASURED))


def report(name: str, images: Tensor, classifier: Classifier, real: np.ndarray, folder: Path) -> None:
    """Print the distance of pictures to the real ones, and write the first hundred."""
    print(f"{name:32} {frechet(features(classifier, images), real):8.2f}", flush=True)
    rows = images[:100, 0].unflatten(0, (10, 10)).transpose(0, 1)
    grid = rows.transpose(1, 2).flatten(2).flatten(0, 1)
    Image.fromarray(((grid + 1) * 127.5).round().clamp(0, 255).byte().numpy()).save(folder / f"{name}.png")


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else SAMPLES
    classifier = trained_classifier(folder / "classifier.safetensors")
    (train, _), (test, answers) = read("train"), read("test")
    right = accuracy(classifier, scaled(test), torch.from_numpy(answers.astype(np.int64)))
    real = features(classifier, scaled(test))
    print(f"accuracy of the classifier {right:.1%}; {count:,} samples, {CALLS} calls\n{'':32} Fréchet")
    print(f"{'training pictures':32} {frechet(features(classifier, scaled(train[:count])), real):8.2f}")
    for name in ("fashion", "fashion-unconditional"):
        path = folder / name / f"{name}.safetensors"
        if path.exists():
            model = load(path)
            report(name, own_samples(model, count), classifier, real, folder)
            if model.card.labels:
                order = [TRAINED.index(label) for label in model.card.labels]
                wanted = torch.tensor(order)[labels(JUDGED)]
                for scale in (1.0, GUIDANCE):
                    share = accuracy(classifier, own_samples(model, JUDGED, scale), wanted)
                    print(f"  right class at guidance scale {scale:g}: {share:.1%} of {JUDGED:,}", flush=True)
            else:
                print("  bits a dimension: {:.2f} +- {:.2f}".format(*bits_per_dimension(model)), flush=True)
    for name in PEERS:
        if (folder / f"{name}.safetensors").exists():
            denoiser = peer(name, folder / f"{name}.safetensors")
            ends = (denoiser.process.sigma_min, denoiser.process.sigma_max)
            images = drawn(lambda rows, made=denoiser: made.bind(Conditioning()), (1, 28, 28), ends, count)
            report(name, images.clamp(-1, 1), classifier, real, folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
