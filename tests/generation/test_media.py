"""Video and audio as files: what other readers find in them, their metadata, and what is refused."""

import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from unnoise.card import Part
from unnoise.errors import InputError
from unnoise.generation.media.files import preview, read_metadata, suffixes
from unnoise.generation.metadata import CallShape, Metadata
from unnoise.generation.sample import Audio, Sample, Video

METADATA = Metadata(
    model="m", fingerprint="f" * 64, prompt='"ünï", a cat 猫', negative_prompt="", seed=1, size=(16, 12),
    sampler=Part("DDIM"), levels=("inf", 1.0, 0.0), guidance_scale=1.0, guidance_interval=(0.0, "inf"),
    guidance_rescale=0.0, dtype="float32", device="cpu", calls=(CallShape(2, 1, 0, 0, -1),),
    versions={"torch": "2"}, frames=5,
)  # fmt: skip


def film(size: tuple[int, int] = (16, 12)) -> Sample:
    rows, columns = np.arange(size[1])[:, None, None], np.arange(size[0])[None, :, None]
    pixels = [rows + columns + k * 10 + [0, 30, 60] for k in range(5)]
    return Sample(Video([Image.fromarray(one.astype(np.uint8)) for one in pixels], 8.0), torch.zeros(1), METADATA)


def sound(waves: torch.Tensor | None = None) -> Sample:
    made = torch.stack([torch.linspace(-1, 1, 100), torch.sin(torch.arange(100) / 5)]) if waves is None else waves
    return Sample(Audio(made, 8000), torch.zeros(1), METADATA)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_video_without_loss(tmp_path: Path, suffix: str) -> None:
    made = film((15, 11))
    made.save(tmp_path / f"x{suffix}")
    with Image.open(tmp_path / f"x{suffix}") as found:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(found)]
        assert found.info["duration"] == 125
    assert [one.tobytes() for one in frames] == [one.tobytes() for one in made.video.frames]
    if suffix == ".webp":
        assert read_metadata(tmp_path / "x.webp") == METADATA


def test_a_video_as_mp4(tmp_path: Path) -> None:
    made = film((64, 48))
    for name in "ab":
        made.save(tmp_path / f"{name}.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == 8
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    for one, other in zip(frames, made.video.frames, strict=True):
        assert np.abs(one.astype(int) - np.asarray(other).astype(int)).mean() < 4
    assert read_metadata(tmp_path / "a.mp4") == METADATA
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with pytest.raises(InputError, match="even sides only"):
        film((15, 12)).save(tmp_path / "c.mp4")
    assert not (tmp_path / "c.mp4").exists()


def test_without_pyav_the_pip_line_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'unnoise\[video\]'"):
        film().save(tmp_path / "x.mp4")


def test_audio(tmp_path: Path) -> None:
    made = sound()
    made.save(tmp_path / "x.wav")
    with wave.open(str(tmp_path / "x.wav")) as found:
        assert (found.getnchannels(), found.getsampwidth(), found.getframerate()) == (2, 2, 8000)
        numbers = np.frombuffer(found.readframes(100), dtype="<i2").reshape(100, 2)
    assert np.abs(numbers.T / 32767 - made.audio.waves.numpy()).max() <= 0.5 / 32767 + 1e-6
    assert int.from_bytes((tmp_path / "x.wav").read_bytes()[4:8], "little") == (tmp_path / "x.wav").stat().st_size - 8
    assert read_metadata(tmp_path / "x.wav") == METADATA
    with pytest.raises(InputError, match="NaN or infinity"):
        sound(torch.full((1, 4), float("nan"))).save(tmp_path / "y.wav")
    assert not (tmp_path / "y.wav").exists()


@pytest.mark.parametrize("name", ["x.wav", "x.webp", "x.mp4"])
@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\xff\x7fINFO", b"\x00" * 64])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name) as caught:
        read_metadata(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_every_truncation_of_audio_is_refused_or_read(tmp_path: Path) -> None:
    sound().save(tmp_path / "x.wav")
    whole = (tmp_path / "x.wav").read_bytes()
    for length in range(0, len(whole) - 1, 7):  # the last byte may be padding
        (tmp_path / "y.wav").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_metadata(tmp_path / "y.wav")


def test_files_of_others_have_no_metadata(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0" * 10)
    Image.new("RGB", (4, 4)).save(tmp_path / "x.webp")
    for name in ("x.wav", "x.webp"):
        with pytest.raises(InputError, match="has no metadata"):
            read_metadata(tmp_path / name)


def test_previews_and_endings() -> None:
    assert preview(film().media).size == (48, 12)
    page = np.asarray(preview(sound().media).convert("L"))
    assert page.std() > 15
    assert suffixes("image") == (".png", ".webp", ".jpg", ".jpeg")
    assert suffixes("video")[0] == ".mp4"
    assert suffixes("audio") == (".wav",)
    with pytest.raises(AttributeError, match=r"image: this sample is a video; use \.video"):
        _ = film().image
    with pytest.raises(AttributeError, match="audio: this sample is a video"):
        _ = film().audio
