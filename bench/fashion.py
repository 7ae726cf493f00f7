"""Measure models of Fashion-MNIST: `python bench/fashion.py RUNS` prints the table of docs/fashion.md.

RUNS holds `fashion/fashion.safetensors` and `fashion-unconditional/fashion-unconditional.safetensors`, the results of
the two recipes, and `ddpm.safetensors` and `diffusers.safetensors`, written by bench/fashion_peers.py; what is missing
is left out. All are drawn with our default sampler at CALLS network calls, the peers too, whose own samplers need more.

The Fréchet distance is that of the features of bench/fashion_features.py, to the 10,000 test pictures.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fashion_features import CLASSES, Classifier, accuracy, features, frechet, pictures, scaled, trained_classifier
from fashion_peers import PEERS
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from unnoise import load
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise, Denoiser
from unnoise.diffusion.guidance import Guided
from unnoise.diffusion.likelihood import bits_per_dimension
from unnoise.diffusion.loop import sample
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.process import Table
from unnoise.sampling.choose import default

SAMPLES, BATCH, CALLS = 10_000, 250, 10
