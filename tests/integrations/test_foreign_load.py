"""Loading what is damaged, incomplete, foreign to the family or hostile: one line that names it, and nothing runs."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

import unnoise
from integrations import peers, test_foreign_sd
from unnoise.errors import InputError, InputWarning

UNET = "unet/diffusion_pytorch_model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return peers.saved(test_foreign_sd.pipe(folder), folder / "model")


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def change(path: Path, edit: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_weights_are_those_of_the_files(model: Path) -> None:
    ours = unnoise.load(model)
    state = ours.denoiser.net.state_dict()
    for name, value in load_file(model / UNET).items():
        assert torch.equal(state[f"unet.{name}"], value), name
    assert ours.card.family == "sd1"
    assert ours.dtype == "float32"
    assert len(ours.card.fingerprint) == 64


def test_weights_in_another_dtype(model: Path) -> None:
    ours = unnoise.load(model, dtype="bfloat16")
    assert ours.dtype == "bfloat16"
    for net in ours.networks().values():
        assert {value.dtype for value in net.parameters()} == {torch.bfloat16}
    full = unnoise.load(model)
    assert ours.card.fingerprint == full.card.fingerprint
    one, other = (each.generate("a cat", seed=1, steps=3, size=64, guidance_scale=3)[0] for each in (ours, full))
    assert one.metadata.dtype == "bfloat16"
    assert one.x0.dtype == torch.float32
    assert 0 < (one.x0 - other.x0).abs().mean() < 0.1 * other.x0.abs().mean()


def test_a_sample_is_the_same_alone_and_among_others(model: Path) -> None:
    ours = unnoise.load(model)
    together = ours.generate("a cat", seed=5, n=3, steps=3, size=64)
    alone = ours.generate("a cat", seed=6, steps=3, size=64)[0]
    peers.assert_close(together[1].x0, alone.x0)
    assert (together[0].x0 - alone.x0).abs().max() > 0.1


@pytest.mark.cpu_isa
def test_prompts_of_different_lengths_do_not_touch_each_other(model: Path) -> None:
    """Up to rounding, which a batch changes: with the words of the other a sample is another one altogether."""
    ours = unnoise.load(model)
    long = "a cat in a hat " * 8
    both = ours.generate(["a cat", long], seed=5, steps=3, size=64)
    alone = [ours.generate(prompt, seed=5, steps=3, size=64)[0].x0 for prompt in ("a cat", long)]
    for one, found in zip(alone, both, strict=True):
        peers.assert_close(found.x0, one, 2e-5)
    with pytest.raises(AssertionError):
        peers.assert_close(*alone, 1e-2)


def test_strength_sets_how_much_an_image_changes(model: Path) -> None:
    ours = unnoise.load(model)
    image = ours.generate("a cat", seed=1, steps=3, size=64)[0].image
    near, far = (ours.generate("a dog", image=image, strength=s, seed=2, steps=3)[0] for s in (0.1, 0.9))
    assert near.metadata.strength == 0.1
    assert near.metadata.image is not None
    assert near.metadata.grid[0] < far.metadata.grid[0]
    with pytest.raises(InputError, match=r"strength 0\.1: acts on an image, and none is given"):
        ours.replay(near.metadata)
    with pytest.raises(InputError, match=r"image: the metadata names one of sha256 .*, and another is given"):
        ours.replay(near.metadata, image=far.image)
    assert ours.replay(near.metadata, image=image).image.tobytes() == near.image.tobytes()


def wider(place: Path) -> None:
    """Put the autoencoder of a family with 16 channels in place."""
    torch.manual_seed(0)
    how = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    AutoencoderKL(block_out_channels=[8] * 4, latent_channels=16, norm_num_groups=4, **how).save_pretrained(place)


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda m: (m / "model_index.json").unlink(), "not a model in the layout of diffusers: it has no model_index.json"),
    (lambda m: (m / "model_index.json").write_text("{"), "model_index.json: not JSON"),
    (lambda m: (m / "model_index.json").write_text("[" * 100_000), "model_index.json: not JSON"),
    (lambda m: (m / "model_index.json").write_text("[]"), "not a JSON object"),
    (lambda m: (m / "model_index.json").write_text(" " * (5 << 20)), "larger than"),
    (lambda m: shutil.rmtree(m / "text_encoder"), "lists the component 'text_encoder', a CLIPTextModel, but"),
    (lambda m: (m / UNET).unlink(), "unet: has no weights"),
    (lambda m: (m / UNET).rename(m / "unet/model.bin"), "a pickle, which can run code.*unnoise convert"),
    (lambda m: (m / UNET).write_bytes(b"12345678901234567890"), "not a valid safetensors file"),
    (lambda m: (m / "unet/config.json").unlink(), "config.json: cannot be read"),
    (lambda m: change(m / "unet/config.json", lambda c: c.update(block_out_channels=[7, 9])), "unet: config of UNet2D"),
    (lambda m: change(m / "unet/config.json", lambda c: c.update(down_block_types=["X"] * 2)), "unet: config of UNet"),
    (lambda m: change(m / "model_index.json", lambda c: c.update(unet=["os", "system"])), "class 'system'"),
    (lambda m: change(m / "model_index.json", lambda c: c.update(unet=["my", "MyUNet"])), "class 'MyUNet'; supported"),
    (lambda m: change(m / "model_index.json", lambda c: c.pop("unet")), "has no unet or transformer; it has"),
    (lambda m: change(m / "model_index.json", lambda c: c.pop("vae")), "has no vae, which sd1 needs; it has"),
    (lambda m: change(m / SCHEDULER, lambda c: c.update(prediction_type="x")), "prediction_type 'x'"),
    (lambda m: change(m / SCHEDULER, lambda c: c.update(beta_schedule="x")), "beta_schedule 'x'"),
    (lambda m: shutil.copytree(m / "vae", m / "unet", dirs_exist_ok=True), "unet"),
    (lambda m: wider(m / "vae"), "unet has 4 output channels, its vae 16 latent channels"),
]


@pytest.mark.filterwarnings("ignore:.*have no effect:unnoise.errors.InputWarning")
@pytest.mark.parametrize(("damage", "message"), FAULTS, ids=[message[:30] for _, message in FAULTS])
def test_damage_is_named_in_one_line(model: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(model)
    with pytest.raises(InputError, match=message) as caught:
        unnoise.load(model)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_tensors_are_counted_and_the_first_are_named(model: Path) -> None:
    tensors = load_file(model / UNET)
    total, lost = len(tensors), sorted(tensors)[:7]
    save_file({name: value for name, value in tensors.items() if name not in lost}, model / UNET)
    with pytest.raises(InputError, match=rf"unet: missing tensors: 7 of {total}: {', '.join(lost[:3])}, \.\.\."):
        unnoise.load(model)
    save_file(tensors | {"more.weight": torch.ones(2)}, model / UNET)
    with pytest.raises(InputError, match=rf"unet: unexpected tensors: 1 of {total + 1}: more\.weight"):
        unnoise.load(model)
    save_file(tensors | {"conv_in.weight": torch.ones(32, 5, 3, 3)}, model / UNET)
    with pytest.raises(
        InputError, match=r"tensors of another shape: 1 of .*conv_in\.weight is \[32, 5, 3, 3\], expected"
    ):
        unnoise.load(model)


@pytest.mark.parametrize("shard", ["../../secret.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin", ""])
def test_shards_stay_in_the_folder(model: Path, shard: str) -> None:
    (model / UNET).unlink()
    index = {"weight_map": {"conv_in.weight": shard}}
    (model / f"{UNET}.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"weight_map must name \.safetensors files in the same folder"):
        unnoise.load(model)


def test_shards_are_joined(model: Path) -> None:
    tensors = load_file(model / UNET)
    (model / UNET).unlink()
    halves = [dict(list(tensors.items())[k::2]) for k in range(2)]
    names = [f"diffusion_pytorch_model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    for half, name in zip(halves, names, strict=True):
        save_file(half, model / "unet" / name)
    table = {key: name for half, name in zip(halves, names, strict=True) for key in half}
    (model / f"{UNET}.index.json").write_text(json.dumps({"weight_map": table}))
    state = unnoise.load(model).denoiser.net.state_dict()
    assert all(torch.equal(state[f"unet.{name}"], value) for name, value in tensors.items())


def test_the_only_variant_is_used(model: Path) -> None:
    (model / UNET).rename(model / "unet/diffusion_pytorch_model.fp16.safetensors")
    assert unnoise.load(model).card.family == "sd1"


def test_names_of_older_versions_are_read(model: Path) -> None:
    path = model / "vae/diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, value in load_file(path).items():
        for new, before in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        renamed[name] = value
    assert any(".query." in name for name in renamed)
    before = unnoise.load(model).networks()["autoencoder"].state_dict()
    save_file(renamed, path)
    after = unnoise.load(model).networks()["autoencoder"].state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    text = model / "text_encoder/model.safetensors"
    published = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(text).items()}
    save_file(published, text)
    assert unnoise.load(model).generate("a cat", size=64, steps=2, seed=1)


def test_an_argument_without_effect_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match="dtype 'float8'"):
        unnoise.load(model, dtype="float8")
    with pytest.raises(InputError, match="for a single file only"):
        unnoise.load(model, components=model)
    with pytest.raises(InputError, match="dtype 'bfloat16': only for foreign models"):
        unnoise.load("emoji", dtype="bfloat16")
    with pytest.raises(InputError, match="distilled_guidance 3: 'model' has no such input"):
        unnoise.load(model).generate("a cat", distilled_guidance=3, size=64)
    with pytest.raises(InputError, match="frames 5: 'model' makes no video"):
        unnoise.load(model).generate("a cat", frames=5, size=64)
    with pytest.raises(InputError, match=r"strength 0\.5: acts on an image"):
        unnoise.load(model).generate("a cat", strength=0.5, size=64)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method. is deprecated:DeprecationWarning")  # of torch itself
def test_only_the_repeated_block_is_compiled(model: Path) -> None:
    ours = unnoise.load(model, compile=True)
    found = {type(module).__name__ for module in ours.denoiser.modules() if module._compiled_call_impl is not None}
    assert found == {"BasicTransformerBlock"}
    with pytest.raises(InputError, match="compile True: only for foreign models"):
        unnoise.load("emoji", compile=True)


def test_the_prediction_type_can_be_set(model: Path) -> None:
    assert unnoise.load(model).denoiser.kind == "eps"
    with pytest.warns(InputWarning, match=r"prediction_type v: .* states epsilon; v is used"):
        assert unnoise.load(model, prediction_type="v").denoiser.kind == "v"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 8),
          "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": (8, 4)}, "it is a LoRA of 1 layers"),
        ({"some.weight": (2, 2)}, "not recognised by its 1 tensors; the first tensors are some.weight"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_model(tmp_path: Path, names: dict[str, tuple[int, ...]], message: str) -> None:
    save_file({name: torch.zeros(shape) for name, shape in names.items()}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=message):
        unnoise.load(tmp_path / "x.safetensors")


def test_without_the_extra_the_message_has_the_pip_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r"pip install 'unnoise\[diffusers\]'"):
        unnoise.load(model)
