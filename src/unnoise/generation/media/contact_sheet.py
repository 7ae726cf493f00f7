"""Contact sheets: many images on one page, each over its caption."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, sqrt

from PIL import Image, ImageDraw, ImageFont

from unnoise.formats.pictures import over_white

PIXELS_OF_SHEET = 16_000_000  # at most, captions not counted
SHOWN = 192  # pixels that a small picture is enlarged to at most
EDGE, GAP, HEAD, BELOW = 32, 20, 36, 56  # pixels around the sheet, between cells, for the title, for a caption
LABEL = 220  # pixels at most for the labels of rows
PAPER, LINE, INK, FAINT = (251, 250, 247), (226, 224, 218), (33, 33, 38), (96, 94, 90)
ELLIPSIS = "..."


def contact_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], title: str, columns: int | None = None
) -> Image.Image:
    """Lay images in rows, each over its caption, under a title.

    Args:
        images: of any sizes. Small ones are enlarged by a whole factor, so that pixels stay squares; large ones shrink.
        captions: one for each image.
        title: of the sheet.
        columns: images in a row; by default the sheet is a little wider than high.
    """
    across = columns or min(len(images), ceil(sqrt(len(images) * 1.3)))
    down = ceil(len(images) / across)
    side = max(max(image.size) for image in images)
    cell = _cell(side, across * down)
    page = Image.new("RGB", (2 * EDGE + across * (cell + GAP) - GAP, 2 * EDGE + HEAD + down * (cell + BELOW)), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((EDGE, EDGE - 8), _lines(title, _font(18), page.width - 2 * EDGE, 1)[0], INK, _font(18))
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = EDGE + i % across * (cell + GAP), EDGE + HEAD + i // across * (cell + BELOW)
        _paste(page, pen, image, (left, top), (cell, side))
        for line, text in enumerate(_lines(caption, _font(13), cell, 2)):
            pen.text((left + cell // 2, top + cell + 8 + 17 * line), text, FAINT, _font(13), "ma")
    return page


def table_sheet(images: Sequence[Image.Image], rows: Sequence[str], columns: Sequence[str], title: str) -> Image.Image:
    """Lay images out as a table, with a label for each row and each column, under a title.

    Args:
        images: row by row.
        rows, columns: the labels; as many images as rows times columns.
        title: of the sheet.
    """
    side = max(max(image.size) for image in images)
    cell = _cell(side, len(images))
    margin = min(LABEL, max(round(_font(13).getlength(label)) + GAP for label in rows)) if any(rows) else 0
    left_edge, top_edge = EDGE + margin, EDGE + HEAD + BELOW
    width = left_edge + len(columns) * (cell + GAP) - GAP + EDGE
    page = Image.new("RGB", (width, top_edge + len(rows) * (cell + GAP) - GAP + EDGE), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((EDGE, EDGE - 8), _lines(title, _font(18), page.width - 2 * EDGE, 1)[0], INK, _font(18))
    for k, label in enumerate(columns):
        for line, text in enumerate(_lines(label, _font(13), cell + GAP // 2, 2)):
            middle = left_edge + k * (cell + GAP) + cell // 2
            pen.text((middle, EDGE + HEAD + 14 + 17 * line), text, INK, _font(13), "ma")
    for k, label in enumerate(rows):
        lines = _lines(label, _font(13), margin - GAP, 4) if margin else []
        middle = top_edge + k * (cell + GAP) + cell // 2 - 17 * len(lines) // 2
        for line, text in enumerate(lines):
            pen.text((EDGE, middle + 17 * line), text, INK, _font(13))
    for i, image in enumerate(images):
        place = left_edge + i % len(columns) * (cell + GAP), top_edge + i // len(columns) * (cell + GAP)
        _paste(page, pen, image, place, (cell, side))
    return page


def _paste(
    page: Image.Image, pen: ImageDraw.ImageDraw, image: Image.Image, place: tuple[int, int], sides: tuple[int, int]
) -> None:
    """Paste an image into the middle of a cell, with a thin frame. sides: of the cell, and of the largest image."""
    cell, side = sides
    shown = (
        over_white(image)
        .convert("RGB")
        .resize(
            (round(image.width * cell / side) or 1, round(image.height * cell / side) or 1),
            Image.Resampling.NEAREST if cell >= side else Image.Resampling.LANCZOS,
        )
    )
    x, y = place[0] + (cell - shown.width) // 2, place[1] + (cell - shown.height) // 2
    pen.rectangle((x - 1, y - 1, x + shown.width, y + shown.height), outline=LINE)
    page.paste(shown, (x, y))


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
