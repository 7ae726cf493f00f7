"""Options are declared once: the command line, Python, metadata and `check` have each of them, by the same name."""

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest
import tiny

from unnoise.card import Advice
from unnoise.check.read.recipe import read_request
from unnoise.cli.edit import DEFAULTS, app as edit_app
from unnoise.cli.generate import app as generate_app
from unnoise.cli.main import COMMANDS, main
from unnoise.cli.options import COMMAND_NAMES, GROUPS, METAVARS, MODEL_NAMES, HelpView, arguments, values
from unnoise.cli.plan import PLANNED
from unnoise.errors import InputError
from unnoise.generation.axes import FIXED
from unnoise.generation.metadata import INPUTS, Metadata, Settings
from unnoise.generation.option import described
from unnoise.generation.options import OPTIONS, SamplingOptions
from unnoise.generation.other_names import OTHER_NAMES
from unnoise.generation.record import SAME
from unnoise.generation.request import home_of_options, request_of
from unnoise.pipeline import Pipeline

EVERY = [(kind, name, option) for kind in OPTIONS for name, option in described(kind).items()]
ids = [name for _, name, _ in EVERY]
# A value of each option as a person types it, and what it is; no option may be missing here.
EXAMPLES: dict[str, tuple[str, Any]] = {
    "negative_prompt": ("blue", "blue"), "steps": ("4", 4), "guidance_scale": ("2.5", 2.5), "sampler": ("heun", "heun"),
    "schedule": ("karras", "karras"), "seed": ("7", 7), "n": ("3", 3), "size": ("24x16", (24, 16)), "frames": ("9", 9),
    "seconds": ("1.5", 1.5), "guidance_interval": ("0.1,inf", (0.1, float("inf"))), "guidance_rescale": ("0.5", 0.5),
    "distilled_guidance": ("3.5", 3.5), "image_guidance": ("1.5", 1.5), "prompt_weighting": ("literal", "literal"),
    "variation": ("0.3", 0.3), "variation_seed": ("8", 8), "blend_prompt": ("a dog", "a dog"),
    "blend_share": ("0.4", 0.4),
    "tile": ("16", 16), "batch": ("2", 2), "dtype": ("bfloat16", "bfloat16"),
    "vae_dtype": ("float32", "float32"), "image": ("a.png", "a.png"),
    "mask": ("m.png", "m.png"), "invert_mask": ("", True), "strength": ("0.5", 0.5),
    "outpaint": ("0,8,0,4", (0, 8, 0, 4)),
    "source_prompt": ("a cat", "a cat"), "feather": ("2", 2), "mask_mode": ("differential", "differential"),
    "resample": ("2", 2), "control_image": ("c.png", "c.png"), "control_scale": ("0.7", 0.7),
    "control_resize": ("pad", "pad"),
    "ip_adapter_image": ("i.png", "i.png"), "ip_adapter_scale": ("0.6", 0.6), "lora": ("ink:0.5", ("ink:0.5",)),
    "partial": ("", True), "original_size": ("2048x1024", (2048, 1024)), "crop_top_left": ("8,16", (8, 16)),
    "target_size": ("512", (512, 512)), "aesthetic_score": ("7.5", 7.5),
    "negative_original_size": ("256", (256, 256)), "negative_crop_top_left": ("0,4", (0, 4)),
    "negative_target_size": ("64x32", (64, 32)), "negative_aesthetic_score": ("2", 2.0),
    "decoder": ("small", "small"),
}  # fmt: skip
NEEDS = {"variation": {"variation_seed": 1}, "variation_seed": {"variation": 0.5}, "blend_share": {"blend_prompt": "b"}}
PYTHON_ONLY = {"noise", "progress"}
ELSEWHERE = {"steps": "levels", "schedule": "levels", "lora": "adapters"}  # in metadata
UNRECORDED = {"n", "batch", "progress", "partial", "invert_mask"}  # how many, how fast; the mask's hash covers the last


def test_no_two_classes_share_an_option() -> None:
    assert len(ids) == len(set(ids)) == len(home_of_options())


@pytest.mark.parametrize(("kind", "name", "option"), EVERY, ids=ids)
def test_every_option_is_described(kind: Any, name: str, option: Any) -> None:
    assert option.group in GROUPS
    assert option.help.endswith(".")
    assert 10 < len(option.help) < 80
    assert option.card == "" or option.card in {one.name for one in fields(Advice)}
    assert option.python_only is (name in PYTHON_ONLY)
    if not option.python_only:
        assert option.kind == "flag" or option.kind in METAVARS


@pytest.mark.parametrize(("kind", "name", "option"), EVERY, ids=ids)
def test_every_option_is_on_the_command_line(kind: Any, name: str, option: Any) -> None:
    made = arguments(kind, HelpView())
    flags = {one.name for one in fields(made)}
    assert (name in flags) is not option.python_only
    if option.python_only:
        return
    typed, wanted = EXAMPLES[name]
    text = True if option.kind == "flag" else (typed,) if option.kind == "lora" else typed
    assert values(made(**{name: text})) == {name: wanted}
    assert values(made()) == {}
    request = request_of("a", **{name: wanted, **NEEDS.get(name, {})})
    home = next(getattr(request, place) for place in HOMES if isinstance(getattr(request, place), kind))
    assert getattr(home, name) == wanted


HOMES = ("sampling", "edit", "control", "adapters", "output")


@pytest.mark.parametrize("command", ["generate", "edit"])
def test_every_option_is_in_the_help(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main([command, "--help-all"]) == 0
    out = capsys.readouterr().out
    for _, name, option in EVERY:
        if not option.python_only and (command, name) != ("edit", "image"):
            spelled = (option.spelling or (f"--{name.replace('_', '-')}",))[0]
            assert re.search(rf"^│ {spelled} ", out, re.MULTILINE), name
    for group in GROUPS:
        assert f"─ {group.capitalize()} ─" in out


def test_every_option_is_a_keyword_of_python() -> None:
    signature = inspect.signature(Pipeline.generate)
    keywords = {name: one for name, one in signature.parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert list(keywords) == ["callback", *ids]
    doc = str(Pipeline.generate.__doc__)
    for kind, name, option in EVERY:
        assert keywords[name].default == next(one.default for one in fields(kind) if one.name == name)
        assert f"            {name}: {option.help}\n" in doc
    assert "see below" not in doc


@pytest.mark.parametrize(("kind", "name", "option"), EVERY, ids=ids)
def test_every_option_that_acts_is_in_the_metadata(kind: Any, name: str, option: Any) -> None:
    place = ELSEWHERE.get(name, name)
    recorded = {one.name for one in fields(Metadata)}
    assert (place in recorded) is (name not in UNRECORDED)
    if option.kind == "image" and name not in UNRECORDED:
        assert name in INPUTS, "metadata has the sha256 of an image"
    elif place in {one.name for one in fields(Settings)} and name not in ELSEWHERE:
        assert option.kind not in ("image", "lora")


def test_every_choice_of_a_replay_is_checked_as_an_option() -> None:
    """What metadata has under the name of an option goes through the option's own check before a replay."""
    named = {"negative_prompt", "guidance_scale", "schedule", "sampler", "seed", "size", "guidance_interval",
             "guidance_rescale", "outpaint", "source_prompt", "feather", "mask_mode", "control_scale", "control_resize",
             "ip_adapter_scale", "strength", "resample", "decoder"}  # fmt: skip
    recorded = {one.name for one in fields(Metadata)} | set(ELSEWHERE)
    checked = set(SAME) | named | {"steps", "lora"} | set(INPUTS)
    assert {name for name in ids if name in recorded} == checked


def test_check_reads_what_a_request_says() -> None:
    request = request_of("a", steps=9, guidance_scale=5.0, sampler="heun", size=(24, 16), seed=3, negative_prompt="b")
    (run,) = read_request(request, tiny.CARD, "tiny").runs
    found = [run.steps, run.guidance, run.sampler, run.width, run.height]
    assert [one.value for one in found if one] == [9, 5.0, "heun", 24, 16]


def test_groups_of_options_exist() -> None:
    assert set(FIXED) <= set(ids)
    assert set(PLANNED) <= set(described(SamplingOptions))
    assert set(DEFAULTS) <= set(ids)


# Names of other tools.


def test_names_of_other_tools_lead_to_options() -> None:
    assert not set(OTHER_NAMES) & set(ids)
    assert set(OTHER_NAMES.values()) <= {*ids, "callback"}
    flags = {f"--{name.replace('_', '-')}" for _, name, option in EVERY if not option.python_only}
    told = {place for name, place in COMMAND_NAMES.items() if name != "keep_outside"}
    assert told <= flags
    assert not {name for name in COMMAND_NAMES if f"--{name.replace('_', '-')}" in flags}
    for name in ("num_inference_steps", "cfg_scale", "denoising_strength", "num_images_per_prompt", "generator"):
        assert name in OTHER_NAMES


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_names_of_other_tools_are_refused_with_ours(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        request_of("a", **{name: 1})
    assert str(caught.value) == f"{name}: unknown here; use {OTHER_NAMES[name]}"
    if name in COMMAND_NAMES:
        for text in ([f"--{name.replace('_', '-')}", "1"], [f"--{name.replace('_', '-')}=1"]):
            assert main(["generate", "a", *text]) == 2
            told = capsys.readouterr().err
            assert told.startswith(f"unnoise: --{name.replace('_', '-')}: unknown here; use ")
            assert told.count("\n") == 1


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_former_options_of_models_are_refused_with_ours(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("generate", "export", "plan"):
        assert command in COMMANDS
        assert main([command, "a", f"--{name.replace('_', '-')}", "x"]) == 2
        assert f"unknown here; use {MODEL_NAMES[name]}\n" in capsys.readouterr().err


def test_an_unknown_option_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="stesp: unknown option: did you mean 'steps'"):
        request_of("a", stesp=3)


# Ranges and defaults that help and pages promise.

RANGES = {
    "steps": (1, 1000), "guidance_scale": (0, 100), "n": (1, 4096), "frames": (1, 1024), "seconds": (1e-3, 600),
    "guidance_rescale": (0, 1), "distilled_guidance": (0, 100), "image_guidance": (0, 100), "variation": (0, 1),
    "seed": (0, 2**63 - 1), "variation_seed": (0, 2**63 - 1), "blend_share": (0, 1), "tile": (1, 4096),
    "batch": (1, 4096), "strength": (1e-3, 1), "feather": (0, 4096), "resample": (1, 100), "control_scale": (0, 2),
    "ip_adapter_scale": (0, 2), "aesthetic_score": (0, 10), "negative_aesthetic_score": (0, 10),
}  # fmt: skip


def test_every_number_has_a_range_that_is_tested() -> None:
    assert {name for _, name, option in EVERY if option.kind in ("whole", "number")} == set(RANGES)


@pytest.mark.parametrize("name", RANGES)
def test_numbers_are_taken_from_end_to_end_and_no_further(name: str) -> None:
    low, high = RANGES[name]
    step = 1 if isinstance(low, int) and isinstance(high, int) and name in WHOLE else 1e-6
    for inside in (low, high):
        request_of("a", **{name: inside, **NEEDS.get(name, {})})
    for outside in (low - step, high + step):
        with pytest.raises(InputError, match=f"{name} .*from "):
            request_of("a", **{name: outside, **NEEDS.get(name, {})})


WHOLE = {name for _, name, option in EVERY if option.kind == "whole"}


@pytest.mark.parametrize("make", [generate_app, edit_app])
def test_help_shows_the_defaults_of_the_card(make: Any, tmp_path: Any, capsys: Any, monkeypatch: Any) -> None:
    tiny.saved(tmp_path / "tiny.safetensors")
    monkeypatch.setenv("COLUMNS", "100")
    command = "generate" if make is generate_app else "edit"
    assert main([command, "--model", str(tmp_path / "tiny.safetensors"), "--help-all"]) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Sampler steps. [1 to 1000; default 3]" in out
    assert "1 is off. [0 to 100; default 2]" in out
    assert "inf,8,1,0. [default automatic]" in out
    size = "16x16" if command == "generate" else "the image's"
    assert f"or one number. [default {size}]" in out
    assert ("default 0.6, masked 1]" in out) is (command == "edit")
