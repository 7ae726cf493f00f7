"""The command line as a user meets it: what it writes, what it says, and how it ends when something is wrong."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

import unnoise
from unnoise.cli.main import COMMANDS, main
from unnoise.generation.media.files import read_metadata
from unnoise.sampling.registry import GRIDS, SAMPLERS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "tiny.safetensors"
    tiny.saved(path)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder; give its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_one_image(run: Run, tmp_path: Path, model: Path) -> None:
    code, out, err = run("generate", "a red heart", "-m", str(model), "--seed", "7")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "out/a-red-heart-7.png"
    assert re.fullmatch(r"1 image in \d+\.\d\d s, \d+\.\d{3} s each", out.splitlines()[1])
    assert files(tmp_path) == {"out", "out/a-red-heart-7.png"}
    assert read_metadata(tmp_path / "out/a-red-heart-7.png").prompt == "a red heart"


def test_equal_commands_give_equal_bytes_and_replay_too(run: Run, tmp_path: Path, model: Path) -> None:
    how = ["-m", str(model), "--seed", "7", "--sampler", "euler-a", "--steps", "4"]
    for name in ("a.png", "b.png"):
        assert run("generate", "a red heart", *how, "-o", name)[0] == 0
    assert run("replay", "a.png", "-o", "c.png", "-m", str(model))[0] == 0
    assert len({(tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png")}) == 1


def test_many_images_with_a_sheet(run: Run, tmp_path: Path, model: Path) -> None:
    assert run("generate", "a star", "-m", str(model), "--seed", "7", "-n", "3", "-o", "stars")[0] == 0
    names = {f"stars/a-star-{seed}.png" for seed in (7, 8, 9)}
    assert files(tmp_path) == {"stars", *names, "stars/a-star-7-sheet.png"}
    assert run("generate", "a star", "-m", str(model), "--seed", "8", "-o", "alone.png")[0] == 0
    one, other = (np.asarray(Image.open(tmp_path / name)) for name in ("stars/a-star-8.png", "alone.png"))
    assert (np.abs(one.astype(int) - other) <= 1).mean() >= 0.999
    for name in sorted(names):
        assert run("replay", name, "-m", str(model), "-o", "again.png")[0] == 0
        assert (tmp_path / "again.png").read_bytes() == (tmp_path / name).read_bytes()


def test_many_images_beside_the_sheet_that_is_named(run: Run, tmp_path: Path, model: Path) -> None:
    assert run("generate", "a star", "-m", str(model), "--seed", "7", "-n", "2", "-o", "new/stars.png")[0] == 0
    expected = {"new", "new/stars.png", "new/stars-a-star-7.png", "new/stars-a-star-8.png"}
    assert files(tmp_path) == expected
    code, out, err = run("replay", "new/stars.png", "-m", str(model))
    assert (code, out) == (2, "")
    assert "a sheet of several samples; replay the file of one sample" in err


def test_prompts_from_a_file(run: Run, tmp_path: Path, model: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\ufeffa cat\n\n  a dog  \r\na cat\nÄpfel/../☃\n", encoding="utf-8")
    code, out, _ = run("generate", "--prompts", "prompts.txt", "-m", str(model), "--seed", "3", "-o", "new/", "--json")
    assert code == 0
    facts = json.loads(out)
    names = [Path(sample["path"]).name for sample in facts["samples"]]
    assert names == ["a-cat-3.png", "a-dog-3.png", "a-cat-3.2.png", "äpfel-3.png"]
    assert [sample["metadata"]["prompt"] for sample in facts["samples"]] == ["a cat", "a dog", "a cat", "Äpfel/../☃"]
    assert facts["sheet"] == "new/3-prompts-3-sheet.png"
    assert facts["seconds_per_sample"] <= facts["seconds"]
    assert all(
        (tmp_path / path).exists() for path in [facts["sheet"], *(sample["path"] for sample in facts["samples"])]
    )
    assert (tmp_path / "new/a-cat-3.png").read_bytes() != (tmp_path / "new/a-dog-3.png").read_bytes()


def test_every_option_reaches_the_metadata(run: Run, tmp_path: Path, model: Path) -> None:
    how = ["--guidance", "3.5", "--negative-prompt", "blue", "--seed", "5", "--size", "24x16"]
    how += ["--guidance-interval", "0.1,inf", "--guidance-rescale", "0.5", "--schedule", "inf,2,0.5,0"]
    how += ["--sampler", "DDIM", "--dtype", "bfloat16", "--batch", "2"]
    assert run("generate", "a", "-m", str(model), "-o", "a.png", *how)[0] == 0
    metadata = read_metadata(tmp_path / "a.png")
    assert (metadata.guidance_scale, metadata.negative_prompt, metadata.seed, metadata.size) == (
        3.5,
        "blue",
        5,
        (24, 16),
    )
    assert (metadata.guidance_interval, metadata.guidance_rescale, metadata.levels) == (
        (0.1, "inf"),
        0.5,
        ("inf", 2.0, 0.5, 0.0),
    )
    assert (metadata.sampler.class_, metadata.dtype, metadata.calls[0].rows) == ("DDIM", "bfloat16", 1)


def test_empty_prompt_says_what_it_is(run: Run, model: Path) -> None:
    code, out, err = run("generate", "", "-m", str(model), "--seed", "1")
    assert (code, err) == (0, "unnoise: an empty prompt draws from the unconditional model\n")
    assert "out/unconditional-1.png" in out


def test_guidance_out_of_range_is_noted(run: Run, model: Path) -> None:
    code, _, err = run("generate", "a", "-m", str(model), "--guidance", "30", "--size", "32")
    assert code == 0
    assert "unnoise: warning UN401" in err
    assert "30, expected 1 to 4" in err
    assert "unnoise: warning UN306" in err


BAD = [
    (["generate"], "prompt: give one of PROMPT and --prompts FILE"),
    (["generate", "a", "--prompts", "b"], "prompt: give one of PROMPT and --prompts FILE"),
    (["generate", "a", "b"], "Unused Tokens"),
    (["genrate", "a"], 'Unknown command "genrate". Did you mean "generate"?'),
    (["generate", "a", "--stesp", "3"], "Unknown option: --stesp. Did you mean --steps?"),
    (["generate", "a", "--model", "emojy"], "unknown model 'emojy': did you mean 'emoji'?"),
    (["generate", "a", "--model", "none.safetensors"], "none.safetensors: cannot be read: No such file"),
    (["generate", "a", "--model", "."], "not a model in the layout of diffusers: it has no model_index.json"),
    (["generate", "a", "--model", "text.safetensors"], "text.safetensors: not a valid safetensors file"),
    (["generate", "a", "--model", "short.safetensors"], "short.safetensors: not a valid safetensors file"),
    (["generate", "a", "--model", "hostile.safetensors"], "unknown net 'os.system'"),
    (["generate", "a", "--sampler", "eular"], "did you mean 'euler'?"),
    (["generate", "a", "--schedule", "karas"], "did you mean 'karras'?"),
    (["generate", "a", "--schedule", "1,2,0"], "a grid descends"),
    (["generate", "a", "--steps", "0"], "steps 0: a whole number from 1 to 1000"),
    (["generate", "a", "--steps", "-1"], "steps -1"),
    (["generate", "a", "--steps", "1000000000"], "steps 1000000000"),
    (["generate", "a", "--steps", "ten"], "steps 'ten': must be a whole number"),
    (["generate", "a", "--steps"], "--steps requires an argument"),
    (["generate", "a", "--guidance", "nan"], "guidance_scale nan"),
    (["generate", "a", "--guidance", "inf"], "guidance_scale inf"),
    (["generate", "a", "--guidance", "much"], "guidance_scale 'much': must be a number"),
    (["generate", "a", "--size", "13"], "size 13x13: both sides must be multiples of 8"),
    (["generate", "a", "--size", "0"], "width 0"),
    (["generate", "a", "--size", "100000x100000"], "width 100000: a whole number from 1 to 4096"),
    (["generate", "a", "--size", "4096"], "at most 4194304 pixels"),
    (["generate", "a", "--size", "wide"], "size 'wide': WIDTHxHEIGHT"),
    (["generate", "a", "--seed", "-1"], "seed -1: a whole number from 0"),
    (["generate", "a", "--seed", "18446744073709551616"], "seed 18446744073709551616"),
    (["generate", "a", "-n", "0"], "n 0"),
    (["generate", "a", "--guidance-interval", "1"], "guidance_interval '1': LOW,HIGH"),
    (["generate", "a", "--guidance-interval", "2,1"], "guidance_interval (2.0, 1.0)"),
    (["generate", "a", "--dtype", "float8"], "dtype 'float8'"),
    (["generate", "a", "--device", "gpu"], "device 'gpu'"),
    (["generate", "a\ud800"], "not Unicode"),
    (["generate", "a " * 40], "has 41 tokens, at most 16 are allowed"),
    (["generate", "--prompts", "empty.txt"], "prompts 'empty.txt': contains only empty lines"),
    (["generate", "--prompts", "none.txt"], "prompts none.txt: cannot be read: No such file"),
    (["generate", "--prompts", "short.safetensors"], "prompts short.safetensors: not a text"),
    (["generate", "a", "-o", "image.gif"], "files are written as .png or .webp or .jpg or .jpeg"),
    (["generate", "a", "-n", "2", "-o", "image.jpg"], "files are written as .png; a folder"),
    (["generate", "a", "-o", ""], "out ''"),
    (["generate", "a", "-o", "empty.txt/a.png"], "cannot write 'empty.txt/a.png'"),
    (["generate", "a", "-o", "empty.txt/"], "cannot write"),
    (["generate", "a", "-o", "/proc/none/a.png"], "cannot write '/proc/none/a.png'"),
    (["generate", "a", "-o", "x" * 300 + ".png"], "File name too long"),
    (["generate", "a", "--negative-prompt", "b", "--guidance", "1"], "guidance_scale is 1 (off)"),
    (["replay"], "requires an argument"),
    (["replay", "none.png"], "none.png: cannot be read"),
    (["replay", "empty.txt"], "empty.txt: cannot be read: an unknown format"),
    (["replay", "plain.png"], "plain.png: has no metadata"),
    (["models", "none"], "unknown model 'none'"),
]


@pytest.mark.parametrize(("arguments", "fault"), BAD, ids=[" ".join(arguments)[:60] for arguments, _ in BAD])
def test_bad_input(run: Run, tmp_path: Path, model: Path, arguments: list[str], fault: str) -> None:
    content = model.read_bytes()
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "text.safetensors").write_text("hello world, this is no model")
    (tmp_path / "short.safetensors").write_bytes(content[:-1])
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].rstrip().replace(b'\\"UNet\\"', b'\\"os.system\\"')
    hostile = len(header).to_bytes(8, "little") + header + content[8 + size :]
    (tmp_path / "hostile.safetensors").write_bytes(hostile)
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    before = files(tmp_path)
    if arguments[0] == "generate" and "--model" not in arguments:
        arguments = [*arguments, "--model", str(model)] if arguments[-1] != "--steps" else arguments
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert fault in err
    assert err.startswith("unnoise: ")
    assert err.count("\n") == 1
    assert files(tmp_path) == before


def test_replay_needs_the_same_weights(run: Run, tmp_path: Path, model: Path) -> None:
    assert run("generate", "a", "-m", str(model), "-o", "a.png")[0] == 0
    code, _, err = run("replay", "a.png", "-o", "b.png")
    assert (code, "drawn by 'tiny'" in err) == (2, True)
    tiny.save(tmp_path / "other.safetensors", tiny.pipeline(seed=1))
    code, _, err = run("replay", "a.png", "-o", "b.png", "-m", "other.safetensors")
    assert (code, "has the weights " in err, ", and the sample has " in err) == (2, True, True)
    assert not (tmp_path / "b.png").exists()


def test_nan_is_one_line_and_no_image(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    from unnoise.nets.unet import UNet

    monkeypatch.setattr(UNet, "forward", lambda self, x, time, cond: x * float("nan"))
    code, out, err = run("generate", "a", "-m", str(model), "--seed", "7", "-n", "2")
    assert (code, out) == (1, "")
    assert re.fullmatch(
        r"unnoise: step 0 of 3, sigma inf, dtype float32: NaN or infinity in the sample of seed 7; use .*\n", err
    )
    assert files(tmp_path) == set()


@pytest.mark.parametrize("moment", ["unnoise.generation.engine.Engine.step", "PIL.Image.Image.save", "os.fsync"])
def test_interrupt_leaves_no_half_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path, moment: str
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(moment, interrupt)
    assert run("generate", "a", "-m", str(model)) == (130, "", "unnoise: interrupted\n")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_help_teaches(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    code, out, _ = run("generate", "--help-all")
    assert code == 0
    assert "Examples:" in out
    for name, entry in {**SAMPLERS, **GRIDS}.items():
        assert re.search(rf"^  {re.escape(name)} +{re.escape(entry.means[:30])}", out, re.MULTILINE), name


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"{unnoise.__version__}\n", "")


def test_models_shows_a_card(run: Run, model: Path) -> None:
    code, out, err = run("models", str(model))
    assert (code, err) == (0, "")
    assert out.startswith("tiny\n  network      UNet, predicts flow, process Flow\n")
    assert "guidance     scale 2, sound from 1 to 4" in out
    assert json.loads(run("models", str(model), "--json")[1])["net"]["class"] == "UNet"
    assert json.loads(run("models", str(model), "--json")[1])["name"] == "tiny"


def command(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    everything = [sys.executable, "-m", "unnoise", *arguments]
    return subprocess.run(everything, capture_output=True, text=True, timeout=120, cwd=folder, env=os.environ | {})


def test_the_command_itself(tmp_path: Path, model: Path) -> None:
    done = command("generate", "a red heart", "-m", str(model), "--seed", "7", "-o", "a.png", "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["samples"][0]["path"] == "a.png"
    assert files(tmp_path) == {"a.png"}


HELD = """
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background has not
real = builtins.__import__
def interrupted(name, *rest):
    if name == "torch":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest) if name != "torch" else sys.modules.setdefault("torch", sys)
builtins.__import__ = interrupted
from unnoise.cli.torch_import import import_torch
try:
    import_torch()
except KeyboardInterrupt:
    print("torch" in sys.modules, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_interrupt_waits_until_torch_is_there() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True True\n", "")


COLLECTED = """
import builtins, gc, sys
real, during = builtins.__import__, []
def watched(name, *rest):
    if name != "torch":
        return real(name, *rest)
    during.append(gc.isenabled())
    return sys.modules.setdefault("torch", sys)
builtins.__import__ = watched
from unnoise.cli.torch_import import import_torch
before = gc.get_freeze_count()
import_torch()
kept = gc.get_freeze_count()
import_torch()
print(during, gc.isenabled(), before == 0 < kept == gc.get_freeze_count())
"""


def test_what_torch_leaves_is_not_searched_for_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTED], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[False] True True\n", "")


def test_errors_come_before_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from unnoise.cli.main import main; code = main(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    )
    for arguments in (["generate", "a", "--steps", "0"], ["generate", "a", "-m", "x"], ["models", "x"]):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert (done.stdout.strip(), done.stderr.count("\n")) == ("2 False", 1)
