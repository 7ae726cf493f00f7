"""Memory and time of loading a foreign model at its real size, each in a process of its own; `make bench` prints it.

A folder of Stable Diffusion 1.5's sizes with random weights is written once in float32 and once in float16. `peak` is
the process's peak beyond that of the imports, as a ratio to the weights in the requested dtype.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PUBLISHED = {
    "unet": ("UNet2DConditionModel", {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}),
    "vae": (
        "AutoencoderKL",
        {
            "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "sample_size": 512,
        },
    ),
}  # fmt: skip
LOADED = """
import resource, sys, time
from pathlib import Path
import torch, diffusers, transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel
import unnoise, unnoise.loading
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
began = time.perf_counter()
pipeline = unnoise.load(sys.argv[1], dtype=sys.argv[2])
took = time.perf_counter() - began
held = sum(p.numel() * p.element_size() for net in pipeline.networks().values() for p in net.parameters())
print(peak() - before, held, took)
"""
PEER = """
import resource, sys, time
import torch, diffusers, transformers
from diffusers import StableDiffusionPipeline, AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
began = time.perf_counter()
how = {"dtype": getattr(torch, sys.argv[2]), "safety_checker": None}
pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1], **how)
took = time.perf_counter() - began
held = sum(p.numel() * p.element_size() for net in (pipe.unet, pipe.vae, pipe.text_encoder) for p in net.parameters())
print(peak() - before, held, took)
"""


def main() -> None:
    argparse.ArgumentParser(description="Measure loading a model of Stable Diffusion 1.5's sizes.").parse_args()
    print(f"{'stored':9} {'requested':10} {'weights':>9} {'peak':>8} {'ratio':>6} {'seconds':>8}   diffusers'")
    with tempfile.TemporaryDirectory() as folder:
        for stored in ("float32", "float16"):
            place = Path(folder) / stored
            subprocess.run([sys.executable, __file__, "--make", str(place), stored], check=True, capture_output=True)
            for asked in ("float32", "bfloat16", "float16"):
                peak, held, took = measured(LOADED, place, asked)
                other, _, slow = measured(PEER, place, asked)
                print(
                    f"{stored:9} {asked:10} {held / 1e6:>6.0f} MB {peak / 1e6:>5.0f} MB {peak / held:>6.2f} "
                    f"{took:>8.1f}   {other / held:.2f}, {slow:.1f} s"
                )


def measured(code: str, place: Path, dtype: str) -> tuple[float, ...]:
    done = subprocess.run(
        [sys.executable, "-c", code, str(place), dtype], check=True, capture_output=True, text=True, cwd=place.parent
    )
    return tuple(float(value) for value in done.stdout.splitlines()[-1].split())


def make(place: Path, dtype: str) -> None:
    """Write the folder."""
    import json

    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from unnoise.integrations.diffusers.classes import class_of

    torch.manual_seed(0)
    nets = {name: class_of(made).from_config(config) for name, (made, config) in PUBLISHED.items()}
    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=49408, **sizes))
    vocab = json.loads('{"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}')
    pipe = StableDiffusionPipeline(
        **nets, text_encoder=text, tokenizer=CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
    )  # fmt: skip
    pipe.to(getattr(torch, dtype)).save_pretrained(place)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--make":
        make(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
