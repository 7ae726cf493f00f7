"""Every setting of a foreign config is known, typed and bounded before anything is built; nothing else is read."""

import inspect
import json
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clock import within

from unnoise.errors import InputError, InputWarning
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.config import checked_config, checked_settings
from unnoise.integrations.diffusers.table import NETWORKS, class_of
from unnoise.integrations.diffusers.tokenizer_files import load_tokenizer

UNET = "UNet2DConditionModel"
TEXT = "CLIPTextModel"


def defaults(class_: str) -> dict[str, Any]:
    """Give what a class of the table writes into its own config."""
    made = class_of(class_)
    if NETWORKS[class_] == "transformers":
        return dict(made.config_class().to_dict())
    every = inspect.signature(made.__init__).parameters.items()
    return {name: one.default for name, one in every if name != "self" and one.default is not one.empty}


@pytest.mark.parametrize("class_", NETWORKS)
def test_what_the_libraries_write_is_read_without_a_word(class_: str) -> None:
    config = json.loads(json.dumps(defaults(class_)))
    found = checked_config(class_, config, "here")
    assert found.items() <= config.items()
    assert "hidden_size" in found or class_ != TEXT


@pytest.mark.parametrize(
    ("class_", "name", "value"),
    [
        (TEXT, "bos_token_id", "x"),
        (TEXT, "num_hidden_layers", 10**8),
        (TEXT, "num_hidden_layers", 12.0),
        (TEXT, "hidden_size", 10**9),
        (TEXT, "hidden_act", "x" * 1000),
        (TEXT, "layer_norm_eps", float("inf")),
        (UNET, "norm_eps", [1]),
        (UNET, "norm_eps", None),
        (UNET, "norm_eps", True),
        (UNET, "norm_eps", 1e300),
        (UNET, "act_fn", 5),
        (UNET, "block_out_channels", 320),
        (UNET, "block_out_channels", ["a"]),
        (UNET, "block_out_channels", [320] * 1000),
        (UNET, "down_block_types", [1]),
        (UNET, "layers_per_block", 10**6),
        (UNET, "transformer_layers_per_block", [[1, 10**6]]),
        (UNET, "transformer_layers_per_block", [[[[[[1]]]]]]),
        (UNET, "sample_size", 10**7),
        (UNET, "sample_size", {}),
        ("AutoencoderKL", "scaling_factor", "x"),
        ("AutoencoderKL", "latents_mean", 5),
        ("AutoencoderKL", "shift_factor", [[1]]),
        ("SD3Transformer2DModel", "pos_embed_max_size", 8000),
        ("PixArtTransformer2DModel", "sample_size", 8000),
        ("WanTransformer3DModel", "rope_max_seq_len", 10**6),
        ("Gemma2Model", "rope_parameters", 5),
        ("Gemma2Model", "rope_theta", "x"),
        ("T5EncoderModel", "quantization_config", {"quant_method": "x"}),
        (UNET, "quantization_config", {"quant_method": "x"}),
    ],
)
def test_a_wrong_or_huge_value_is_refused_with_its_name(class_: str, name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"^here: (config of {class_}: {name} |.*quantised weights|\d+ positions)"):
        checked_config(class_, {**defaults(class_), name: value}, "here")


ACTED_ON = [
    "attn_implementation", "_attn_implementation", "auto_map", "gguf_file", "trust_remote_code", "use_kernels",
    "_commit_hash", "experts_implementation", "x" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("name", ACTED_ON, ids=range(len(ACTED_ON)))
@pytest.mark.parametrize("class_", [TEXT, "T5EncoderModel", UNET])
def test_what_a_library_would_act_on_is_dropped_in_one_line(class_: str, name: str) -> None:
    with pytest.warns(InputWarning, match="have no effect") as said:
        assert name not in checked_config(class_, {**defaults(class_), name: "someone/kernel"}, "here")
    assert len(said) == 1


def test_attention_is_never_that_of_the_file() -> None:
    config = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 1}
    with warnings.catch_warnings(action="ignore", category=InputWarning):
        made: Any = empty(TEXT, {**config, "attn_implementation": "flash_attention_2", "dtype": [None]}, "here")
    assert made.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "changes", [{"layers_per_block": 256}, {"transformer_layers_per_block": 256}, {"block_out_channels": [32] * 256}]
)
def test_networks_of_too_many_tensors_are_given_up_early(changes: dict[str, object]) -> None:
    with within(60), pytest.raises(InputError):
        empty(UNET, changes, "here")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_train_timesteps", 10**9),
        ("num_train_timesteps", 0),
        ("num_train_timesteps", None),
        ("num_train_timesteps", "x"),
        ("num_train_timesteps", 1000.5),
        ("trained_betas", 5),
        ("trained_betas", [2.0]),
        ("trained_betas", [0.1] * 100_001),
        ("beta_schedule", ["x"]),
        ("beta_start", "x"),
        ("beta_end", float("nan")),
        ("beta_end", 1e300),
        ("prediction_type", {}),
        ("shift", [1]),
        ("sigma_data", True),
        ("unknown", 10**30),
        ("unknown", "x" * 1000),
    ],
)
def test_settings_of_a_scheduler_are_typed_and_bounded(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^here: '{name}' "):
        checked_settings({name: value}, "here")


def test_published_settings_of_schedulers_are_read() -> None:
    known = {
        "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.22", "num_train_timesteps": 1000,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "lambda_min_clipped": float("-inf"),
        "trained_betas": None, "clip_sample": False, "shift": 3, "steps_offset": 1, "variance_type": None,
        "invert_sigmas": False, "use_dynamic_shifting": True, "prediction_type": "v_prediction",
    }  # fmt: skip
    assert checked_settings(known, "here") == known


OPENED: list[str] = []
WATCHED = [False]


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if WATCHED[0] and event == "open":
        OPENED.append(str(arguments[0]))


@pytest.fixture
def opened() -> Iterator[list[str]]:
    if not OPENED:
        sys.addaudithook(watch)
    OPENED.clear()
    WATCHED[0] = True
    yield OPENED
    WATCHED[0] = False


def write_tokenizer(folder: Path) -> None:
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: number for number, word in enumerate(words)}
    CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77).save_pretrained(folder)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    write_tokenizer(folder)
    return folder


@pytest.fixture
def tokenizer(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def change(path: Path, **values: object) -> None:
    table = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(table | values))


def test_a_tokenizer_is_as_it_was(tokenizer: Path) -> None:
    with warnings.catch_warnings(action="error"):
        found = load_tokenizer(tokenizer, "CLIPTokenizer")
    assert (found.model_max_length, found.name_or_path) == (77, str(tokenizer))
    assert found("ab").input_ids[0] == found.bos_token_id


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("name", ["gguf_file", "vocab_file", "merges_file", "tokenizer_file", "auto_map", "spm_file"])
def test_no_file_that_a_tokenizer_names_is_opened(
    tokenizer: Path, tmp_path: Path, file: str, name: str, opened: list[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    change(tokenizer / file, **{name: str(secret)})
    opened.clear()
    with warnings.catch_warnings(action="ignore", category=InputWarning):
        load_tokenizer(tokenizer, "CLIPTokenizer")
    assert any(path.endswith("tokenizer.json") for path in opened)
    assert str(secret) not in opened


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("tokenizer_config.json", {"model_max_length": "x"}),
        ("tokenizer_config.json", {"model_max_length": 1.5}),
        ("tokenizer_config.json", {"extra_ids": 10**9}),
        ("tokenizer_config.json", {"bos_token": 5}),
        ("tokenizer_config.json", {"bos_token": "x" * 10_000}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"99999999999": {"content": "x"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": [1]}),
        ("tokenizer_config.json", {"add_bos_token": "x"}),
        ("special_tokens_map.json", {"pad_token": [[]]}),
        ("added_tokens.json", {"x": 10**12}),
        ("added_tokens.json", {"x": "y"}),
        ("tokenizer.json", {"model": 5}),
        ("tokenizer.json", {"added_tokens": "x"}),
    ],
)
def test_a_damaged_tokenizer_is_one_line(tokenizer: Path, file: str, values: dict[str, object]) -> None:
    change(tokenizer / file, **values)
    with pytest.raises(InputError, match="tokenizer"):
        load_tokenizer(tokenizer, "CLIPTokenizer")


def test_files_of_a_tokenizer_lie_in_its_folder(tokenizer: Path, tmp_path: Path) -> None:
    shutil.move(tokenizer / "tokenizer.json", tmp_path / "elsewhere.json")
    (tokenizer / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(InputError, match="outside the folder"):
        load_tokenizer(tokenizer, "CLIPTokenizer")
    assert load_tokenizer(tokenizer, "CLIPTokenizer", tmp_path)
