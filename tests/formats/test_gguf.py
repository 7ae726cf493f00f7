"""A GGUF header is either sound or refused in one line, whatever its bytes are."""

import struct
from pathlib import Path

import pytest
from clock import within
from hypothesis import HealthCheck, given, settings, strategies as st

from unnoise.errors import InputError
from unnoise.formats.gguf import ITEMS, TYPES, read_gguf
from unnoise.formats.header import Entry


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def array(kind: int, *values: bytes) -> bytes:
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


def tensor(name: str, sides: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, kind, offset)


def packed(keys: list[bytes], tensors: list[bytes], data: bytes = b"", version: int = 3, alignment: int = 32) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + data


KEYS = [
    key("general.architecture", 8, text("flux")),
    key("general.quantization_version", 4, struct.pack("<I", 2)),
    key("whole", 11, struct.pack("<q", -5)),
    key("flag", 7, b"\1"),
    key("tokens", 9, array(8, text("a"), text("bc"))),
    key("many", 9, array(6, *[struct.pack("<f", 0.5)] * 20)),
    key("comfy.gguf.orig_shape.cube", 9, array(5, *[struct.pack("<i", side) for side in (2, 2, 2, 2, 2)])),
]
TENSORS = [tensor("img_in.weight", (64, 3), 2, 0), tensor("cube", (32,), 0, 128)]
SOUND = packed(KEYS, TENSORS, bytes(256))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf") / "model.gguf"


@pytest.mark.parametrize("version", [2, 3])
def test_reads_keys_and_tensors(path: Path, version: int) -> None:
    path.write_bytes(packed(KEYS, TENSORS, bytes(256), version))
    header = read_gguf(path)
    base = header.size - 256
    assert header.metadata["general.architecture"] == "flux"
    assert [header.metadata[name] for name in ("whole", "flag", "tokens", "many")] == [
        "-5",
        "True",
        "[2 values]",
        "[20 numbers]",
    ]
    assert header.tensors == {
        "img_in.weight": Entry("Q4_0", (3, 64), base, base + 108),
        "cube": Entry("F32", (2, 2, 2, 2, 2), base + 128, base + 256),
    }


def test_alignment_is_the_files_own(path: Path) -> None:
    keys = [key("general.alignment", 4, struct.pack("<I", 64))]
    path.write_bytes(packed(keys, [tensor("a", (4,), 0, 0)], bytes(16), alignment=64))
    assert read_gguf(path).tensors["a"].end == path.stat().st_size


def test_a_tensor_takes_whole_blocks() -> None:
    assert all(size > 0 and block > 0 for _, block, size in TYPES.values())
    assert len({name for name, _, _ in TYPES.values()}) == len(TYPES)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "within its header"),
        (b"GGML" + SOUND[4:], "does not start with"),
        (SOUND[:4] + b"\x01\0\0\0" + SOUND[8:], "version 1"),
        (SOUND[:4] + b"\0\0\0\x03" + SOUND[8:], "version"),
        (SOUND[:60], "within its header"),
        (SOUND[:-1], "'cube' ends at byte"),
        (SOUND[:8] + b"\xff" * 8 + SOUND[16:], "declares"),
        (packed([], [tensor("a", (4,), 99, 0)], bytes(64)), "unknown type 99"),
        (packed([], [tensor("a", (4,), 2, 0)], bytes(64)), "not a multiple of 32"),
        (packed([], [tensor("a", (1,) * 5, 0, 0)], bytes(64)), "rank 5"),
        (packed([], [tensor("a", (4,), 0, 0)] * 2, bytes(64)), "twice"),
        (packed([], [tensor("a", (2**63, 2**63), 0, 0)], bytes(64)), "ends at byte"),
        (packed([key("a", 13, b"")], []), "unknown type 13"),
        (packed([key("a", 9, struct.pack("<IQ", 0, 2**60))], []), "array of"),
        (packed([key("a", 9, struct.pack("<IQ", 8, ITEMS + 1))], []), "more than"),
        (packed([key("a", 8, struct.pack("<Q", 2**62))], []), "string of"),
        (packed([key("a", 9, struct.pack("<IQ", 9, 1) * 9)], []), "unknown type 9"),
        (packed([key("general.alignment", 4, struct.pack("<I", 0))], []), "alignment"),
        (packed([key("general.alignment", 8, text("x"))], []), "alignment"),
    ],
)
def test_refuses(path: Path, content: bytes, fault: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=fault) as refused:
        read_gguf(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=8))
def test_changed_bytes_never_crash(path: Path, at: int, change: bytes) -> None:
    path.write_bytes(SOUND[:at] + change + SOUND[at + len(change) :])
    try:
        with within(60):
            header = read_gguf(path)
    except InputError:
        return
    assert all(0 <= entry.start <= entry.end <= header.size for entry in header.tensors.values())


def test_a_large_vocabulary_is_skipped_in_time(path: Path) -> None:
    path.write_bytes(packed([key("tokens", 9, struct.pack("<IQ", 8, 260_000) + text("token") * 260_000)], []))
    with within(60):
        assert read_gguf(path).metadata == {"tokens": "[260000 values]"}
