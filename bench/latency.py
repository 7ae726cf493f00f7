"""Time of one image as a person waits for it: a warm process, from the prompt to the PNG in memory.

Every part is timed where it runs: the text encoder, the network, the decoder, and the PNG with its metadata; what is left is the toolkit's
own work between them. The time of import and of loading is not in it.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
from torch import nn

import unnoise
from unnoise.generation.media.files import encode_media
from unnoise.pipeline import Pipeline
