"""The folder of a run: its lock, what a resumed recipe may change, litter of killed writes, and room on the disk."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unnoise.data.augment import Augment
from unnoise.errors import InputError
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.checkpoint import write_tensors
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions
from unnoise.train.run_folder import RECIPE, bytes_of_run, claimed_folder

FIT = FitOptions(steps=100, decay=0.5)
BEGUN = AdapterRecipe("dog", DataOptions("pictures"), FIT, lora=LoraOptions(), prompts=("a dog",))


def begin(folder: Path, done: int, recipe: AdapterRecipe = BEGUN) -> None:
    with claimed_folder(recipe, folder, False, 0):
        write_tensors(folder / "adapter/checkpoint.safetensors", {}, {"step": str(done), "seconds": "1.0"})


def resume(recipe: AdapterRecipe, folder: Path) -> None:
    with claimed_folder(recipe, folder, True, 0):
        pass


def steps(count: int) -> AdapterRecipe:
    return replace(BEGUN, fit=replace(FIT, steps=count))


@pytest.mark.parametrize(
    "changed",
    [
        replace(BEGUN, prompts=("a cat", "a dog (16:9)")),
        replace(BEGUN, checkpoints=CheckpointOptions(every=7, sheet_every=9, ema_length=0.1)),
        replace(BEGUN, name="cat", licence="mine"),
        replace(BEGUN, data=replace(BEGUN.data, strict=True)),
        steps(150),
        steps(90),
    ],
)
def test_what_touches_no_trained_step_may_change(tmp_path: Path, changed: AdapterRecipe) -> None:
    begin(tmp_path, 40)
    resume(changed, tmp_path)
    resume(changed, tmp_path)
    with pytest.raises(InputError, match="holds a run already"), claimed_folder(changed, tmp_path, False, 0):
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: replace(one, seed=2), "seed is 1 there, 2 in the recipe"),
        (lambda one: replace(one, trigger="sks"), "trigger is '' there, 'sks' in the recipe"),
        (lambda one: replace(one, fit=replace(FIT, batch=8)), "fit.batch is 32 there, 8 in the recipe"),
        (
            lambda one: replace(one, data=replace(one.data, augment=Augment(hue=0.5))),
            "data.augment.hue is 0.0 there, 0.5 in the recipe",
        ),
        (
            lambda one: replace(one, checkpoints=CheckpointOptions(snapshot_every=5)),
            "checkpoints.snapshot_every is 1000",
        ),
        (lambda one: replace(one, lora=LoraOptions(rank=4)), "lora.rank is 16 there, 4 in the recipe"),
        (lambda one: replace(one, prior="priors"), "prior is None there, 'priors' in the recipe"),
        (lambda one: replace(one, seed=2, base="x", dtype="float16", trigger="a"), r"\(2 more\)"),
    ],
)
def test_anything_else_is_refused_with_both_values(
    tmp_path: Path, change: Callable[[AdapterRecipe], AdapterRecipe], said: str
) -> None:
    begin(tmp_path, 40)
    before = (tmp_path / RECIPE).read_text()
    with pytest.raises(InputError, match=said):
        resume(change(BEGUN), tmp_path)
    assert (tmp_path / RECIPE).read_text() == before


def test_fewer_steps_than_are_trained_are_refused(tmp_path: Path) -> None:
    begin(tmp_path, 40)
    with pytest.raises(InputError, match=r"fit\.steps 39: 40 steps are trained"):
        resume(steps(39), tmp_path)


def test_a_finished_run_that_is_extended_says_what_its_learning_rate_did(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    begin(tmp_path, 50)
    resume(steps(300), tmp_path)
    assert not recwarn.list  # the rate had not begun to fall
    begin(tmp_path / "b", 100)
    with pytest.warns(
        UserWarning, match="fit.steps 100 is now 300: the 100 trained steps followed the learning rate of"
    ):
        resume(steps(300), tmp_path / "b")


def test_an_older_recipe_has_the_defaults_of_fields_that_are_new(tmp_path: Path) -> None:
    begin(tmp_path, 40)
    stored: dict[str, Any] = json.loads((tmp_path / RECIPE).read_text())
    del stored["distilled_guidance"], stored["buckets"]
    (tmp_path / RECIPE).write_text(json.dumps(stored))
    resume(BEGUN, tmp_path)
    with pytest.raises(InputError, match="buckets is True there, False in the recipe"):
        resume(replace(BEGUN, buckets=False), tmp_path)


def test_a_second_training_in_a_folder_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    with (
        claimed_folder(BEGUN, tmp_path, False, 0),
        pytest.raises(InputError, match=rf"process {os.getpid()} is training"),
    ):
        resume(BEGUN, tmp_path)
    resume(BEGUN, tmp_path)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with claimed_folder(BEGUN, tmp_path, False, 0):
            os._exit(0)
    os.waitpid(pid, 0)
    resume(BEGUN, tmp_path)
    assert (tmp_path / "run.lock").read_text().split()[0] == str(os.getpid())


def test_files_of_killed_writes_are_swept(tmp_path: Path) -> None:
    begin(tmp_path, 1)
    (tmp_path / "adapter/ema").mkdir()
    litter = [
        ".dog.safetensors.0a1b2c3d.part",
        "adapter/.checkpoint.safetensors.00000000.part",
        "adapter/ema/.x.1.part",
    ]
    kept = ["notes.part", "adapter/.hidden", ".part"]
    for name in litter + kept:
        (tmp_path / name).write_bytes(b"x")
    resume(BEGUN, tmp_path)
    assert [name for name in litter if (tmp_path / name).exists()] == []
    assert [name for name in kept if (tmp_path / name).exists()] == kept


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = tmp_path / "a/b"
    refused = pytest.raises(InputError, match=r"the run writes about 1e\+06 TB, and .* are free")
    with refused, claimed_folder(BEGUN, run, False, 10**18):
        pass
    assert not (tmp_path / "a").exists()
    assert bytes_of_run(1000, FIT, CheckpointOptions(snapshot_every=30)) == 4 * 1000 * (10 + 2 * 4 + 1)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a long path is shortened in the message
    Path("file").write_bytes(b"")
    with pytest.raises(InputError, match=re.escape(f"cannot write 'file/{RECIPE}'")):
        begin(Path("file"), 1)
