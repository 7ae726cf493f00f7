"""Features of Fashion-MNIST: a small classifier that this script trains.

The pictures are those of scripts/fashion_mnist.py: 60,000 to train on and 10,000 to test on, in ten classes.
"""

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from fashion_mnist import CLASSES, read

EPOCHS, BATCH, FEATURES = 4, 128, 128


class Classifier(nn.Module):
    """A convolutional network of 0.2 M parameters; its last hidden layer of 128 numbers is the feature of a picture."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 24, 48, 96)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 3, padding=1),
                    nn.BatchNorm2d(b),
                    nn.ReLU(),
                    nn.Conv2d(b, b, 3, padding=1),
                    nn.BatchNorm2d(b),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                )
                for a, b in pairwise(widths)
            )
        )
        self.hidden = nn.Linear(96 * 9, FEATURES)
        self.dropout = nn.Dropout(0.3)
        self.leave = nn.Linear(FEATURES, len(CLASSES))

    def features(self, x: Tensor) -> Tensor:
        """Return the features of pictures: (B, 1, 28, 28) in [-1, 1] -> (B, 128)."""
        return F.relu(self.hidden(self.blocks(x).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of the classes: (B, 10)."""
        return self.leave(self.dropout(self.features(x)))


def scaled(images: np.ndarray) -> Tensor:
    """Scale pictures of uint8 to [-1, 1]: (N, 28, 28) -> (N, 1, 28, 28)."""
    return torch.from_numpy(images.astype(np.float32))[:, None] / 127.5 - 1


def batches(x: Tensor, size: int = 1000) -> Iterator[Tensor]:
    return iter(x.split(size))


def trained_classifier(path: Path) -> Classifier:
    """Read the classifier of a file, or train it and write the file."""
    net = Classifier()
    if path.exists():
        net.load_state_dict(load_file(path))
        return net.eval()
    torch.manual_seed(0)
    images, labels = read("train")
    x, y = scaled(images), torch.from_numpy(labels.astype(np.int64))
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.05)
    steps = EPOCHS * (len(x) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            mirrored = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, x[rows], x[rows].flip(3))
            F.cross_entropy(net(mirrored), y[rows], label_smoothing=0.05).backward()
            optimizer.step()
            optimizer.zero_grad()
            rate.step()
    net.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), path)
    return net


@torch.no_grad()
def features(net: Classifier, x: Tensor) -> np.ndarray:
    """Return the features of pictures in [-1, 1] as float64: (N, 128)."""
    return torch.cat([net.features(part) for part in batches(x)]).double().numpy()


@torch.no_grad()
def accuracy(net: Classifier, x: Tensor, labels: Tensor) -> float:
    """Return the share of pictures whose class the classifier names as the label does."""
    found = torch.cat([net(part).argmax(1) for part in batches(x)])
    return float((found == labels).double().mean())
