"""Draw a mask for an image of 64x64 pixels: the right half is white, so it is painted; the left half is kept.

python examples/edit/mask.py mask.png
"""

import sys

from PIL import Image

SIDE = 64


def main(path: str) -> None:
    """Write the mask."""
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (SIDE // 2, 0, SIDE, SIDE))
    mask.save(path)
    print(path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "mask.png")
