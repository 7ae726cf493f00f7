"""A card can name the classes of a closed table, and say nothing that it does not know."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import save_file

from unnoise.card import CLASSES, FORMER_NAMES, Card, Part, Setting, from_json, read_card, to_json
from unnoise.embedded import ZOO, find
from unnoise.errors import InputError
from unnoise.sampling.kinds import KINDS


def text(**changes: object) -> str:
    return json.dumps(json.loads(to_json(tiny.CARD)) | changes)


def test_round_trip() -> None:
    assert from_json(to_json(tiny.CARD), "card") == tiny.CARD


def test_table_is_that_of_the_code() -> None:
    assert set(Card.__annotations__["kind"].__args__) == set(KINDS)
    for known in CLASSES.values():
        for name, place in known.items():
            module, attribute = place.split(":")
            assert getattr(import_module(module), attribute).__name__ == name


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"net": {"class": "os.system", "args": {"command": "true"}}}, "unknown net 'os.system': known: DiT, UNet"),
        ({"process": {"class": "flow"}}, "unknown process 'flow': did you mean 'Flow'"),
        ({"text": {"class": "TextEncoder", "args": {"vocab": 10**12}}}, "text.args contains"),
        ({"net": {"class": "UNet", "args": {"widths": [[[[[[1]]]]]]}}}, "nested"),
        ({"net": {"class": "UNet", "args": {"widths": [1] * 200_000}}}, "too long"),
        ({"net": {"class": "UNet", "path": "x"}}, "unknown field 'net.path'.*known: args, class"),
        ({"trust_remote_code": True}, "unknown field 'trust_remote_code'.*known: advice"),
        ({"kind": "score"}, "kind: 'score', expected \"x0\" or"),
        ({"version": 2}, "version: 2"),
        ({"autoencoder": None}, "space Latent with autoencoder None"),
        ({"tokenizer": None}, "not both"),
        ({"advice": {"steps": "ten"}}, "advice.steps: 'ten'"),
    ],
)
def test_refuses(change: dict[str, object], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        from_json(text(**change), "card")


FITTED = Setting(Part("DDIM"), (1.0, 0.0), 2.5, (0.2, 0.1))
ADVICE = replace(
    tiny.CARD.advice, schedule="karras", guidance_interval=(0.2, 8.0), guidance_rescale=0.7, distilled_guidance=3.5,
    image_guidance=1.5, fitted=(FITTED,),
)  # fmt: skip


def former(only: str = "", both: bool = False) -> str:
    """Write a card with the names of fields before 0.2; with one of them, or with one beside its new name."""
    card = json.loads(to_json(replace(tiny.CARD, advice=ADVICE)))
    for path, name in FORMER_NAMES.items():
        if only in ("", path):
            *_, old = path.split(".")
            for place in card["advice"]["fitted"] if ".fitted." in path else [card["advice"]]:
                place[old] = place[name] if both else place.pop(name)
    return json.dumps(card)


def test_cards_before_0_2_are_read_by_one_table() -> None:
    assert from_json(former(), "card") == replace(tiny.CARD, advice=ADVICE)
    assert {"advice.grid", "advice.guidance", "advice.fitted.guidance"} <= set(FORMER_NAMES)


@pytest.mark.parametrize("path", FORMER_NAMES)
def test_a_former_name_alone_is_read_and_beside_the_new_one_refused(path: str) -> None:
    assert from_json(former(path), "card") == replace(tiny.CARD, advice=ADVICE)
    place = path.replace("fitted.", r"fitted.*\.")
    with pytest.raises(InputError, match=f"card: unknown field '{place}'"):
        from_json(former(path, both=True), "card")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -(2**40)])
def test_refuses_absurd_numbers_also_from_python(value: float) -> None:
    with pytest.raises(InputError, match=r"process\.args contains"):
        replace(tiny.CARD, process=Part("Flow", {"shift": value}))


def test_other_files_have_no_card(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="has no card"):
        read_card(tmp_path / "other.safetensors")


def test_embedded_models_are_found_by_name() -> None:
    assert {find(name).name for name in ZOO} == set(ZOO.values())


def test_paths_are_found_as_they_are(tmp_path: Path) -> None:
    assert find(tmp_path / "x.safetensors") == tmp_path / "x.safetensors"
    assert find(tmp_path) == tmp_path
    with pytest.raises(InputError, match=r"model 'emojy': did you mean 'emoji'\? known: emoji, or the path of a file"):
        find("emojy")
