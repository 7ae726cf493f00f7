"""Messages are one line with little of what was given; numbers are checked whatever their type and size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from unnoise.check.engine import check
from unnoise.check.report.text import sentence
from unnoise.embedded import find
from unnoise.errors import (
    LETTERS,
    InputError,
    InputWarning,
    check_number,
    check_whole,
    nearest,
    one_line,
    plain_number,
    quoted,
    shortened,
)
from unnoise.formats.gguf import read_gguf
from unnoise.formats.header import TENSORS, read_header
from unnoise.formats.json_text import read_json
from unnoise.formats.strict_json import parse
from unnoise.generation.metadata import CallShape, from_json
from unnoise.generation.prompt_notes import check_prompts
from unnoise.generation.request import request_of
from unnoise.sampling.registry import SAMPLERS

LONG = [
    "x" * 1_000_000,
    "x " * 500_000,
    "'" + "x" * 1_000_000,
    "x'x\"" * 250_000,
    "x\n" * 500_000,
    "x\x1b[31m" * 100_000,
    "\0x" * 1000,
]


@pytest.mark.parametrize("given", LONG, ids=range(len(LONG)))
@pytest.mark.parametrize("kind", [InputError, InputWarning])
def test_a_message_is_one_short_line(kind: Any, given: str) -> None:
    for message in (f"a file: {given}: is wrong", f"the name {given!r} is wrong", given):
        line = str(kind(message))
        assert line.count("x") <= 300
        assert line.isprintable()
        assert len(line) <= LETTERS


def test_a_list_of_what_is_allowed_is_kept() -> None:
    line = str(InputError(f"sampler {'x' * 1000}: {nearest('x' * 1000, SAMPLERS)}"))
    assert all(name in line for name in SAMPLERS)
    assert line.count("x") < 300


def test_usual_messages_are_as_they_were() -> None:
    for message in ("steps 0: a whole number from 1 to 1000", f"{'/folder' * 20}: is missing", "a  b"):
        assert shortened(message) == message
    assert one_line("a\n\tb\x1b[0m") == "a b\\x1b[0m"


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError


DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


ODD = [10**400, -(10**5000), "x" * 10**6, [0] * 10**6, DEEP, Rude(), {"a": "b" * 999}, b"x" * 999]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_any_value_is_quoted_in_few_letters(value: object) -> None:
    assert len(quoted(value)) <= 80


def test_short_values_are_quoted_as_in_python() -> None:
    values = [1, -5, 1.5, "a'b", None, True, [1, 2], {"a": 1}, (), 10**39]
    assert [quoted(value) for value in values] == [repr(value) for value in values]


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), 1.5, True, "1", None, float("nan"), float("inf"), np.float64(2), [1]]
)
def test_only_whole_numbers_are_whole(value: object) -> None:
    with pytest.raises(InputError, match=r"^steps .*: a whole number from 1 to 1000$"):
        check_whole("steps", value, 1, 1000)


@pytest.mark.parametrize("value", [10**400, -(10**400), True, "1", None, float("nan"), float("-inf"), 1j])
def test_only_finite_numbers_are_numbers(value: object) -> None:
    with pytest.raises(InputError, match=r"^scale .*: a number from 0 to 2$"):
        check_number("scale", value, 0, 2)


def test_numbers_of_numpy_are_numbers() -> None:
    check_whole("steps", np.int64(5), 1, 10)
    check_number("scale", np.float32(0.5), 0, 1)
    found = [plain_number(value) for value in (np.int8(3), np.float32(0.5), "a", None, True)]
    assert found == [3, 0.5, "a", None, True]
    assert [type(value) for value in found[:2]] == [int, float]
    request = request_of("a", seed=np.int64(7), steps=np.int32(4), guidance_scale=np.float32(2), size=[np.int64(8), 16])
    assert (request.sampling.seed, request.sampling.size) == (7, (8, 16))
    assert type(request.sampling.seed) is type(request.sampling.size[0]) is int  # type: ignore[index]


@pytest.mark.parametrize(
    "name", ["seed", "steps", "n", "guidance_scale", "size", "strength", "variation", "tile", "resample"]
)
@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), float("inf"), True, 1.5j, np.bool_(True)])
def test_every_option_refuses_a_wrong_number_in_one_line(name: str, value: object) -> None:
    with pytest.raises(InputError) as refused:
        request_of("a", **{name: value})
    assert len(str(refused.value)) <= LETTERS


@pytest.mark.parametrize("schedule", [(10**400, 1, 0), [10**400, 0], (True, 0), ("1", 0), [[1], 0], DEEP])
def test_a_schedule_of_anything_but_levels_is_one_line(schedule: Any) -> None:
    with pytest.raises(InputError) as refused:
        request_of("a", schedule=schedule)
    assert len(str(refused.value)) <= LETTERS


@pytest.mark.parametrize("model", [None, 5, b"emoji", ["emoji"], 10**400], ids=range(5))
def test_a_model_is_a_name_or_a_path(model: Any) -> None:
    with pytest.raises(InputError, match="must be a name or a path"):
        find(model)


def test_a_huge_number_in_metadata_is_one_line() -> None:
    with pytest.raises(InputError, match="number of 401 digits"):
        from_json('{"levels": [1], "seed": ' + "9" * 401 + "}", "a.png")
    with pytest.raises(InputError, match="an integer between"):
        parse(CallShape, '{"calls": ' + "9" * 39 + "}", "a.png")


def header(table: str) -> bytes:
    return len(table).to_bytes(8, "little") + table.encode()


BAD: dict[str, bytes] = {
    "name.safetensors": header('{"' + "x" * 1_000_000 + '":{"dtype":"F16","shape":[1],"data_offsets":[0,9]}}'),
    "spaced.safetensors": header('{"' + "x " * 500_000 + '":{"dtype":"F16","shape":[1],"data_offsets":[0,9]}}'),
    "shape.safetensors": header('{"a":{"dtype":"F16","shape":[' + "9," * 100_000 + '9],"data_offsets":[0,9]}}'),
    "deep.safetensors": header('{"a":{"dtype":' + "[" * 400 + "]" * 400 + ',"shape":[1],"data_offsets":[0,2]}}'),
    "twice.json": ('{"' + "x" * 1_000_000 + '":1,"' + "x" * 1_000_000 + '":1}').encode(),
    "name.gguf": b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(8)
    + (10_000).to_bytes(8, "little") + b"x" * 10_000 + (9).to_bytes(4, "little") + bytes(200),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_readers_print_little_of_what_they_were_given(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BAD[name])
    read: Any = {".safetensors": read_header, ".json": read_json, ".gguf": read_gguf}[path.suffix]
    with pytest.raises(InputError) as refused:
        read(path)
    lines = [str(refused.value), *(sentence(finding) for finding in check(path))]
    assert all(len(line) <= LETTERS + 20 and line.isprintable() and line.count("x") < 200 for line in lines)


def test_a_prompt_is_not_printed_whole() -> None:
    with pytest.raises(InputError) as refused:
        check_prompts(request_of("x (" * 3000 + "a:1.2)", prompt_weighting="refuse"), tiny.pipeline())
    assert str(refused.value).count("x") < 300


def test_a_file_of_too_many_tensors_is_refused_at_once(tmp_path: Path) -> None:
    one = '{"dtype":"F16","shape":[0],"data_offsets":[0,0]}'
    for count in (TENSORS, TENSORS + 1):
        (tmp_path / "a.safetensors").write_bytes(header("{" + ",".join(f'"t{i}":{one}' for i in range(count)) + "}"))
        if count > TENSORS:
            with pytest.raises(InputError, match=f"lists {count} tensors, at most {TENSORS}"):
                read_header(tmp_path / "a.safetensors")
        else:
            assert len(read_header(tmp_path / "a.safetensors").tensors) == count
