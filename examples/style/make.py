"""Draw 120 emoji in ink and watercolour, with captions: the training images of recipes/ink.toml.

python examples/style/make.py runs/ink-pictures
"""

import json
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from unnoise.data.open import open_source
from unnoise.data.outline import outlines
from unnoise.data.view import View, render_views

COUNT = 120
INK = (0.12, 0.18, 0.45)
WASH = 0.8  # share of the colour that areas keep


def inked(images: Tensor) -> Tensor:
    """Redraw images (B, 3, H, W) in [-1, 1] with blue lines and pale colours."""
    pale = 1 - WASH * (1 - images)
    ink = torch.tensor(INK)[None, :, None, None] * 2 - 1
    return torch.lerp(pale, ink.expand_as(pale), outlines(images))


def main(folder: Path) -> None:
    """Write the images and their captions."""
    source = open_source("emoji", 64)
    firsts = [members[0] for members in source.members]
    chosen = firsts[:: len(firsts) // COUNT][:COUNT]
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, drawing in zip(chosen, inked(render_views(source, [View(i, "") for i in chosen])), strict=True):
        whole = ((drawing + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(whole).save(folder / f"{i:04d}.png")
        lines.append(json.dumps({"file_name": f"{i:04d}.png", "text": source.captions[i][0]}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{folder}: {len(lines)} drawings")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/ink-pictures"))
