"""Check the configs of foreign models before anything is built: a closed list of settings, each typed and bounded.

transformers and diffusers act on whatever a config holds: they ask for attention kernels on the Hub, open the files
that it names, and build as many layers as it wants.
"""

import inspect
import re
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, Union, get_args, get_origin

from unnoise.errors import InputError, InputWarning, quoted
from unnoise.integrations.diffusers.table import NETWORKS, class_of

ITEMS, LETTERS, DEPTH = 256, 200, 4  # of a list, of a text, of lists in each other
STEPS: Final = 100_000  # of a table of betas
LARGEST: Final = 1e12  # of any number
UNLIMITED: Final = "lambda_min_clipped"  # -Infinity by default, and used by no sampler here
# The largest whole number of a setting, by the first pattern that fits its name.
BOUNDS: Final = tuple(
    (re.compile(pattern), most)
    for pattern, most in (
        (r"num_train_timesteps|num_embeds_ada_norm", STEPS),
        (r"vocab|num_class_embeds|num_vector_embeds|_token_id$|max_distance", 1 << 22),
        (r"max_position_embeddings|sliding_window|sampling_rate|query_pre_attn_scalar", 1 << 20),
        (r"layer|res_blocks|num_.*_blocks", 256),
        (r"heads|groups|kernel|ratios|multiples|multiscales|patch_size|dim_mult|factor|compression", 1024),
        (r"sample_size|image_size|pos_embed|rope", 8192),
    )
)
WIDEST: Final = 1 << 17  # of every other whole number
POSITIONED: Final = frozenset({
    "SD3Transformer2DModel", "PixArtTransformer2DModel", "Transformer2DModel", "SanaTransformer2DModel",
    "WanTransformer3DModel",
})  # classes that compute a table of positions  # fmt: skip
TABLE: Final = 1 << 28  # numbers in a table of positions, which is computed when a network is built

# What transformers and diffusers write, and what changes nothing here: weights have the dtype of the call.
METADATA: Final = frozenset({
    "_class_name", "_diffusers_version", "_name_or_path", "architectures", "torch_dtype", "dtype",
    "transformers_version", "model_type", "use_cache", "return_dict", "use_return_dict", "output_attentions",
    "output_hidden_states", "is_encoder_decoder", "is_decoder", "add_cross_attention",
    "cross_attention_hidden_size", "tie_encoder_decoder", "torchscript", "use_bfloat16", "tf_legacy_loss",
    "pruned_heads", "chunk_size_feed_forward", "finetuning_task", "id2label", "label2id", "num_labels",
    "problem_type", "prefix", "task_specific_params", "tokenizer_class", "decoder_start_token_id", "sep_token_id",
    "forced_bos_token_id", "forced_eos_token_id", "max_length", "min_length", "do_sample", "early_stopping",
    "num_beams", "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
    "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
    "num_return_sequences", "output_scores", "return_dict_in_generate", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "bos_token_id", "eos_token_id",
    "pad_token_id", "gradient_checkpointing", "cache_implementation", "output_past", "n_positions", "dropout",
    "hidden_act", "dense_act_fn", "is_gated_act", "scalable_attention", "sliding_window_size",
    "logit_scale_init_value", "text_config_dict", "vision_config_dict", "num_decoder_layers", "attention_type_ids",
    "dropout_rate", "classifier_dropout", "initializer_factor", "initializer_range", "scale_decoder_outputs",
    "block_out_channels",
})  # fmt: skip
QUANTISED: Final = ("quantization_config", "quantization", "compression_config")
# Settings that a class reads although its constructor does not name them.
EXTRA: Final[Mapping[str, Mapping[str, Any]]] = {
    "Gemma2Model": {"rope_theta": float},
    "T5EncoderModel": {"tie_word_embeddings": bool},
    "UMT5EncoderModel": {"tie_word_embeddings": bool},
}
NUMBERS: Final = frozenset({
    "beta_start", "beta_end", "shift", "flow_shift", "base_shift", "max_shift", "shift_terminal", "sigma_data",
    "sigma_min", "sigma_max", "rho", "clip_sample_range", "sample_max_value", "dynamic_thresholding_ratio",
    "timestep_scaling", "boundary_ratio", "base_image_seq_len", "max_image_seq_len",
})  # fmt: skip
WHOLE: Final = frozenset({"num_train_timesteps", "steps_offset", "solver_order", "original_inference_steps"})
TEXTS: Final = frozenset({
    "_class_name", "beta_schedule", "prediction_type", "timestep_spacing", "final_sigmas_type", "algorithm_type",
    "solver_type", "variance_type", "sigma_schedule", "time_shift_type", "interpolation_type",
})  # fmt: skip
FLAGS: Final = frozenset({
    "rescale_betas_zero_snr", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
    "use_dynamic_shifting", "use_flow_sigmas", "clip_sample", "set_alpha_to_one", "thresholding",
    "lower_order_final", "euler_at_final", "skip_prk_steps", "stochastic_sampling", "force_zeros_for_empty_prompt",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a setting may be: plain values of `kinds`, and lists of those of `listed`; null if `optional`."""

    kinds: frozenset[Any]
    listed: frozenset[Any]
    optional: bool


def checked_config(class_: str, config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of a network that its class knows, each of the right type and within bounds.

    Args:
        class_: of the closed table.
        config: of a file, as JSON gives it.
        where: the start of every message.

    Raises:
        InputError: a value is of another type or too large, or the weights are quantised.
    """
    for name in QUANTISED:
        if config.get(name):
            raise InputError(f"{where}: config of {class_}: {name}: quantised weights; use a file with plain weights")
    known = settings_of(class_)
    found, unknown = {}, []
    for name, value in config.items():
        if name in known:
            _check_setting(f"{where}: config of {class_}: {name}", name, value, known[name])
            found[name] = value
        elif name not in METADATA and not name.startswith("__") and value not in (None, False):
            unknown.append(name)
    if unknown:
        names = ", ".join(quoted(name) for name in sorted(unknown)[:5])
        message = (
            f"{where}: config of {class_}: {len(unknown)} settings are not of this class and have no effect: {names}"
        )
        warnings.warn(message, InputWarning, stacklevel=2)
    _check_tables(class_, found, where)
    return found


def checked_settings(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the config of a scheduler or the index of a model. Raises InputError for a value of another type."""
    for name, value in config.items():
        what = f"{where}: {quoted(name)}"
        if name == "trained_betas" and value is not None:
            if (
                not isinstance(value, list | tuple)
                or not 1 <= len(value) <= STEPS
                or not all(_in_unit(one) for one in value)
            ):
                raise InputError(f"{what} {quoted(value)}: a list of 1 to {STEPS} numbers from 0 to 1, or null")
            continue
        if name != UNLIMITED:
            _check_setting(what, name, value, _of_scheduler(name))
        if name == "num_train_timesteps" and (value is None or value < 1):
            raise InputError(f"{what} {quoted(value)}: a whole number from 1 to {STEPS}")
    return dict(config)


@cache
def settings_of(class_: str) -> Mapping[str, Allowed]:
    """Return the settings that a class of the closed table knows: those of its constructor, or of its config class."""
    made = class_of(class_)
    source = made.config_class if NETWORKS[class_] == "transformers" else made
    every = inspect.signature(source.__init__).parameters.values()
    own = [one for one in every if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name != "self"]
    found = {one.name: _allowed(one.annotation, one.default) for one in own if not _is_metadata(one.name, source)}
    return found | {name: _allowed(kind, None) for name, kind in EXTRA.get(class_, {}).items()}


def _is_metadata(name: str, source: Any) -> bool:
    """Return whether a setting of transformers is one of every model's, not of this one."""
    fields = getattr(source, "__annotations__", {})
    return name in METADATA and hasattr(source, "model_type") and name not in fields


def _allowed(annotation: Any, default: Any) -> Allowed:
    leaves = set(_leaves(None if annotation is inspect.Parameter.empty else annotation, 0))
    leaves |= set(_leaves_of(default, 0))
    listed = frozenset(kind for kind, depth in leaves if depth)
    kinds = frozenset(kind for kind, depth in leaves if not depth)
    optional = bool({types.NoneType, bool, str} & kinds)  # null for false and for no text is common
    return Allowed(kinds, listed, optional) if leaves else Allowed(ANY, ANY, True)


def _leaves(annotation: Any, depth: int) -> Iterator[tuple[Any, int]]:
    """List the plain types of an annotation, each with the number of lists around it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        for one in inner:
            yield from _leaves(one, depth)
    elif origin is Literal:
        yield from ((type(one), depth) for one in inner)
    elif annotation in (tuple, list) or origin in (tuple, list):
        for one in inner or (int,):
            yield from _leaves(one, depth + 1)
    elif annotation in (int, float, bool, str, types.NoneType):
        yield annotation, depth
    elif annotation is dict or origin is dict or (isinstance(annotation, type) and issubclass(annotation, dict)):
        yield dict, depth


def _leaves_of(value: Any, depth: int) -> Iterator[tuple[Any, int]]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves_of(one, depth + 1)
    elif value is None or isinstance(value, int | float | str | bool):
        yield type(value), depth


def _of_scheduler(name: str) -> Allowed:
    for names, kind in ((NUMBERS, float), (WHOLE, int), (TEXTS, str), (FLAGS, bool)):
        if name in names:
            return Allowed(frozenset({kind}), frozenset(), name not in WHOLE)
    return Allowed(ANY, ANY, True)


ANY: Final = frozenset({int, float, bool, str, dict})
NAMES: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", dict: "a table"}


def _check_setting(what: str, name: str, value: Any, allowed: Allowed) -> None:
    """Raise InputError for a value of another type, or one that is too large, too long or too deep."""
    if value is None and allowed.optional:
        return
    if isinstance(value, list | tuple):
        if not allowed.listed or len(value) > ITEMS:
            _wrong(what, value, allowed)
        _check_items(what, name, value, allowed, 1)
    elif not _fits(name, value, allowed.kinds):
        _wrong(what, value, allowed)


def _check_items(what: str, name: str, values: Sequence[Any], allowed: Allowed, depth: int) -> None:
    if depth > DEPTH or len(values) > ITEMS:
        _wrong(what, values, allowed)
    for one in values:
        if isinstance(one, list | tuple):
            _check_items(what, name, one, allowed, depth + 1)
        elif one is not None and not _fits(name, one, allowed.listed):
            _wrong(what, one, allowed)


def _fits(name: str, value: Any, kinds: frozenset[Any]) -> bool:
    """Return whether a plain value has one of the types, and is within bounds."""
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, str):
        return str in kinds and len(value) <= LETTERS
    if isinstance(value, dict):
        return dict in kinds and len(value) <= ITEMS and all(_fits(key, one, ANY) for key, one in value.items())
    if isinstance(value, int):
        return (int in kinds and abs(value) <= _most(name)) or (float in kinds and abs(value) <= LARGEST)
    fraction = float in kinds or (int in kinds and ("scale" in name or "shift" in name))
    return isinstance(value, float) and fraction and abs(value) <= LARGEST


def _most(name: str) -> int:
    return next((most for pattern, most in BOUNDS if pattern.search(name)), WIDEST)


def _wrong(what: str, value: Any, allowed: Allowed) -> None:
    plain = [NAMES[kind] for kind in NAMES if kind in allowed.kinds]
    lists = [f"a list of at most {ITEMS}"] if allowed.listed else []
    number = f"; at most {_most(what.rpartition(' ')[2])}" if int in allowed.kinds | allowed.listed else ""
    raise InputError(f"{what} {quoted(value)}: expected {' or '.join(plain + lists) or 'null'}{number}")


def _check_tables(class_: str, config: Mapping[str, Any], where: str) -> None:
    """Raise InputError for sizes whose table of positions would fill the memory."""
    if class_ not in POSITIONED:
        return
    own = {name: one.default for name, one in inspect.signature(class_of(class_).__init__).parameters.items()}
    value = {name: one for name, one in {**own, **config}.items() if isinstance(one, int) and one > 0}
    side = value.get("pos_embed_max_size", value.get("sample_size", 1) // value.get("patch_size", 1))
    width = value.get("num_attention_heads", 1) * value.get("attention_head_dim", 1)
    for length in (side**2, value.get("rope_max_seq_len", 1)):
        if length * width > TABLE:
            raise InputError(f"{where}: {length} positions of width {width}: at most {TABLE} numbers in all")


def _in_unit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
