"""Hostile input: 5,000 mutated headers, workflows, configs, images and scripts a run.

Whatever they hold, nothing crashes (a crash inside a rule would be UN904), nothing takes a second of the CPU, nothing
outside the named paths is opened, and nothing is executed.
"""

import json
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from clock import within
from hypothesis import HealthCheck, given, settings, strategies as st

from unnoise.check.apply_fixes import apply_fixes
from unnoise.check.catalogue import rules
from unnoise.check.engine import check, judge
from unnoise.check.read.dispatch import read, read_text
from unnoise.check.sample_headers import SAMPLE_HEADERS
from unnoise.check.subject import Subject

EACH = 1_000
hostile = settings(
    max_examples=EACH,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
EXAMPLES = [subject for one in rules() for subject in (one.module.bad(), one.module.good())]
TEXTS = sorted({item for subject in EXAMPLES for item in subject.texts.items()})
OBJECTS = [(path, json.loads(text)) for path, text in TEXTS if path.endswith(".json")]
SCRIPTS = [item for item in TEXTS if not item[0].endswith(".json")]
ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        10**400,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "\0",
        "../../etc/passwd",
        "\ud800",
        [],
        {},
        [[]],
    ]
)
BROKEN = {"broken", "unreadable"}
PIECES = ["(" * 300, "\0", "=", "[", "nan", "9" * 5000, "'", "**", "\n", "{", "<lora:"]
ODD |= st.text(max_size=8) | st.integers() | st.lists(st.integers(), max_size=3)


def crashes(path: Path) -> list[str]:
    """Check a file the whole way, as the command does; give what rules crashed."""
    with within(60):
        return [finding.message + finding.measured for finding in check(path) if finding.rule.id == "UN904"]


def broken(subject: Subject) -> list[str]:
    """Write every fix into what could be read; give the texts that cannot be read any more."""
    fixes = (finding.fix for finding in judge(subject))
    texts = apply_fixes(subject, [fix for fix in fixes if fix is not None])
    faulty = [path for path, text in texts.items() if {one.kind for one in read_text(text, Path(path)).faults} & BROKEN]
    return faulty if not {one.kind for one in subject.faults} & BROKEN else []


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """Replace, remove or double a few values somewhere within a JSON value."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 4))):
        owner, inner = None, value
        while isinstance(inner, dict | list) and inner and (owner is None or draw(st.integers(0, 3))):
            key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
            owner, inner = inner, inner[key]
        if owner is None:
            return deepcopy(draw(ODD))
        act = draw(st.integers(0, 3))
        if act == 0:
            del owner[key]
        elif act == 1 and isinstance(owner, dict):
            owner[draw(st.text(max_size=6))] = inner
        else:
            owner[key] = deepcopy(draw(ODD))
    return value


@st.composite
def spliced(draw: st.DrawFn, text: str) -> str:
    """Cut, repeat and insert pieces of a text."""
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        piece = draw(
            st.sampled_from(["", text[start:end] * 2, "(" * 300, "\0", "=", "[", "nan", "9" * 5000, "'", "**"])
        )
        text = text[:start] + (piece or draw(st.text(max_size=6))) + text[end:]
    return text


@hostile
@given(data=st.data())
def test_mutated_json(data: st.DataObject, tmp_path: Path) -> None:
    name, content = data.draw(st.sampled_from(OBJECTS))
    path = tmp_path / Path(name).name
    path.write_text(json.dumps(data.draw(mutated(content))))
    assert not crashes(path)
    assert not broken(read(path))


@hostile
@given(data=st.data())
def test_mutated_texts(data: st.DataObject, tmp_path: Path) -> None:
    name, text = data.draw(st.sampled_from(SCRIPTS))
    path = tmp_path / Path(name).name
    path.write_text(data.draw(spliced(text)), encoding="utf-8")
    assert not crashes(path)
    assert not broken(read(path))


def safetensors(entries: Any, metadata: Any) -> bytes:
    text = json.dumps({"__metadata__": metadata} | entries if isinstance(entries, dict) else entries).encode()
    return len(text).to_bytes(8, "little") + text


def empty(shapes: dict[str, Any]) -> dict[str, Any]:
    """Give the entries of tensors without elements, so that a header alone is a whole file."""
    return {name: {"dtype": "F16", "shape": [0, *shape[1:]], "data_offsets": [0, 0]} for name, shape in shapes.items()}


HEADERS = [empty({name: list(shape) for name, (_, shape) in tensors.items()}) for tensors in SAMPLE_HEADERS.values()]
HEADERS.append(
    empty({f"lora_unet_down_blocks_1_attentions_0_to_q.lora_{end}.weight": [4, 4] for end in ("up", "down")})
)
METADATA = {"ss_network_dim": "4", "ss_base_model_version": "sd_v1", "modelspec.architecture": "x", "unnoise": "{}"}
NAMES = ["a.safetensors", "a.gguf", "a.json", "a.py", "a.toml", "a.png", "a.ipynb"]


@hostile
@given(data=st.data())
def test_mutated_headers(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    metadata = data.draw(st.just(METADATA) | mutated(METADATA))
    raw = safetensors(data.draw(mutated(data.draw(st.sampled_from(HEADERS)))), metadata)
    cut = data.draw(st.just(len(raw)) | st.integers(0, len(raw)))
    path.write_bytes(raw[:cut])
    assert not crashes(path)


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Write an image of one pixel with text chunks."""
    size = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", size), *chunks, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


NAMING = """from diffusers import AutoPipelineForInpainting
pipe = AutoPipelineForInpainting.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
pipe("a cat", image="picture.png", mask_image="picture.png")
"""
INFOTEXT = "a cat <lora:x:1>\nNegative prompt: bad\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"


@hostile
@given(data=st.data())
def test_mutated_pictures(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    if data.draw(st.booleans()):
        content = data.draw(st.sampled_from(OBJECTS))[1]
        key, text = data.draw(st.sampled_from(["prompt", "workflow", "invokeai_metadata", "unnoise"])), ""
        text = json.dumps(data.draw(mutated(content)))
    else:
        key, text = "parameters", data.draw(spliced(INFOTEXT))
    body = key.encode() + b"\0" + text.encode("latin-1", "replace")
    packed = key.encode() + b"\0\0" + zlib.compress(text.encode("latin-1", "replace"))
    raw = bytearray(png([data.draw(st.sampled_from([(b"tEXt", body), (b"zTXt", packed), (b"iTXt", body)]))]))
    for _ in range(data.draw(st.integers(0, 2))):
        raw[data.draw(st.integers(8, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    assert not crashes(path)
    (tmp_path / "make.py").write_text(NAMING)
    assert not crashes(tmp_path / "make.py")


@hostile
@given(raw=st.binary(max_size=300), name=st.sampled_from(NAMES))
def test_bytes_of_any_kind(raw: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes({"a.gguf": b"GGUF", "a.png": b"\x89PNG\r\n\x1a\n"}.get(name, b"") + raw)
    assert not crashes(path)


EVENTS: list[tuple[str, Any]] = []
IS_WATCHED = [False]


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if IS_WATCHED[0] and event in ("open", "os.system", "subprocess.Popen", "socket.connect", "exec", "import"):
        EVENTS.append((event, arguments[0]))


@contextmanager
def watched() -> Iterator[list[tuple[str, Any]]]:
    """Collect what Python's audit hooks report: files that are opened, processes, sockets, code that runs."""
    if not IS_WATCHED[0] and not EVENTS:
        sys.addaudithook(watch)
    EVENTS.clear()
    IS_WATCHED[0] = True
    try:
        yield EVENTS
    finally:
        IS_WATCHED[0] = False


SNEAKY = """from diffusers import AutoPipelineForInpainting
pipe = AutoPipelineForInpainting.from_pretrained("../secret")
pipe("x", image="../secret.png", mask_image="/secret.png")
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("make.py", "import diffusers, os\nos.system('touch made')\nopen('made', 'w')\n__import__('made')\n"),
        ("w.json", json.dumps({"3": {"class_type": "LoadImageMask", "inputs": {"image": "../../secret.png"}}})),
        ("run.py", SNEAKY),
    ],
)
def test_nothing_is_executed_and_nothing_else_opened(tmp_path: Path, name: str, text: str) -> None:
    for secret in ("secret.png", "secret.json"):
        (tmp_path / secret).write_text("{}")
    home = tmp_path / "a" / "b"
    home.mkdir(parents=True)
    (home / name).write_text(text)
    check(home / name)  # once before, so that modules are imported and cached
    with watched() as events:
        check(home / name)
    opened = {str(argument) for event, argument in events if event == "open"}
    assert opened <= {str(home / name)}
    assert not [event for event, _ in events if event not in ("open", "exec", "import")]
    assert sorted(path.name for path in home.iterdir()) == [name]


def test_the_audit_hook_detects_what_it_must() -> None:
    with watched() as events:
        Path(__file__).read_bytes()
    assert ("open", __file__) in [(event, str(argument)) for event, argument in events]
