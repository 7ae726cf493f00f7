"""Students without new inputs: a LoRA of a tiny SD that diffusers opens, LoRAs of our models, whole networks."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import StableDiffusionPipeline
from integrations import peers, test_foreign_sd, test_foreign_sdxl
from safetensors.torch import load_file

from unnoise.adapters.lora.read import read
from unnoise.cli.main import main
from unnoise.cli.train import TrainOptions
from unnoise.diffusion.process import VP
from unnoise.distill.consistency_options import ConsistencyOptions
from unnoise.distill.imitate import ImitateTask
from unnoise.distill.imitate_options import ImitateOptions
from unnoise.distill.match_options import MatchOptions
from unnoise.distill.plain_student import save_plain_student, stated_options
from unnoise.distill.recipe import DistillRecipe, read_distill_recipe
from unnoise.distill.rows import RowSource, prompt_pool
from unnoise.distill.student import build_student
from unnoise.distill.task import DistillTask
from unnoise.distill.teacher import Teacher
from unnoise.distill.train_distill import train_distill
from unnoise.errors import InputError
from unnoise.formats.header import read_header
from unnoise.loading import load
from unnoise.pipeline import Pipeline
from unnoise.train.adapter_recipe import LoraOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.loop import train
from unnoise.train.recipe import DataOptions
from unnoise.train.task import Progress

RECIPES = Path(__file__).resolve().parents[2] / "recipes/distill"
GRID = (2.0, 0.8, 0.3)


def recipe_of(teacher: object, **more: Any) -> DistillRecipe:
    fit = FitOptions(4, learning_rate=0.02, batch=2, warmup=1, precision="float32", compile=False)
    options = {"guidance": (3.0, 3.0), "steps": (4,), "caption_dropout": 0.0, "lora": LoraOptions(4, 4.0)} | more
    return DistillRecipe("fast", str(teacher), fit, **{"imitate": ImitateOptions(grid=GRID)} | options)


def distilled(recipe: DistillRecipe, pipeline: Pipeline) -> tuple[Pipeline, DistillTask]:
    """Train the student of a recipe for a few steps."""
    teacher = Teacher(pipeline, recipe.guided)
    student = build_student(recipe, pipeline)
    shape = pipeline.space.shape(32, 32)
    task = ImitateTask(
        recipe, teacher, student, RowSource(recipe, teacher, [prompt_pool([peers.PROMPT, "a cat"], shape)]), ["a cat"]
    )
    averaged = train(task, recipe.fit, recipe.checkpoints, None, lambda _: None)
    task.networks.load_state_dict(averaged)
    return student, task


def test_a_lora_student_of_a_tiny_sd_opens_in_diffusers(tmp_path: Path) -> None:
    pipe = test_foreign_sd.pipe(tmp_path)
    model = peers.saved(pipe, tmp_path / "model")
    recipe, base = recipe_of(model), load(model)
    before = {name: value.clone() for name, value in base.denoiser.net.state_dict().items()}
    student, task = distilled(recipe, base)
    assert all(name.startswith("net.") for name in task.networks.state_dict())
    assert all(torch.equal(before[name], value) for name, value in base.denoiser.net.state_dict().items())
    path = tmp_path / "fast.safetensors"
    save_plain_student(recipe, student, base, path)
    about = json.loads(read_header(path).metadata["unnoise.lora"])
    assert about["base"]["fingerprint"] == base.card.fingerprint
    assert about["training"]["distilled"]["guidance_range"] == [3.0, 3.0]
    options = stated_options(path)
    assert options == {name: about["training"][name] for name in options}
    assert options["schedule"] == ",".join(f"{level:g}" for level in student.plan("a").settings.grid)
    assert about["training"]["times"][0] == base.denoiser.process.time(torch.tensor(torch.inf)).item()

    own = student.generate("a cat", seed=1, size=32, progress=False)[0]
    run = {"guidance_scale": 1, "sampler": "ddim", "schedule": (base.denoiser.process.sigma_max, *GRID, 0.0)}
    lora = read(path, base)
    applied = base.generate("a cat", seed=1, size=32, lora={lora: 1.0}, progress=False, **run)[0]
    assert (applied.x0 - own.x0).abs().max() < 2e-3, "the file is in float16"
    plain = base.generate("a cat", seed=1, size=32, progress=False, **run)[0]
    assert (plain.x0 - own.x0).abs().max() > 0.02

    peer = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    peer.load_lora_weights(str(path))
    x, time, cond = torch.randn(1, 4, 4, 4), torch.tensor([601.0]), base.text_encoder(["a cat"])[0]  # type: ignore[misc]
    with torch.no_grad():
        theirs = peer.unet(x, time, cond.tokens).sample
    with torch.no_grad():
        ours = student.denoiser.net(x, time, cond)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_a_lora_of_sdxl_and_a_lora_of_our_own_model_are_trained(tmp_path: Path) -> None:
    sdxl = load(peers.saved(test_foreign_sdxl.pipe(tmp_path), tmp_path / "sdxl"))
    own = tiny.saved(tmp_path / "tiny.safetensors")
    for base, where in ((sdxl, tmp_path / "sdxl"), (own, tmp_path / "tiny.safetensors")):
        recipe = recipe_of(where)
        student, _ = distilled(recipe, base)
        path = tmp_path / "fast.safetensors"
        save_plain_student(recipe, student, base, path)
        lora = read(path, base)
        assert not lora.notes
        assert max(float(delta.up.abs().max()) for delta in lora.deltas.values()) > 0  # type: ignore[attr-defined]


def test_a_whole_foreign_network_is_written_as_its_folder(tmp_path: Path) -> None:
    model = peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model")
    recipe, base = recipe_of(model, lora=None), load(model)
    before = {name: value.clone() for name, value in base.denoiser.net.state_dict().items()}
    student, _ = distilled(recipe, base)
    assert all(torch.equal(before[name], value) for name, value in base.denoiser.net.state_dict().items())
    path = tmp_path / "run"
    save_plain_student(recipe, student, base, path)
    again = load(path)
    for name, value in again.denoiser.net.state_dict().items():
        torch.testing.assert_close(value, student.denoiser.net.state_dict()[name])
    assert any(not torch.equal(before[name], value) for name, value in again.denoiser.net.state_dict().items())
    assert json.loads((path / "training.json").read_text())["distilled"]["method"] == "imitate"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guidance": (1.0, 3.0)}, r"guidance \[1.0, 3.0\]: a LoRA takes no guidance scale as an input; fold one in"),
        ({"steps": (1, 4)}, r"steps \[1, 4\]: a LoRA does not take the end of a jump, .* such as \[4\]"),
        (
            {"steps": (2, 4), "imitate": None, "match": MatchOptions(GRID, anchor=0, end=False)},
            r"steps \[2, 4\]: a LoRA",
        ),
        ({"init": "x"}, "init 'x': a LoRA begins at its teacher, or at lora.init; leave it out"),
        ({"lora": LoraOptions(dropout=0.1)}, "lora.dropout 0.1: a student follows its teacher without"),
        ({"lora": LoraOptions(targets=("text",))}, "lora.targets 'text': the text encoder is the teacher's"),
    ],
)
def test_what_a_lora_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_student(recipe_of("tiny", **changes), tiny.pipeline())
    many = recipe_of("tiny")
    other = {"imitate": None, "consistency": ConsistencyOptions(), "data": DataOptions("emoji")}
    with pytest.raises(InputError, match=r"\[consistency\]: trains a whole network of unnoise, and not a LoRA"):
        build_student(DistillRecipe(**fields(many) | other), tiny.pipeline())
    with pytest.raises(InputError, match=r"imitate\.points 8: a LoRA has one prediction a call; leave it out"):
        build_student(DistillRecipe(**{**fields(many), "imitate": ImitateOptions(points=8)}), tiny.pipeline())


def fields(recipe: DistillRecipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in DistillRecipe.__dataclass_fields__}


def test_the_command_writes_a_lora_and_a_stopped_run_ends_with_the_same_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.saved(tmp_path / "tiny.safetensors")
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    recipe = tmp_path / "fast.toml"
    recipe.write_text(
        f'''
name = "fast"
teacher = "{tmp_path}/tiny.safetensors"
guidance = [2.0, 2.0]
steps = [2]
data = {{ source = "{tmp_path}/prompts.txt", size = 16 }}
imitate = {{ ends = 2, ends_paths = 2, ends_steps = 4 }}
fit = {{ steps = 6, batch = 2, warmup = 1, learning_rate = 0.01, precision = "float32" }}
checkpoints = {{ every = 3, snapshot_every = 3, ema_every = 1, sheet_every = 6, validate_every = 6 }}
'''
    )
    assert main(["distill", str(recipe), "--lora", "2", "--out", str(tmp_path / "whole")]) == 0
    line = next(one for one in capsys.readouterr().err.splitlines() if "unnoise generate" in one)
    command = shlex.split(line[line.index("unnoise generate") :])[1:]
    assert command[command.index("--schedule") + 1] == "inf,1,0"
    assert main([*command, "--seed", "1", "-o", str(tmp_path / "a.png")]) == 0
    parsed, parts = replace(read_distill_recipe(recipe), lora=LoraOptions(2, 2.0)), tmp_path / "parts"

    class Stopped(Nothing):
        def step(self, progress: Progress) -> None:
            if progress.step == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_distill(parsed, parts, torch.device("cpu"), False, Stopped())
    train_distill(parsed, parts, torch.device("cpu"), True, Nothing())
    names = ("whole/fast.safetensors", "parts/fast.safetensors")
    (one, first), (other, second) = (tensors_of(tmp_path / name) for name in names)
    assert one == other
    assert all(torch.equal(first[name], second[name]) for name in one)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", LoraOptions(8, 8.0)),
        ('lora = { rank = 4, alpha = 2.0, targets = ["convolution"], dora = true, init = "a" }',
         LoraOptions(8, 8.0, ("convolution",), dora=True, init="a")),
    ],
)  # fmt: skip
def test_the_rank_of_the_command_line_keeps_the_rest_of_the_table(
    table: str, expected: LoraOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, given = tmp_path / "fast.toml", list[DistillRecipe]()
    recipe.write_text(f'name = "a"\nteacher = "b"\nsteps = [4]\nimitate = {{}}\nfit = {{ steps = 9 }}\n{table}\n')
    monkeypatch.setattr(TrainOptions, "run", lambda options, command, name, train: given.append(train.args[0]))
    assert main(["distill", str(recipe), "--lora", "8"]) == 0
    assert given[0].lora == expected


def tensors_of(path: Path) -> tuple[list[str], dict[str, torch.Tensor]]:
    found = load_file(path)
    return sorted(found), found


class Nothing:
    """A report of nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


@pytest.mark.parametrize("name", ["sd15-lora", "sdxl-lora"])
def test_the_plans_are_valid_and_their_levels_are_those_of_trailing_steps(name: str) -> None:
    recipe = read_distill_recipe(RECIPES / f"{name}.toml")
    assert recipe.lora is not None
    assert (recipe.method, recipe.steps, recipe.guidance_input) == ("imitate", (4,), False)
    sigma = VP("scaled-linear").sigma(torch.tensor([749.0, 499.0, 249.0], dtype=torch.float64))
    torch.testing.assert_close(torch.tensor(recipe.options.sampling(4)[1][:-1]), sigma.float(), atol=1e-4, rtol=0)
