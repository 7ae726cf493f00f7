"""Draw docs/images/spiral.png and moons.png: data and samples of the network of docs/gallery.md."""

import re
from math import pi
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import unnoise
from unnoise.train.net_task import points_sheet

ROOT = Path(__file__).parents[1]
COUNT, SHOWN = 20_000, 2000


def spiral() -> Tensor:
    """Return points of a spiral."""
    angle = torch.rand(COUNT) * 9 + 3
    return torch.stack([angle * angle.cos(), angle * angle.sin()], 1) + 0.2 * torch.randn(COUNT, 2)


def moons() -> Tensor:
    """Return points of two half circles."""
    angle, sign = torch.rand(COUNT) * pi, torch.arange(COUNT) % 2 * 2 - 1
    x = torch.stack([angle.cos() * sign + 0.5 * sign, angle.sin() * sign - 0.25 * sign], 1)
    return x + 0.05 * torch.randn(COUNT, 2)


def main() -> None:
    source = re.search(r"^class Net.*?(?=^model)", (ROOT / "docs/gallery.md").read_text(), re.MULTILINE | re.DOTALL)
    assert source is not None
    names: dict[str, object] = {"torch": torch, **vars(torch.nn)}
    exec(source[0], names)
    for data in (spiral, moons):
        torch.manual_seed(0)
        points, net = data(), names["Net"]()  # type: ignore[operator]
        model = unnoise.train.fit(net, points, process="flow", steps=800)
        drawn = unnoise.sample(model, SHOWN, steps=20)
        sheets = [points_sheet(part) for part in (points[:SHOWN], drawn)]
        page = Image.new("RGB", (sum(one.width for one in sheets), sheets[0].height), (255, 255, 255))
        page.paste(sheets[0], (0, 0))
        page.paste(sheets[1], (sheets[0].width, 0))
        page.quantize(32).save(ROOT / "docs/images" / f"{data.__name__}.png", optimize=True)


if __name__ == "__main__":
    main()
