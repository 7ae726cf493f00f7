"""Sheets that show many pictures at once, each over its caption."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, sqrt

from PIL import Image, ImageDraw, ImageFont

PIXELS_OF_SHEET = 16_000_000  # at most, captions not counted
SHOWN = 192  # pixels that a small picture is enlarged to at most
EDGE, GAP, HEAD, BELOW = 32, 20, 36, 56  # pixels around the sheet, between cells, for the title, for a caption
PAPER, LINE, INK, FAINT = (251, 250, 247), (226, 224, 218), (33, 33, 38), (96, 94, 90)
ELLIPSIS = "..."


def sheet(
    pictures: Sequence[Image.Image], captions: Sequence[str], title: str, columns: int | None = None
) -> Image.Image:
    """Lay pictures in rows, each over its caption, under a title.

    columns: how many in a row, otherwise as many as make the sheet a little wider than high. Small pictures are
    enlarged by a whole factor, so that pixels stay squares; large ones are made smaller, so that the sheet stays handy.
    """
    across = columns or min(len(pictures), ceil(sqrt(len(pictures) * 1.3)))
    down = ceil(len(pictures) / across)
    side = max(max(image.size) for image in pictures)
    cell = _cell(side, across * down)
    page = Image.new("RGB", (2 * EDGE + across * (cell + GAP) - GAP, 2 * EDGE + HEAD + down * (cell + BELOW)), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((EDGE, EDGE - 8), _lines(title, _font(18), page.width - 2 * EDGE, 1)[0], INK, _font(18))
    for i, (image, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = EDGE + i % across * (cell + GAP), EDGE + HEAD + i // across * (cell + BELOW)
        shown = image.convert("RGB").resize(
            (round(image.width * cell / side) or 1, round(image.height * cell / side) or 1),
            Image.Resampling.NEAREST if cell >= side else Image.Resampling.LANCZOS,
        )
        x, y = left + (cell - shown.width) // 2, top + (cell - shown.height) // 2
        pen.rectangle((x - 1, y - 1, x + shown.width, y + shown.height), outline=LINE)
        page.paste(shown, (x, y))
        for line, text in enumerate(_lines(caption, _font(13), cell, 2)):
            pen.text((left + cell // 2, top + cell + 8 + 17 * line), text, FAINT, _font(13), "ma")
    return page


def _cell(side: int, count: int) -> int:
    """Choose the side of a cell: a whole multiple of a small picture, and less than it where there are many."""
    wanted = side * max(1, SHOWN // side)
    return max(16, min(wanted, 512, int(sqrt(PIXELS_OF_SHEET / count))))


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _lines(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, most: int) -> list[str]:
    """Break a text into at most `most` lines of `width` pixels; what does not fit ends in an ellipsis."""
    lines, words = [""], text.split()
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [_cut(line, font, width) for line in lines]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + ELLIPSIS) > width:
        line = line[:-1]
    return line.rstrip() + ELLIPSIS
