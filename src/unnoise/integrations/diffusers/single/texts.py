"""CLIP and T5 text networks of single files: configs by shapes, names by diffusers' converters."""

from types import SimpleNamespace
from typing import Any

from unnoise.integrations.diffusers.single.split import Cut, Tensors, below, count

HEAD = 64  # channels of an attention head in every published CLIP and T5 text network
LAST_END = 2  # as in published configs: the pooled vector is that of the highest token, the end of the text


def clip(tensors: Tensors, prefix: str) -> Cut | None:
    """Return a CLIP in transformers' names, None if there is none. prefix: of names, before "text_model."."""
    own = below(tensors, prefix)
    if "text_model.embeddings.token_embedding.weight" not in own:
        return None
    return _clip(own, "quick_gelu" if own["text_model.final_layer_norm.weight"].shape[0] <= 768 else "gelu")


def open_clip(tensors: Tensors, prefix: str, without: int = 0) -> Cut | None:
    """Return a CLIP in the names of OpenCLIP, None if there is none.

    prefix: of names, before "transformer.resblocks."; without: the number of last layers that are not used.
    """
    embedding = tensors.get(f"{prefix}token_embedding.weight")
    if embedding is None:
        return None
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    layers = count(tensors, f"{prefix}transformer.resblocks.") - without
    used = {
        name: value
        for name, value in tensors.items()
        if not name.startswith(f"{prefix}transformer.resblocks.")
        or int(name.removeprefix(f"{prefix}transformer.resblocks.").partition(".")[0]) < layers
    }
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=embedding.shape[1]))
    return _clip(convert_open_clip_checkpoint(model, used, prefix), "gelu")


def t5(tensors: Tensors, prefix: str) -> Cut | None:
    """Return a T5 encoder in transformers' names, None if there is none."""
    own = below(tensors, prefix)
    if "shared.weight" not in own:
        return None
    width = own["shared.weight"].shape[1]
    inner = own["encoder.block.0.layer.0.SelfAttention.q.weight"].shape[0]
    heads = own["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].shape[1]
    gated = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight" in own
    hidden = own[f"encoder.block.0.layer.1.DenseReluDense.wi{'_0' if gated else ''}.weight"].shape[0]
    config = {
        "d_model": width,
        "d_kv": inner // heads,
        "d_ff": hidden,
        "num_heads": heads,
        "num_layers": count(own, "encoder.block."),
        "vocab_size": own["shared.weight"].shape[0],
        "feed_forward_proj": "gated-gelu" if gated else "relu",
    }
    return Cut("T5EncoderModel", config, own)


def _clip(own: Tensors, act: str) -> Cut:
    projected = own.get("text_projection.weight")
    names = {name: value for name, value in own.items() if name.startswith("text_model.")}
    embedding = names["text_model.embeddings.token_embedding.weight"]
    config: dict[str, Any] = {
        "vocab_size": embedding.shape[0],
        "hidden_size": embedding.shape[1],
        "intermediate_size": names["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": count(names, "text_model.encoder.layers."),
        "num_attention_heads": max(1, embedding.shape[1] // HEAD),
        "max_position_embeddings": names["text_model.embeddings.position_embedding.weight"].shape[0],
        "hidden_act": act,
        "bos_token_id": 0,
        "eos_token_id": LAST_END,
    }
    if projected is None:
        return Cut("CLIPTextModel", config, names)
    config["projection_dim"] = projected.shape[0]
    return Cut("CLIPTextModelWithProjection", config, names | {"text_projection.weight": projected})
