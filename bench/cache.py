"""Cost of the cache of encoded views, in CPU time and in memory; `make bench` prints it.

`speed`: the CPU time of the encoder alone, on tensors that are ready, as a share of the CPU time of the whole build:
reading, hashing, decoding, rendering, encoding, writing. The encoder has the width of the recipe of emoji; images are
64 x 64, one view each, in a .tar file. `memory`: a training of 30 steps on 2,000, 20,000 and 200,000 images, each in a
process of its own: `anonymous` is what only the process holds, RssAnon of Linux, at the last step; the mapped files of
the cache are counted by the kernel as `files`, and are dropped where memory is short.
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image

from unnoise.data import workers
from unnoise.data.open import open_unchecked
from unnoise.nets.autoencoder import Autoencoder
from unnoise.spaces.latent import Latent
from unnoise.train import cache
from unnoise.train.cache import Encoder, encode_views, fingerprint_of
from unnoise.train.recipe import DataOptions, TrainingRecipe, parse_recipe
from unnoise.train.task import Progress
from unnoise.train.train_recipe import train_recipe

SIZE, SPEED, ROUNDS = 64, 4000, 3
COUNTS, STEPS, SMALL = (2000, 20_000, 200_000), 30, 32
DISTINCT = 2000  # pictures that are made; the others repeat them
RECIPE = """
name = "memory"
[data]
source = "{source}"
size = {size}
views = 1
validation = 0.0
[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = {steps}, batch = 32, warmup = 1, precision = "float32", compile = false }}
text = {{ vocab = 300, width = 32, depth = 1, heads = 2, length = 16 }}
net.class = "UNet"
net.args = {{ channels = 3, widths = [32, 32], depths = [1, 1], heads = [0, 2], context = 32 }}
[checkpoints]
ema_every = 10
"""


class Memory:
    """Report the memory of the last step of a training."""

    def opened(self, dataset: object) -> None:
        self.began = time.process_time()

    def stage(self, name: str, total: int) -> None:
        pass

    def step(self, progress: Progress) -> None:
        if progress.step == STEPS:
            lines = Path("/proc/self/status").read_text().splitlines()
            found = dict(line.split(":", 1) for line in lines)
            anonymous, files = (int(found[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{anonymous:.0f} {files:.0f} {peak:.0f}")

    def encoded(self, done: int, total: int) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--counts", type=int, nargs="*", default=COUNTS, help="numbers of images of the trainings")
    parser.add_argument("--train", type=Path, help="train a recipe and print its memory")
    arguments = parser.parse_args()
    if arguments.train:
        recipe = parse_recipe(TrainingRecipe, arguments.train)
        train_recipe(recipe, arguments.train.parent / "run", torch.device("cpu"), False, Memory())
        return
    with tempfile.TemporaryDirectory() as folder:
        speed(Path(folder))
        for count in arguments.counts:
            memory(Path(folder) / str(count), count)


def pictures(folder: Path, count: int, size: int, format: str) -> Path:
    """Write captioned pictures of smooth noise as a .tar file."""
    folder.mkdir()
    random = np.random.default_rng(0)
    made = []
    for _ in range(min(count, DISTINCT)):
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
        file = io.BytesIO()
        small.resize((size, size), Image.Resampling.BICUBIC).save(file, format, quality=90)
        made.append(file.getvalue())
    with tarfile.open(folder / "pictures.tar", "w") as archive:
        for i in range(count):
            caption = f"picture {i % 97} of {i % 89}".encode()
            for ending, raw in ((format.lower(), made[i % DISTINCT]), ("txt", caption)):
                member = tarfile.TarInfo(f"{i:06}.{ending}")
                member.size = len(raw)
                archive.addfile(member, io.BytesIO(raw))
    return folder


def cpu_seconds() -> float:
    """Return the CPU time of this process, and of its workers that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def speed(folder: Path) -> None:
    """Print the CPU time of the encoder as a share of that of the build."""
    net = Autoencoder(width=96, encode=2, decode=4).eval().requires_grad_(False)
    encoder = Encoder(Latent(net).encode, fingerprint_of(net))
    ready = torch.rand(cache.BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    few = workers.FEW
    print(f"{'format':7} {'workers':>8} {'encoder':>8} {'build':>8} {'speed':>7}   CPU ms an image; asked: 90 %")
    for format in ("JPEG", "PNG"):
        dataset = open_unchecked(str(pictures(folder / format, SPEED, SIZE, format)), SIZE)
        for asked in (0, 2):
            bare = build = 0.0
            workers.FEW = few if asked else SPEED + 1
            for round in range(ROUNDS):
                began = cpu_seconds()
                for _ in range(SPEED // cache.BATCH // ROUNDS):
                    encoder.encode(ready)
                bare += cpu_seconds() - began
                place = folder / f"{format}-{asked}-{round}"
                part = dataset.subset(range(round, SPEED, ROUNDS))
                began = cpu_seconds()
                encode_views(part, DataOptions("", SIZE, views=1, workers=asked), 0, encoder, place, lambda *_: None)
                build += cpu_seconds() - began
            each = (1000 * bare / (SPEED // cache.BATCH // ROUNDS * ROUNDS * cache.BATCH), 1000 * build / SPEED)
            print(f"{format:7} {asked:8} {each[0]:8.2f} {each[1]:8.2f} {100 * each[0] / each[1]:6.1f} %", flush=True)
    workers.FEW = few


def memory(folder: Path, count: int) -> None:
    """Print the memory of a training on so many images."""
    source = pictures(folder, count, SMALL, "JPEG")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(source=source, size=SMALL, steps=STEPS))
    began = cpu_seconds()
    command = [sys.executable, __file__, "--train", str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    anonymous, files, peak = done.stdout.split()
    print(
        f"{count:7} images: anonymous {anonymous} MB, files {files} MB, peak while opening and encoding {peak} MB; "
        f"{cpu_seconds() - began:.0f} s of CPU",
        flush=True,
    )


if __name__ == "__main__":
    main()
