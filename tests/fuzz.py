"""Mutate files and read them: whatever they hold, a reader gives a value or one line, soon, in little memory.

python tests/fuzz.py --minutes 60          every target in turn, other mutations each time
python tests/fuzz.py --only lora --seed 7  one target; a failing case is written to --keep FOLDER
"""

import argparse
import json
import random
import re
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clock import reference

from unnoise.embedded import find
from unnoise.errors import InputError, NonFiniteError

MILLIONS = 60  # turns of an empty loop, about a second of the CPU
KILOBYTES = 200 << 10  # of memory that a case may add
LETTERS = 1_000  # of a message: what it says, and at most 300 letters of what it was given
EMBEDDED = str(find("emoji").parent)  # a recipe may name an embedded model, whose card is then read
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo")
WORDS = (b"\0", b"../../etc/passwd", b"/dev/zero", b"\xff\xfe", b"\xed\xa0\x80", b"{" * 2000, b"[" * 2000, b"9" * 6000)
NUMBERS = (
    "-1",
    "0",
    "1e309",
    "NaN",
    "1" + "0" * 400,
    "2147483648",
    "1.5",
    "true",
    "null",
    '"x"',
    "[]",
    "{}",
    "[" * 999,
)
VALUES = (None, True, -1, 0, 1.5, 10**30, 1e308, "", "\0", "../../x", [], {}, [[[]]], "9" * 400, ["a", 1], {"a": None})


@dataclass(frozen=True, eq=False)
class Target:
    """What is mutated, and what reads it.

    Args:
        name: of the target.
        files: contents by path in the folder.
        read: (folder, path of the mutated file) -> anything.
        mutable: paths that are mutated; all where it is empty.
    """

    name: str
    files: Mapping[str, bytes]
    read: Callable[[Path, Path], Any]
    mutable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A case that a reader did not take as it should."""

    target: str
    path: str
    content: bytes
    reason: str

    def __str__(self) -> str:
        return f"{self.target}: {self.path} of {len(self.content)} bytes: {self.reason}"


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Change a file in one to three places, as bytes, as text or as JSON."""
    for _ in range(chance.randint(1, 3)):
        content = chance.choice((_flip, _cut, _repeat, _insert, _number, _json))(content, chance)
    return content


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(min(len(changed), chance.choice((1, 1, 2, 8)))):
        changed[chance.randrange(min(len(changed), 4096))] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
    return bytes(changed)


def _cut(content: bytes, chance: random.Random) -> bytes:
    start, end = sorted((chance.randint(0, len(content)), chance.randint(0, len(content))))
    return content[:start] if chance.random() < 0.5 else content[:start] + content[end:]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    start, end = sorted((chance.randint(0, len(content)), chance.randint(0, len(content))))
    piece = content[start : min(end, start + 2000)]
    return content[:end] + piece * chance.choice((1, 2, 50)) + content[end:]


def _insert(content: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, min(len(content), 4096))
    return content[:at] + chance.choice(WORDS) + content[at:]


def _number(content: bytes, chance: random.Random) -> bytes:
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", content[:20_000]))
    if not found:
        return _flip(content, chance)
    one = chance.choice(found)
    return content[: one.start()] + chance.choice(NUMBERS).encode() + content[one.end() :]


def _json(content: bytes, chance: random.Random) -> bytes:
    """Replace, remove or rename a value of the JSON that the content is, or begins with after a length of 8 bytes."""
    length = int.from_bytes(content[:8], "little")
    headed = 8 < length + 8 <= len(content) and content[8:9] == b"{"
    try:
        value = json.loads(content[8 : 8 + length] if headed else content)
    except (ValueError, RecursionError):
        return _number(content, chance)
    text = json.dumps(_changed(value, chance)).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :] if headed else text


def _changed(value: Any, chance: random.Random) -> Any:
    owner, key, inner = None, None, value
    while isinstance(inner, dict | list) and inner and (owner is None or chance.random() < 0.8):
        key = chance.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        owner, inner = inner, inner[key]
    if owner is None:
        return chance.choice(VALUES)
    action = chance.random()
    if action < 0.2:
        del owner[key]
    elif action < 0.3 and isinstance(owner, dict):
        owner[chance.choice(("x", "", "a" * 500, f"{key}_"))] = inner
    else:
        owner[key] = chance.choice(VALUES)
    return value


class Watch:
    """Note what a reader runs, and which files it opens outside the folder of its case."""

    def __init__(self) -> None:
        self.allowed: Path | None = None
        self.events: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in FORBIDDEN:
            self.events.append(f"{event} {arguments[:1]}")
        elif event == "open" and isinstance(arguments[0], str) and not self._is_harmless(arguments[0]):
            self.events.append(f"opened {arguments[0]}")

    def _is_harmless(self, path: str) -> bool:
        ours = path.startswith((str(self.allowed), "/proc/", "/sys/", sys.prefix, sys.base_prefix))
        parts = "site-packages" in path or "/unnoise-tokenizer-" in path or path.startswith(EMBEDDED)
        return ours or parts or path.endswith((".py", ".pyc", ".so", ".json.gz"))

    @contextmanager
    def over(self, folder: Path) -> Iterator[list[str]]:
        """Watch while a case is read."""
        self.events, self.allowed = [], folder
        try:
            yield self.events
        finally:
            self.allowed = None


def judged(target: Target, folder: Path, path: str, content: bytes, watch: Watch) -> Failure | None:
    """Read one mutated file, and return what is wrong with how it was read."""
    before, start, reason = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), ""
    (folder / path).write_bytes(content)
    with warnings.catch_warnings(), watch.over(folder) as events:
        warnings.simplefilter("ignore")
        try:
            target.read(folder, folder / path)
        except (InputError, NonFiniteError) as error:
            text = str(error)
            reason = f"a message of {len(text)} letters" if len(text) > LETTERS else ""
            reason = f"a message of several lines: {text[:300]!r}" if "\n" in text else reason
        except BaseException:  # a finding, whatever it is
            reason = traceback.format_exc(limit=-4)
    turns = (time.process_time() - start) / reference()
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if turns > MILLIONS:
        reason = reason or f"took as long as {turns:.0f} million turns of an empty loop"
    if added > KILOBYTES:
        reason = reason or f"took {added >> 10} MB"
    reason = reason or "; ".join(events)
    return Failure(target.name, path, content, reason) if reason else None


def run(target: Target, seed: int, count: int, watch: Watch) -> list[Failure]:
    """Read `count` mutated files of a target."""
    chance, found = random.Random(seed), []
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path, content in target.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        with warnings.catch_warnings(), suppress(InputError):
            warnings.simplefilter("ignore")
            target.read(folder, folder / next(iter(target.mutable or target.files)))  # imports, and caches
        for _ in range(count):
            path = chance.choice(target.mutable or tuple(target.files))
            failure = judged(target, folder, path, mutate(target.files[path], chance), watch)
            (folder / path).write_bytes(target.files[path])
            if failure is not None:
                found.append(failure)
    return found


def main(arguments: Sequence[str]) -> int:
    """Fuzz for a number of minutes; the exit status is 1 where something was found."""
    from fuzz_targets import targets

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", default="", help="name of a target")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"), help="folder for failing cases")
    given = parser.parse_args(arguments)
    chosen = [target for target in targets() if given.only in ("", target.name)]
    end, seed, cases, failures = time.monotonic() + 60 * given.minutes, given.seed, 0, 0
    watch = Watch()
    while time.monotonic() < end:
        for target in chosen:
            for failure in run(target, seed, 100, watch):
                failures += 1
                given.keep.mkdir(parents=True, exist_ok=True)
                (given.keep / f"{failures}-{target.name}-{Path(failure.path).name}").write_bytes(failure.content)
                print(failure)
            cases += 100
        seed += 1
    print(f"{cases} cases from seed {given.seed}, {failures} failures")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
