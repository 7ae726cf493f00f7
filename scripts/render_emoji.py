"""Render the emoji data set: six styles of the same things as 64 x 64 images with alpha, and the words for them.

    npm install --ignore-scripts @iconify-json/noto@1.2.9 @iconify-json/noto-v1@1.2.5 @iconify-json/twemoji@1.2.5 \
        @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/emojione@1.2.3 @lobehub/fluent-emoji-3d@1.1.0 \
        emojibase-data@17.0.0
    apt install wordnet-base; pip install resvg-py
    python scripts/render_emoji.py --packages node_modules

Writes `images.webp` (one lossless atlas) and `records.json` (the name, keywords, subject and group of each thing, and
the place of its image in each style) to `data/emoji`. Skin tones, flags of places, clock faces, keycaps and letters are
left out: they are variants of one image, or names that no image explains.
"""

import argparse
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import resvg_py
from PIL import Image

HOME = Path(__file__).parents[1] / "data/emoji"
WORDNET = Path("/usr/share/wordnet")
STYLES = {
    "noto": "@iconify-json/noto",
    "blob": "@iconify-json/noto-v1",
    "twemoji": "@iconify-json/twemoji",
    "emojione": "@iconify-json/emojione",
    "flat": "@iconify-json/fluent-emoji-flat",
    "3d": "@lobehub/fluent-emoji-3d",
}
GROUPS_LEFT_OUT = {None, "component", "flags"}
SUBGROUPS_LEFT_OUT = {"keycap", "alphanum", "hair-style", "skin-tone", "family"}
LABELS_LEFT_OUT = re.compile(r"(o’clock|-thirty|facing right)$")
WORDS = re.compile(r"[a-z][a-z0-9' .&-]+")
SIZE = 64
MARGIN = 4  # transparent pixels on each side of the longer side of the content
COLUMNS = 96
COLOURS, ALPHAS = 40, 16  # levels a channel: the file is then under 14 MB, and no value is wrong by more than 3 %
LEAST_STYLES = 3
LEXICON = frozenset(["animals-nature", "food-drink", "travel-places", "activities", "objects"])
PEOPLE = "people-body"
HYPONYMS = 4  # of a name, the most used ones
GENDERS = re.compile(r"\b(?:person|man|woman|men|women|people|boy|girl|merman|mermaid|merperson)\b[:,]?")


def words_of(label: str) -> str:
    """Return a label in lower case, with spaces between its words."""
    text = label.lower().replace("’", "'").replace("“", "").replace("”", "")
    return re.sub(r"[\s_:,()]+", " ", text).strip()


def slug(label: str) -> str:
    """Return the name of an icon as Iconify writes it."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower().replace("’", "").replace("ñ", "n").replace("é", "e")).strip("-")


def subject(name: str) -> str:
    """Return what variants by gender share: training draws each subject equally often."""
    return " ".join(GENDERS.sub(" ", name).split()) or name


class Lexicon:
    """The nouns of WordNet 3.0: other words for a name, more general and more special ones."""

    def __init__(self, folder: Path) -> None:
        self.index = {parts[0]: parts for parts in self._lines(folder / "index.noun")}
        self.data = {parts[0]: parts for parts in self._lines(folder / "data.noun")}
        counts = (line.split() for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines())
        self.uses = {key: int(count) for key, _, count in counts}

    @staticmethod
    def _lines(path: Path) -> Iterator[list[str]]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):
                yield line.split(" | ")[0].split()

    def related(self, name: str) -> list[str]:
        """Return words for the most common sense of a name: its synonyms, its hypernym's, its most used hyponyms."""
        synset = self._synset(name)
        if synset is None:
            return []
        above, below = ([self.data[target] for target in self._linked(synset, kind)] for kind in "@~")
        more = [member for parent in above[:1] for member in self._members(parent)[:2]]
        special = sorted(((self._used(child), self._members(child)) for child in below), key=lambda pair: -pair[0])
        more += [member for used, members in special[:HYPONYMS] if used for member in members[:2]]
        return [word for word in dict.fromkeys(self._members(synset) + more) if word != name]

    def synonyms(self, name: str) -> list[str]:
        """Return the other words for the most common sense of a name."""
        synset = self._synset(name)
        return [] if synset is None else [word for word in self._members(synset) if word != name]

    def _synset(self, name: str) -> list[str] | None:
        entry = self.index.get(name.replace(" ", "_"))
        return None if entry is None else self.data[entry[6 + int(entry[3])]]

    @staticmethod
    def _linked(synset: list[str], kind: str) -> list[str]:
        """Return the nouns that a synset points to: @ more general, ~ more special."""
        at = 4 + 2 * int(synset[3], 16)
        links = [synset[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(synset[at]))]
        return [target for pointer, target, part, _ in links if pointer == kind and part == "n"]

    def _used(self, synset: list[str]) -> int:
        """Return how often the words of a synset are used in its sense, in the texts that WordNet counted."""
        words, senses = (synset[start : start + 2 * int(synset[3], 16) : 2] for start in (4, 5))
        keys = (
            f"{word.lower()}%1:{synset[1]}:{int(sense, 16):02}::" for word, sense in zip(words, senses, strict=True)
        )
        return sum(self.uses.get(key, 0) for key in keys)

    @staticmethod
    def _members(synset: list[str]) -> list[str]:
        members = synset[4 : 4 + 2 * int(synset[3], 16) : 2]
        return [words_of(member) for member in members if member[:1].islower()]


def chosen(packages: Path) -> list[dict]:
    """Return the things of the data set: label, tags, hexcode and group of each."""
    folder = packages / "emojibase-data/en"
    messages = json.loads((folder / "messages.json").read_text(encoding="utf-8"))
    groups = {entry["order"]: entry["key"] for entry in messages["groups"]}
    subgroups = {entry["order"]: entry["key"] for entry in messages["subgroups"]}
    found = []
    for entry in json.loads((folder / "data.json").read_text(encoding="utf-8")):
        group, subgroup = groups.get(entry.get("group")), subgroups.get(entry.get("subgroup"))
        if group in GROUPS_LEFT_OUT or subgroup in SUBGROUPS_LEFT_OUT or LABELS_LEFT_OUT.search(entry["label"]):
            continue
        found.append({**entry, "group": group, "subgroup": subgroup})
    return found


class Icons:
    """The images of one style, found by hexcode or by the name of the icon."""

    def __init__(self, package: Path) -> None:
        self.package = package
        path = package / "icons.json"
        self.vectors = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        if self.vectors is None:
            self.by_code = {plain(path.stem): path.name for path in (package / "assets").glob("*.webp")}
        else:
            chars = json.loads((package / "chars.json").read_text(encoding="utf-8"))
            self.by_code = {plain(code): name for code, name in chars.items()}

    def find(self, code: str, label: str) -> str | None:
        """Return the name of an icon, or None where the style lacks it."""
        name = self.by_code.get(plain(code))
        if name is None and self.vectors is not None:
            names = self.vectors["icons"].keys() | self.vectors.get("aliases", {}).keys()
            name = slug(label) if slug(label) in names else None
        return name

    def render(self, name: str) -> Image.Image:
        """Draw an icon in the centre of a transparent square."""
        if self.vectors is None:
            large = Image.open(self.package / "assets" / name).convert("RGBA")
        else:
            large = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=self._svg(name)))))
            large = large.convert("RGBA")
        return centred(large)

    def _svg(self, name: str) -> str:
        icons, parent = self.vectors["icons"], self.vectors.get("aliases", {}).get(name, {}).get("parent", name)
        icon = icons[parent]
        width = icon.get("width", self.vectors.get("width", 16))
        height = icon.get("height", self.vectors.get("height", 16))
        side = 'width="192" height="192"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {side} '
            f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>'
        )


def plain(code: str) -> str:
    """Return a hexcode without its variation selectors."""
    return re.sub("-?fe0f", "", code.lower()).strip("-")


def centred(image: Image.Image) -> Image.Image:
    """Scale the content to the square less its margin, in the centre."""
    box = image.getchannel("A").point(lambda value: 255 * (value > 8)).getbbox()
    if box is None:
        raise ValueError("an image without content")
    content = image.crop(box).convert("RGBa")
    scale = (SIZE - 2 * MARGIN) / max(content.size)
    size = tuple(max(1, round(side * scale)) for side in content.size)
    canvas = Image.new("RGBa", (SIZE, SIZE))
    small = content.resize(size, Image.Resampling.LANCZOS)
    canvas.paste(small, ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
    bands = canvas.convert("RGBA").split()
    return Image.merge("RGBA", [coarse(band, n) for band, n in zip(bands, (*[COLOURS] * 3, ALPHAS), strict=True)])


def coarse(band: Image.Image, levels: int) -> Image.Image:
    """Round a channel to some levels, black and white among them."""
    return band.point(lambda value: round(round(value / 255 * (levels - 1)) * 255 / (levels - 1)))


def collect(packages: Path, lexicon: Lexicon) -> list[dict]:
    """Return a record of each thing that at least three styles have, with its images."""
    styles = {style: Icons(packages / package) for style, package in STYLES.items()}
    records = []
    for entry in chosen(packages):
        found = {style: icons.find(entry["hexcode"], entry["label"]) for style, icons in styles.items()}
        images = {style: styles[style].render(name) for style, name in found.items() if name is not None}
        if len(images) < LEAST_STYLES:
            continue
        name = words_of(entry["label"])
        related = lexicon.related(name) if entry["group"] in LEXICON else []
        if entry["group"] == PEOPLE and subject(name) != name:  # a man or a woman of a profession
            related = lexicon.synonyms(subject(name))
        tags = [words_of(tag) for tag in entry.get("tags", [])]
        keywords = [word for word in dict.fromkeys([*tags, *related]) if word and word != name]
        record = {"name": name, "subject": subject(name), "group": entry["group"], "keywords": keywords}
        records.append({**record, "images": images})
    return merged(without_neutral(without_words_of_things(records, lexicon)))


def without_words_of_things(records: list[dict], lexicon: Lexicon) -> list[dict]:
    """Drop keywords of faces, people and signs that WordNet gives for a thing: "puppy" is the dog."""
    things = {word for record in records if record["group"] in LEXICON for word in lexicon.related(record["name"])}
    for record in records:
        if record["group"] in LEXICON:
            continue
        own = {*record["name"].split(), *lexicon.synonyms(record["subject"])}
        record["keywords"] = [word for word in record["keywords"] if word in own or word not in things]
    return records


def without_neutral(records: list[dict]) -> list[dict]:
    """Drop the person of whom there are a man and a woman, who take the name as a keyword."""
    shared = {}
    for record in records:
        shared.setdefault(record["subject"], []).append(record)
    kept = []
    for subject_, group in shared.items():
        gendered = [record for record in group if re.match(r"(wo)?m[ae]n\b", record["name"])]
        if len(gendered) < 2:
            kept += group
            continue
        for record in gendered:
            neutral = [other["name"] for other in group if other not in gendered]
            tags = [tag for other in group if other not in gendered for tag in other["keywords"]]
            record["keywords"] = list(dict.fromkeys([subject_, *neutral, *record["keywords"], *tags]))
        kept += gendered
    return kept


def merged(records: list[dict]) -> list[dict]:
    """Drop keywords that are the name of another thing: "cat" is the cat, not the cat's face."""
    names = Counter(record["name"] for record in records)
    for record in records:
        record["keywords"] = [word for word in record["keywords"] if word not in names and WORDS.fullmatch(word)]
    return records


def write(records: list[dict], home: Path) -> int:
    """Write the atlas, styles of a thing side by side, and the records. Return the number of images."""
    images = []
    for record in records:
        found = record.pop("images")
        record["styles"] = {style: len(images) + i for i, style in enumerate(found)}
        images += found.values()
    rows = -(-len(images) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * SIZE, rows * SIZE))
    for i, image in enumerate(images):
        atlas.paste(image, (i % COLUMNS * SIZE, i // COLUMNS * SIZE))
    home.mkdir(parents=True, exist_ok=True)
    atlas.save(home / "images.webp", lossless=True, quality=100, method=6)
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    (home / "records.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the emoji data set.")
    parser.add_argument("--packages", type=Path, required=True, help="the folder node_modules with the packages")
    parser.add_argument("--wordnet", type=Path, default=WORDNET, help="the folder of WordNet 3.0")
    parser.add_argument("--out", type=Path, default=HOME, help="folder for images.webp and records.json")
    arguments = parser.parse_args()
    for folder in (arguments.packages, arguments.wordnet):
        if not folder.is_dir():
            raise SystemExit(f"render_emoji: no folder {folder}: see the first lines of this script")
    records = collect(arguments.packages, Lexicon(arguments.wordnet))
    count = write(records, arguments.out)
    print(f"{count} images of {len(records)} things in {arguments.out / 'images.webp'}")


if __name__ == "__main__":
    main()
