"""Images that are decoded in processes of their own: the same pixels, and faults that end no training."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.data import readable, workers
from unnoise.data.decode import decode_image, try_decode, upright_size, with_alpha
from unnoise.data.open import open_source, open_unchecked
from unnoise.data.workers import MOST, Worker, decode_batches, serve, worker_count
from unnoise.errors import InputWarning

SIZE = (16, 12)


def encoded(format: str, size: tuple[int, int] = (40, 30), orientation: int = 1) -> bytes:
    image = Image.effect_noise(size, 60).convert("RGB")
    exif = image.getexif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, format, exif=exif)
    return file.getvalue()


IMAGES = [("a", encoded("PNG")), ("b", encoded("JPEG")), ("broken", encoded("PNG")[:300]), ("text", b"no image")]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.close()


def test_a_worker_decodes_as_this_process_does(worker: Worker) -> None:
    for name, raw, other in zip(*zip(*IMAGES, strict=True), worker.decode(IMAGES, SIZE), strict=True):
        own = try_decode(raw, SIZE, name)
        assert (own.error, own.remarks) == (other.error, other.remarks)
        assert (own.pixels is None) == (other.pixels is None) == bool(own.error)
        assert own.pixels is None or np.array_equal(with_alpha(own.pixels), decode_image(raw, SIZE, name))
        assert own.pixels is None or np.array_equal(own.pixels, other.pixels)


def test_an_image_that_ends_its_worker_is_unreadable_and_the_others_are_decoded(worker: Worker) -> None:
    worker.process.kill()
    (found,) = worker.decode(IMAGES[:1], SIZE)
    assert (found.pixels, found.error) == (None, "its decoder ended with status -9")
    worker.process.kill()
    assert [one.error for one in worker.decode(IMAGES[:2], SIZE)] == ["", ""]


def test_batches_keep_their_order_and_end_when_they_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []
    start = Worker._start
    monkeypatch.setattr(Worker, "_start", lambda self: (started.append(self), start(self)))
    images = [(f"{i}", encoded("PNG", (16, 12 + i))) for i in range(8)]
    found = decode_batches((images[at : at + 2] for at in range(0, 8, 2)), SIZE, 1)
    for at in (0, 2):
        batch = next(found)
        for (name, raw), one in zip(images[at : at + 2], batch, strict=True):
            assert one.pixels is not None
            assert np.array_equal(with_alpha(one.pixels), decode_image(raw, SIZE, name))
    found.close()
    assert [one.process.poll() for one in started] == [-9]


def test_what_a_decoder_remarks_is_passed_on() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert try_decode(file.getvalue(), SIZE, "a").remarks == ("has several frames, of which one is used",)
    requests, replies = io.BytesIO(), io.BytesIO()
    workers._send(requests, {"size": SIZE, "images": [["a", len(file.getvalue())]]}, [file.getvalue()])
    requests.seek(0)
    serve(requests, replies)
    assert b"several frames" in replies.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_size_in_a_header_is_that_of_the_upright_image(format: str, orientation: int) -> None:
    assert upright_size(encoded(format, (40, 30), orientation), "a") == ((30, 40) if orientation == 6 else (40, 30))


def test_an_orientation_behind_the_pixels_of_a_png_is_read() -> None:
    raw = encoded("PNG", (40, 30), 6)
    at = raw.index(b"eXIf") - 4
    length = 12 + int.from_bytes(raw[at : at + 4], "big")
    end = raw.rindex(b"IEND") - 4
    assert upright_size(raw[:at] + raw[at + length : end] + raw[at : at + length] + raw[end:], "a") == (30, 40)


def test_a_large_jpeg_is_scaled_while_it_is_decoded_without_a_visible_change() -> None:
    across, down = np.meshgrid(np.linspace(0, 255, 640), np.linspace(0, 255, 480))
    image = Image.fromarray(np.stack([across, down, 255 - across], 2).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    whole = np.asarray(image.resize((64, 48), Image.Resampling.LANCZOS), int)
    assert abs(decode_image(file.getvalue(), (64, 48), "a")[..., :3] - whole).max() <= 4


def test_workers_are_started_for_many_images_or_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: range(64))
    assert [worker_count(0, 100), worker_count(0, 10**6), worker_count(3, 5)] == [0, MOST, 3]
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: range(1))
    assert worker_count(0, 10**6) == 0


def test_a_set_that_will_be_encoded_is_opened_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, raw in IMAGES:
        (tmp_path / f"{name}.png").write_bytes(raw)
        (tmp_path / f"{name}.txt").write_text(name)
    monkeypatch.setattr(readable, "decode_batches", lambda *_: pytest.fail("decoded"))
    with pytest.warns(InputWarning, match=r"1 images skipped: 1 of an unknown format|1 images skipped: 1 unreadable"):
        dataset = open_unchecked(str(tmp_path), 16)
    assert [names[0] for names in dataset.captions] == ["a", "b", "broken"]
    assert dataset.sizes == ((40, 30),) * 3
    monkeypatch.undo()
    with pytest.warns(InputWarning, match="images skipped") as said:
        assert [names[0] for names in open_source(str(tmp_path), 16).captions] == ["a", "b"]
    assert len(said) == 2
