"""Metadata from a file is checked: the shapes of network calls and sizes have ranges, of which the ends are taken."""

from dataclasses import replace
from typing import Any

import pytest
import tiny

from unnoise.errors import InputError
from unnoise.generation.images import RawImages
from unnoise.generation.job import Job
from unnoise.generation.metadata import SINCE, CallShape, Metadata, Settings, from_json, to_json
from unnoise.generation.record import job_again
from unnoise.pipeline import Pipeline

SHAPE = CallShape(calls=2, rows=4, row=1, guided=3, place=1, tokens=5)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("ranges") / "tiny.safetensors")


@pytest.fixture(scope="module")
def metadata(pipeline: Pipeline) -> Metadata:
    return replace(pipeline.generate("a", seed=1, steps=2, size=16)[0].metadata, calls=(SHAPE,), decoded=(4, 3))


def again(pipeline: Pipeline, metadata: Metadata, repeat: bool = True) -> Job:
    return job_again(metadata, pipeline, RawImages(), (), repeat)


ALONE: dict[str, Any] = {"row": 0, "guided": 0, "place": -1}
RANGES: list[tuple[str, int, int, dict[str, Any]]] = [
    ("calls", 1, 1000 * 100, {}),
    ("rows", 1, (1 << 22) // 16**2, ALONE),
    ("row", 0, 3, {}),
    ("guided", 0, 4, {"place": -1}),
    ("place", -1, 2, {}),
    ("tokens", 0, 10_000, {}),
]


@pytest.mark.parametrize(("field", "low", "high", "beside"), RANGES, ids=[one[0] for one in RANGES])
def test_the_shape_of_a_call(
    pipeline: Pipeline, metadata: Metadata, field: str, low: int, high: int, beside: dict[str, Any]
) -> None:
    def of(value: int) -> Metadata:
        return replace(metadata, calls=(SHAPE, replace(SHAPE, **{**beside, field: value})))

    for value in (low, high):
        assert again(pipeline, of(value)).repeats == of(value).calls
        assert again(pipeline, of(value), repeat=False).repeats == ()
    for value in (low - 1, high + 1):
        with pytest.raises(InputError, match=f"{field} {value}: a whole number from {low} to {high}"):
            again(pipeline, of(value))


@pytest.mark.parametrize("decoded", [(0, 0), (5, 0), (4, 4), (4, -1), (1, 1)])
def test_samples_are_decoded_beside_those_of_one_call(
    pipeline: Pipeline, metadata: Metadata, decoded: tuple[int, int]
) -> None:
    for sound in ((1, 0), (4, 0), (4, 3)):
        assert again(pipeline, replace(metadata, decoded=sound)).replay.decoded == sound  # type: ignore[union-attr]
    with pytest.raises(InputError, match="decoded"):
        again(pipeline, replace(metadata, decoded=decoded))


def test_a_sample_that_was_stored_half_way_has_no_calls_and_is_computed_freely(
    pipeline: Pipeline, metadata: Metadata
) -> None:
    assert again(pipeline, replace(metadata, calls=(), decoded=(1, 0)), repeat=False).repeats == ()
    with pytest.raises(InputError, match="calls: empty"):
        again(pipeline, replace(metadata, calls=(), decoded=(1, 0)))


@pytest.mark.parametrize("size", [(0, 16), (16, 4097)])
def test_the_size_of_an_image(pipeline: Pipeline, metadata: Metadata, size: tuple[int, int]) -> None:
    again(pipeline, replace(metadata, image_size=(1, 4096)))
    with pytest.raises(InputError, match="from 1 to 4096"):
        again(pipeline, replace(metadata, image_size=size))


def test_defaults_of_a_file_that_lacks_a_field() -> None:
    shape = CallShape(1, 1, 0, 0, -1)
    assert (shape.tokens, shape.masked, shape.mixed) == (0, False, False)
    assert Metadata.__dataclass_fields__["decoded"].default == (1, 0)
    words = {"prompt_weighting": "warn", "mask_mode": "blend", "control_resize": "crop"}
    for name, one in Settings.__dataclass_fields__.items():
        if name in words or one.default is None:
            assert one.default == words.get(name)


@pytest.mark.parametrize(
    ("scale", "of_image", "guided"), [(1, None, 0), (1, 1, 0), (1, 1.5, 1), (0, None, 1), (2, 1, 1)]
)
def test_guidance_is_off_at_one(metadata: Metadata, scale: float, of_image: float | None, guided: int) -> None:
    assert replace(metadata, guidance_scale=scale, image_guidance=of_image).guided == bool(guided)


@pytest.mark.parametrize("version", ["0.1.0", "x" * 20])
def test_a_former_version_is_named(metadata: Metadata, version: str) -> None:
    with pytest.raises(InputError, match=f"f: written by unnoise {version}, .* replay it with that version"):
        from_json(f'{{"versions": {{"unnoise": "{version}"}}}}', "f")
    for other in ('{"versions": {"unnoise": "%s"}}' % ("x" * 21), '{"versions": 1}', "[]", "1", '{"versions": {}}'):
        with pytest.raises(InputError, match=r"^f\b(?!.*written by)"):
            from_json(other, "f")
    assert from_json(to_json(metadata), "f") == metadata
    assert SINCE == "0.2.0"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"guidance_interval": (3.0, 1.0)}, "guidance_interval"),
        ({"guidance_rescale": 1.5}, "guidance_rescale 1.5: a number from 0 to 1"),
        ({"strength": 1.5}, "strength 1.5"),
        ({"resample": 101}, "resample 101"),
        ({"seed": -1}, "seed -1"),
        ({"size": (12, 16)}, "size 12x16"),
        ({"feather": -1}, "feather -1"),
        ({"control_scale": 2.5}, "control_scale 2.5"),
    ],
)
def test_a_field_that_no_request_could_have(
    pipeline: Pipeline, metadata: Metadata, change: dict[str, Any], fault: str
) -> None:
    assert metadata.guided
    with pytest.raises(InputError, match=fault):
        again(pipeline, replace(metadata, **change))


def test_metadata_without_guidance_is_drawn_again(pipeline: Pipeline) -> None:
    plain = pipeline.generate("a", seed=1, steps=1, size=16, guidance_scale=1)[0].metadata
    assert (plain.guidance_interval, plain.guidance_rescale) == ((0.0, "inf"), 0.0)
    assert again(pipeline, plain).settings.guided is False
