"""Write Fashion-MNIST as two tars of PNG files with labels: `python scripts/fashion_mnist.py FOLDER`.

The pictures are read from Debian's package dataset-fashion-mnist (Xiao et al. 2017, MIT); nothing is downloaded.
"""

import gzip
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
PARTS = {"train": "train", "test": "t10k"}
HEADERS = {"images-idx3": 16, "labels-idx1": 8}  # bytes before the values


def read(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures (N, 28, 28) and the labels (N,) of a part, `train` or `test`, as uint8."""
    images, labels = (
        np.frombuffer(gzip.decompress((PACKAGE / f"{PARTS[part]}-{name}-ubyte.gz").read_bytes()), np.uint8)[skipped:]
        for name, skipped in HEADERS.items()
    )
    return images.reshape(-1, 28, 28), labels


def write(part: str, path: Path) -> None:
    """Write the pictures of a part as a tar: `00001.png` with `00001.json` of a label."""
    with tarfile.open(path, "w") as tar:
        for k, (image, label) in enumerate(zip(*read(part), strict=True)):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            for ending, content in (("png", png.getvalue()), ("json", f'{{"label": "{CLASSES[label]}"}}'.encode())):
                member = tarfile.TarInfo(f"{k:05d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        write(part, folder / f"{part}.tar")
        print(folder / f"{part}.tar")


if __name__ == "__main__":
    main()
