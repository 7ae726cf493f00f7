"""Render the embedded data set: every colour emoji of the Noto font as a captioned 64 x 64 image with alpha.

    apt install fonts-noto-color-emoji; pip install emoji; python scripts/render_emoji.py

Writes `pictures.webp` (one lossless atlas, 64 images a row, premultiplied resampling) and `pictures.json` (characters,
name, aliases and concept of each image) into the package. Images with equal pixels share one entry, whose `also` holds
the names of the others, so that no two entries look the same.
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path

import emoji
from PIL import Image, ImageDraw, ImageFont, features

HOME = Path(__file__).parents[1] / "src/unnoise/zoo/emoji"
FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
STRIKE = 109  # the only size, in pixels, of the bitmaps of the font
CANVAS = 156  # font pixels of an image: a glyph is 136 wide, so that its border is about 4 of 64 pixels
SIZE = 64
COLUMNS = 64
SKIN = re.compile(r"\b(?:(?:medium-)?(?:light|dark)|medium) skin tone\b")


def is_flag(characters: str) -> bool:
    """Return whether an emoji is the flag of a place: two regional indicators, or the black flag with tags."""
    return "\U0001f1e6" <= characters[0] <= "\U0001f1ff" or "\U000e007f" in characters


def words_of(label: str) -> str:
    """Turn `:flag_for_Norway:` into words."""
    return re.sub(r"[\s_:()“”]+", " ", label.replace("_", " ")).strip().lower()


def names(characters: str, entry: dict) -> list[str]:
    """Return the names of an emoji, the principal one first; flags become `flag of ...`."""
    if is_flag(characters):
        return [f"flag of {words_of(entry['en'])}"]
    return list(dict.fromkeys(words_of(label) for label in [entry["en"], *entry.get("alias", [])]))


def concept(name: str) -> str:
    """Return a name without skin tones."""
    return " ".join(SKIN.sub(" ", name).split())


def render(characters: str, font: ImageFont.FreeTypeFont) -> Image.Image | None:
    """Draw an emoji in the centre of a transparent square; return None where the font lacks it."""
    canvas = Image.new("RGBA", (CANVAS, CANVAS))
    middle = (CANVAS / 2, CANVAS / 2)
    ImageDraw.Draw(canvas).text(middle, characters, font=font, embedded_color=True, anchor="mm")
    if canvas.getbbox() is None:
        return None
    return canvas.convert("RGBa").resize((SIZE, SIZE), Image.Resampling.LANCZOS).convert("RGBA")


def collect(font: ImageFont.FreeTypeFont) -> dict[bytes, dict]:
    """Render every emoji that is one glyph of the font, keyed by its pixels."""
    one_glyph = font.getlength("\u2764\ufe0f")
    absent = render("\U0001ffff", font)
    missing = {absent.tobytes()} if absent else set()
    found: dict[bytes, dict] = {}
    for characters, entry in emoji.EMOJI_DATA.items():
        if entry["status"] > emoji.STATUS["fully_qualified"] or font.getlength(characters) != one_glyph:
            continue
        picture = render(characters, font)
        if picture is None or picture.tobytes() in missing:
            continue
        name, *also = names(characters, entry)
        known = found.setdefault(
            picture.tobytes(),
            {"characters": characters, "name": name, "also": [], "concept": concept(name), "picture": picture},
        )
        known["also"] += [other for other in [name, *also] if other not in [known["name"], *known["also"]]]
    return found


def drop_shared(found: list[dict]) -> None:
    """Drop aliases that also name another image ("cat" is the cat, not the cat's face)."""
    uses = Counter(name for record in found for name in [record["name"], *record["also"]])
    for record in found:
        record["also"] = [name for name in record["also"] if uses[name] == 1]


def write(found: list[dict], home: Path) -> None:
    """Write the atlas and its records, sorted by concept so that similar images are adjacent and compress well."""
    rows = -(-len(found) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * SIZE, rows * SIZE))
    for i, record in enumerate(found):
        atlas.paste(record.pop("picture"), (i % COLUMNS * SIZE, i // COLUMNS * SIZE))
    home.mkdir(parents=True, exist_ok=True)
    atlas.save(home / "pictures.webp", lossless=True, quality=100, method=6)
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in found)
    (home / "pictures.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the embedded emoji data set.")
    parser.add_argument("--font", type=Path, default=FONT, help="a colour bitmap font (CBDT), such as Noto Color Emoji")
    parser.add_argument("--out", type=Path, default=HOME, help="folder for pictures.webp and pictures.json")
    arguments = parser.parse_args()
    if not features.check("raqm"):
        raise SystemExit("render_emoji: Pillow lacks raqm, which joins characters; install a Pillow with raqm")
    if not arguments.font.exists():
        raise SystemExit(f"render_emoji: no font at {arguments.font}: install fonts-noto-color-emoji or pass --font")
    rendered = collect(ImageFont.truetype(arguments.font, STRIKE)).values()
    found = sorted(rendered, key=lambda record: (record["concept"], record["name"]))
    drop_shared(found)
    write(found, arguments.out)
    concepts = {record["concept"] for record in found}
    print(f"{len(found)} images of {len(concepts)} concepts in {arguments.out / 'pictures.webp'}")


if __name__ == "__main__":
    main()
